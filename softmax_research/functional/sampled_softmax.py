"""Sampled softmax: cross-entropy over the label and a few random classes."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from softmax_research.functional.labels import is_known
from softmax_research.functional.layer import (
  check_class_labels,
  check_features,
  look_up,
  per_class,
  product,
)
from softmax_research.functional.normalise import log_normalise
from softmax_research.functional.samplers import Sampler, uniform_sampler


def sampled_softmax_loss(
  features: jax.typing.ArrayLike,
  kernel: jax.typing.ArrayLike,
  labels: jax.typing.ArrayLike,
  *,
  key: jax.Array,
  num_samples: int,
  bias: jax.typing.ArrayLike | None = None,
  sampler: Sampler | None = None,
  score: Callable[[jax.Array], jax.Array] | None = None,
  remove_accidental_hits: bool = True,
  correct_label: bool = True,
  dtype: jax.typing.DTypeLike | None = None,
) -> jax.Array:
  r"""Estimate the cross-entropy of a dense layer from a sample of its classes.

  .. math::
    \ell = -\log \frac{e^{s_y - \log Q_y}}
      {e^{s_y - \log Q_y} + \sum_{k \in S,\, k \ne y} e^{s_k - \log Q_k}},
    \qquad s = \mathrm{score}(x W + b)

  Q_k is how often class k is expected in the sample S, which all examples share. The loss is that
  of telling the label among the candidates. For a sample of any size it is least where the full
  softmax is (exactly so if the classes are equally likely or drawn independently), but its value
  and gradient are not those of the full softmax.

  With `correct_label=False` the label's own log Q is not subtracted, because the label is there
  once in any case. The denominator is then an unbiased estimate of the full one, and value and
  gradient go to those of the full softmax as the sample grows. Choose it too if some S q_k exceed
  1 in a sample with replacement, where the correction goes too far.

  With all classes sampled, without replacement, both are the full cross-entropy.

  Args:
    features: x, `[..., D]`.
    kernel: W, `[D, K]`.
    labels: integers `[...]`.
    key: a random key.
    num_samples: S, the classes drawn, at most K without replacement.
    bias: b, `[K]`.
    sampler: which classes are drawn, as `log_uniform_sampler(K)`; by default all with equal
      probability and without replacement.
    score: logits to scores, elementwise, as `taylor_score`; the identity by default.
    remove_accidental_hits: leave the label out of each example's sample; otherwise it counts
      again, as a wrong class.
    correct_label: subtract log Q from the label's score too.
    dtype: of the result; by default the type that features and kernel promote to.

  Returns:
    Losses in nats, `[...]`; float16 and bfloat16 are summed in float32. NaN for a label out of
    range.

  Raises:
    ValueError: shapes do not fit, the sampler is for another number of classes, or the number of
      samples is out of range.
    TypeError: the labels are not integers.

  Example:
    >>> import jax
    >>> features, kernel = jax.numpy.ones((1, 1)), jax.numpy.zeros((1, 4))
    >>> labels = jax.numpy.array([2])
    >>> sampled_softmax_loss(features, kernel, labels, key=jax.random.key(0), num_samples=4)
    Array([1.3862944], dtype=float32)

  Reference:
    Bengio & Senecal 2008, "Adaptive Importance Sampling to Accelerate Training of a Neural
    Probabilistic Language Model"; Jean et al. 2015, "On Using Very Large Target Vocabulary for
    Neural Machine Translation", section 3 (arXiv 1412.2007); Blanc & Rendle 2018, "Adaptive
    Sampled Softmax with Kernel Based Sampling", eq. 2 (arXiv 1712.00527), for the label without
    correction.
  """
  kernel = jnp.asarray(kernel)
  features = check_features(features, kernel)
  num_classes = kernel.shape[1]
  labels = check_class_labels(
    labels, features, num_classes, "For distributions over classes use cross_entropy."
  )
  sampler = sampler or uniform_sampler(num_classes)
  _check_classes(num_classes, bias, sampler)
  score = score or (lambda logits: logits)
  known = is_known(labels, num_classes)
  labels = jnp.where(known, labels, 0)

  classes, effort = sampler.sample(key, num_samples)
  sample_logits = product(features, look_up(kernel, classes))
  label_logits = jnp.einsum(
    "...d,d...->...",
    features,
    look_up(kernel, labels),
    preferred_element_type=sample_logits.dtype,
  )
  if bias is not None:
    label_logits = label_logits + look_up(bias, labels).astype(label_logits.dtype)
    sample_logits = sample_logits + per_class(look_up(bias, classes), sample_logits)
  label_score = score(label_logits)
  if correct_label:
    label_score -= sampler.log_expected_count(labels, effort).astype(label_score.dtype)
  log_counts = sampler.log_expected_count(classes, effort)
  sample_scores = score(sample_logits) - per_class(log_counts, sample_logits)
  if remove_accidental_hits:
    sample_scores = jnp.where(
      labels[..., None] == per_class(classes, labels[..., None]), -jnp.inf, sample_scores
    )
  scores = jnp.concatenate([label_score[..., None], sample_scores], axis=-1)
  loss = jnp.where(known, -log_normalise(scores)[..., 0], jnp.nan)
  return loss.astype(dtype or jnp.result_type(features, kernel))


def _check_classes(num_classes, bias, sampler) -> None:
  if bias is not None and jnp.shape(bias) != (num_classes,):
    raise ValueError(
      f"Got a bias of shape {jnp.shape(bias)} for {num_classes} classes; it must have shape "
      f"({num_classes},)."
    )
  if sampler.num_classes != num_classes:
    raise ValueError(
      f"Got a sampler of {sampler.num_classes} classes for a kernel of {num_classes}; make the "
      "sampler for as many classes as the kernel has columns."
    )
