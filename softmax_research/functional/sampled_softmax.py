"""Sampled softmax: cross-entropy over the true classes and a few others."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from softmax_research.functional.arrays import (
  as_index,
  as_labels,
  check_features,
  check_option_shape,
  check_per_class,
  expand,
  look_up,
  per_class,
  product,
  wide_type,
)
from softmax_research.functional.labels import Targets, check_class_labels, check_targets, is_known
from softmax_research.functional.normalise import log_normalise
from softmax_research.functional.samplers import Sampler, uniform_sampler


class Candidates(NamedTuple):
  r"""Hold wrong classes of the caller's own choice, to stand for all others.

  Attributes:
    classes: integers `[S]`, shared by all examples, or `[..., S]`, each example's own, as the most
      probable wrong ones. Those out of range do not count.
    log_counts: log Q, of the shape of `classes`: the logarithm of how often each is expected among
      the candidates; None for no correction.
    label_log_counts: log Q of the labels, of their shape; None for no correction.
  """

  classes: jax.typing.ArrayLike
  log_counts: jax.typing.ArrayLike | None = None
  label_log_counts: jax.typing.ArrayLike | None = None


class Contrast(NamedTuple):
  """Hold the scores of true classes and of others, and the logarithms of their expected counts.

  Scores are -inf for true classes that are ignored or unknown, for candidates that are no class,
  and for those that are a true one, where they are to be left out.
  """

  targets: Targets  # of the true classes, [..., T]
  label_scores: jax.Array  # [..., T]
  sample_scores: jax.Array  # [..., S]
  label_log_counts: jax.Array  # [..., T]
  log_counts: jax.Array  # [..., S]
  dtype: jnp.dtype

  def reduce(self, losses: jax.Array) -> jax.Array:
    """Return the means over the true classes of their losses `[..., T]`."""
    losses, ignored = self.targets.finish(self.targets.weigh(losses)), self.targets.ignored
    count = losses.shape[-1]
    if ignored is not None:
      count = jnp.maximum(jnp.sum(~ignored, axis=-1, dtype=losses.dtype), 1)
    return (jnp.sum(losses, axis=-1) / count).astype(self.dtype)


def sampled_softmax_loss(
  features: jax.typing.ArrayLike,
  kernel: jax.typing.ArrayLike,
  labels: jax.typing.ArrayLike,
  *,
  key: jax.Array | None = None,
  num_samples: int | None = None,
  candidates: Candidates | None = None,
  bias: jax.typing.ArrayLike | None = None,
  sampler: Sampler | None = None,
  score: Callable[[jax.Array], jax.Array] | None = None,
  margin: Callable[[jax.Array], jax.Array] | None = None,
  remove_accidental_hits: bool = True,
  correct_label: bool = True,
  class_weights: jax.typing.ArrayLike | None = None,
  ignore_label: int | None = None,
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

  Of several true classes the loss is the mean of theirs, the denominator holding all of them.

  Args:
    features: x, `[..., D]`.
    kernel: W, `[D, K]`.
    labels: integers `[...]`, or `[..., T]` for T true classes; of an example with fewer, the rest
      is filled up with `ignore_label`.
    key: a random key.
    num_samples: S, the classes drawn, at most K without replacement.
    candidates: in place of key, number and sampler, the wrong classes themselves.
    bias: b, `[K]`.
    sampler: which classes are drawn, as `log_uniform_sampler(K)`; by default all with equal
      probability and without replacement.
    score: logits to scores, elementwise, as `taylor_score`; the identity by default.
    margin: logits to logits, elementwise, for the label's alone; none by default.
    remove_accidental_hits: leave the label out of each example's sample; otherwise it counts
      again, as a wrong class.
    correct_label: subtract log Q from the label's score too.
    class_weights: `[K]`, each at least 0, for the losses of the labels; ones by default.
    ignore_label: an integer, as -1: a label that does not count. Without any other the loss is 0.
    dtype: of the result; by default the type that features and kernel promote to.

  Returns:
    Losses in nats, `[...]`; float16 and bfloat16 are summed in float32. NaN for a label out of
    range.

  Raises:
    ValueError: shapes do not fit, the sampler is for another number of classes, the number of
      samples is out of range, or there are neither candidates nor a key to draw them.
    TypeError: the labels are not integers.

  Example:
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
  found = contrast(
    features,
    kernel,
    labels,
    key=key,
    num_samples=num_samples,
    candidates=candidates,
    bias=bias,
    sampler=sampler,
    score=score,
    margin=margin,
    remove_accidental_hits=remove_accidental_hits,
    class_weights=class_weights,
    ignore_label=ignore_label,
    dtype=dtype,
  )
  label_scores = found.label_scores
  if correct_label:
    label_scores -= found.label_log_counts
  scores = jnp.concatenate([label_scores, found.sample_scores - found.log_counts], axis=-1)
  return found.reduce(-log_normalise(scores)[..., : label_scores.shape[-1]])


def contrast(
  features: jax.typing.ArrayLike,
  kernel: jax.typing.ArrayLike,
  labels: jax.typing.ArrayLike,
  *,
  remove_accidental_hits: bool,
  key: jax.Array | None = None,
  num_samples: int | None = None,
  candidates: Candidates | None = None,
  bias: jax.typing.ArrayLike | None = None,
  sampler: Sampler | None = None,
  score: Callable[[jax.Array], jax.Array] | None = None,
  margin: Callable[[jax.Array], jax.Array] | None = None,
  class_weights: jax.typing.ArrayLike | None = None,
  ignore_label: int | None = None,
  dtype: jax.typing.DTypeLike | None = None,
) -> Contrast:
  """Compute what `sampled_softmax_loss` and its kin compare; their arguments are this one's."""
  kernel = jnp.asarray(kernel)
  features = check_features(features, kernel)
  num_classes, batch = kernel.shape[1], features.shape[:-1]
  labels = as_labels(labels)
  is_single = labels.ndim == len(batch)
  shape = batch if is_single else (*batch, *labels.shape[-1:])
  labels = check_class_labels(labels, shape, num_classes, _REMEDY)
  labels = labels[..., None] if is_single else labels
  values = jax.ShapeDtypeStruct((*labels.shape, num_classes), wide_type(features, kernel))
  targets = check_targets(labels, values, class_weights, ignore_label)
  known = targets.known if targets.ignored is None else targets.known & ~targets.ignored
  sampler = sampler or uniform_sampler(num_classes)
  if bias is not None:
    check_per_class("bias", bias, num_classes)
  if sampler.num_classes != num_classes:
    raise ValueError(
      f"Got a sampler of {sampler.num_classes} classes for a kernel of {num_classes}; make the "
      "sampler for as many classes as the kernel has columns."
    )
  if candidates is None:
    if key is None or num_samples is None:
      raise ValueError(
        "Got neither candidates nor both key and num_samples; pass key=jax.random.key(0) and the "
        "number of classes to draw, or candidates=Candidates(classes)."
      )
    classes, effort = sampler.sample(key, num_samples)
    candidates = Candidates(
      classes,
      sampler.log_expected_count(classes, effort),
      sampler.log_expected_count(jnp.where(known, labels, 0), effort),
    )
  elif is_single and candidates.label_log_counts is not None:
    given = jnp.asarray(candidates.label_log_counts)
    candidates = candidates._replace(label_log_counts=given[..., None] if given.ndim else given)
  classes = as_index(as_labels(candidates.classes))
  if classes.ndim != 1 and classes.shape[:-1] != batch:
    raise ValueError(
      f"Got candidates of shape {classes.shape} for features of shape {features.shape}; they must "
      "have the shape [S], shared by all examples, or [..., S]."
    )
  score = score or (lambda logits: logits)
  label_logits = _class_logits(features, kernel, bias, jnp.where(known, labels, 0))
  label_scores = score(label_logits if margin is None else margin(label_logits))
  sample_scores = score(_class_logits(features, kernel, bias, classes))
  classes = expand(classes, labels)
  count = is_known(classes, num_classes)
  if remove_accidental_hits:
    own = jnp.where(known, targets.labels, -1).astype(classes.dtype)
    count &= ~jnp.any(own[..., None] == classes[..., None, :], axis=-2)

  def log_counts(name, scores, count):
    given = getattr(candidates, name)
    if given is None:
      return jnp.zeros_like(scores)
    check_option_shape(name, given, scores.shape)
    return jnp.where(count, per_class(given, scores), 0)  # What is no class may have any count.

  return Contrast(
    targets,
    jnp.where(known, label_scores, -jnp.inf),
    jnp.where(count, sample_scores, -jnp.inf),
    log_counts("label_log_counts", label_scores, known),
    log_counts("log_counts", sample_scores, count),
    dtype or jnp.result_type(features, kernel),
  )


_REMEDY = "For distributions over classes use cross_entropy."


def _class_logits(features, kernel, bias, classes: jax.Array) -> jax.Array:
  """Return the logits of classes that all examples share, `[S]`, or of their own, `[..., S]`."""
  columns = look_up(kernel, classes)
  if classes.ndim == 1:
    logits = product(features, columns)
  else:
    wide = wide_type(features, kernel)
    logits = jnp.einsum("...d,d...s->...s", features, columns, preferred_element_type=wide)
  return logits if bias is None else logits + per_class(look_up(bias, classes), logits)
