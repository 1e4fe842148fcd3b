"""Sampled softmax: cross-entropy over the label and a few random classes, and their samplers."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from softmax_research.functional.arrays import (
  check_features,
  check_num_classes,
  is_integer,
  look_up,
  per_class,
  product,
  wide_type,
)
from softmax_research.functional.labels import check_class_labels, check_targets, is_known
from softmax_research.functional.normalise import log_normalise

_UNITS = 2**32  # random bits are 32-bit integers


class Sampler(NamedTuple):
  r"""Hold the functions of a random choice of classes.

  Attributes:
    num_classes: K.
    sample: `(key, num_samples) -> (classes, effort)`: S classes, `[S]`, and a scalar that tells
      how long it took to find them, for the next function.
    log_expected_count: `(classes, effort) -> log Q`, of the shape of `classes`: the logarithm of
      how often each class is expected in such a sample. With replacement it is that of S q_k;
      without, that of the probability that the class is in the sample.

  Example:
    >>> import jax
    >>> sampler = uniform_sampler(10)
    >>> classes, effort = sampler.sample(jax.random.key(0), 5)
    >>> jax.numpy.exp(sampler.log_expected_count(classes, effort))
    Array([0.5, 0.5, 0.5, 0.5, 0.5], dtype=float32)
  """

  num_classes: int
  sample: Callable[[jax.Array, int], tuple[jax.Array, jax.Array]]
  log_expected_count: Callable[[jax.Array, jax.Array], jax.Array]


def uniform_sampler(num_classes: int, *, replacement: bool = False) -> Sampler:
  r"""Sample all classes with equal probability.

  .. math:: q_k = \frac{1}{K}, \qquad Q_k = \frac{S}{K}

  Args:
    num_classes: K.
    replacement: draw the same class more than once. It costs O(S) instead of O(K).

  Returns:
    The sampler.

  Raises:
    ValueError: the number of classes is below 1.

  Example:
    >>> import jax
    >>> classes, _ = uniform_sampler(4).sample(jax.random.key(0), 4)
    >>> sorted(classes.tolist())
    [0, 1, 2, 3]
  """
  check_num_classes(num_classes)

  def sample(key: jax.Array, num_samples: int) -> tuple[jax.Array, jax.Array]:
    check_num_samples(num_samples, num_classes, replacement)
    if replacement:
      classes = jax.random.randint(key, (num_samples,), 0, num_classes)
    else:
      classes, _ = _first_arrivals(key, jnp.zeros(num_classes), num_samples)
    return classes, jnp.asarray(num_samples, jnp.result_type(float))

  def log_expected_count(classes: jax.Array, effort: jax.Array) -> jax.Array:
    return jnp.broadcast_to(jnp.log(effort / num_classes), jnp.shape(classes))

  return Sampler(num_classes, sample, log_expected_count)


def log_uniform_sampler(num_classes: int, *, replacement: bool = False) -> Sampler:
  r"""Sample classes by Zipf's law: for classes numbered by decreasing frequency.

  .. math:: q_k = \frac{\log (k + 2) - \log (k + 1)}{\log (K + 1)}, \qquad k = 0, \dots, K - 1

  Args:
    num_classes: K.
    replacement: see `weighted_sampler`.

  Returns:
    The sampler.

  Raises:
    ValueError: the number of classes is below 1.

  Example:
    >>> import jax
    >>> sampler = log_uniform_sampler(3, replacement=True)
    >>> classes, effort = sampler.sample(jax.random.key(0), 1)
    >>> jax.numpy.exp(sampler.log_expected_count(jax.numpy.arange(3), effort)).round(2)
    Array([0.5 , 0.29, 0.21], dtype=float32)
  """
  check_num_classes(num_classes)
  return weighted_sampler(log_uniform_weights(num_classes), replacement=replacement)


def log_uniform_weights(num_classes: int) -> np.ndarray:
  """Return the log-uniform distribution over K classes, `[K]`, of sum one."""
  return np.log1p(1 / np.arange(1.0, num_classes + 1)) / np.log1p(num_classes)


def weighted_sampler(weights: npt.ArrayLike, *, replacement: bool = False) -> Sampler:
  r"""Sample classes in proportion to given weights, such as their frequencies.

  With replacement, each draw is class k with probability q_k, its share of the weights:

  .. math:: Q_k = S q_k

  Without replacement, classes arrive at exponential times T_k of rates q_k and the first S are
  taken, which is to draw one after the other and to put none back. Given the time tau at which
  the next one would arrive,

  .. math:: Q_k = P(T_k < \tau) = 1 - e^{-q_k \tau}

  and weighting each sampled class by 1 / Q_k makes sums over the sample unbiased for sums over
  all classes. With S = K all Q_k are 1.

  Args:
    weights: positive numbers `[K]`, of any sum. A class that never occurred needs a positive
      weight too, as from counts raised to at least 1: were it never drawn, nothing would
      stand for it.
    replacement: draw the same class more than once. It costs O(S log K) instead of O(K). The
      shares are rounded to multiples of 2^-32, at least one for each class, and Q_k is of the
      rounded ones.

  Returns:
    The sampler.

  Raises:
    ValueError: the weights are not a vector of finite, positive numbers.

  Example:
    >>> import jax
    >>> sampler = weighted_sampler([3, 1], replacement=True)
    >>> jax.numpy.exp(sampler.log_expected_count(jax.numpy.arange(2), 8.0)).round(2)
    Array([6., 2.], dtype=float32)

  Reference:
    Bengio & Senecal 2008, "Adaptive Importance Sampling to Accelerate Training of a Neural
    Probabilistic Language Model"; Duffield, Lund & Thorup 2007, "Priority Sampling for
    Estimation of Arbitrary Subset Sums" (doi 10.1145/1314690.1314696), for conditioning on tau.
  """
  weights = np.asarray(weights, np.float64)
  if weights.ndim != 1 or not np.all(np.isfinite(weights) & (weights > 0)):
    raise ValueError(
      f"Got weights of shape {weights.shape} that are not all finite and positive; pass one "
      "number a class. Raise counts of zero to one."
    )
  check_num_classes(len(weights))
  make = _with_replacement if replacement else _without_replacement
  return make(weights)


def _with_replacement(weights: np.ndarray) -> Sampler:
  num_classes = len(weights)
  # In 32-bit integers, because float32 has too few steps near 1 for rare classes. Every class
  # gets one unit and its share of the others, so none is lost.
  shares = np.cumsum(weights) / np.sum(weights)
  shares = (np.minimum(shares / shares[-1], 1) * (_UNITS - num_classes)).astype(np.int64)
  units = 1 + np.diff(shares, prepend=0)
  log_probs = np.log(units / _UNITS)
  starts = (np.cumsum(units) - units).astype(np.uint32)

  def sample(key: jax.Array, num_samples: int) -> tuple[jax.Array, jax.Array]:
    check_num_samples(num_samples, num_classes, replacement=True)
    bits = jax.random.bits(key, (num_samples,), jnp.uint32)
    classes = jnp.searchsorted(jnp.asarray(starts), bits, side="right").astype(jnp.int32) - 1
    return classes, jnp.asarray(num_samples, jnp.result_type(float))

  def log_expected_count(classes: jax.Array, effort: jax.Array) -> jax.Array:
    return look_up(jnp.asarray(log_probs, jnp.result_type(float)), classes) + jnp.log(effort)

  return Sampler(num_classes, sample, log_expected_count)


def _without_replacement(weights: np.ndarray) -> Sampler:
  log_probs = np.log(weights / np.sum(weights))

  def sample(key: jax.Array, num_samples: int) -> tuple[jax.Array, jax.Array]:
    check_num_samples(num_samples, len(weights), replacement=False)
    return _first_arrivals(key, jnp.asarray(log_probs, jnp.result_type(float)), num_samples)

  def log_expected_count(classes: jax.Array, effort: jax.Array) -> jax.Array:
    log_rate = look_up(jnp.asarray(log_probs, jnp.result_type(float)), classes) + effort
    # log(1 - e^-r) is log r for small r, which need not be above the smallest float.
    return jnp.where(log_rate < -15, log_rate, jnp.log(-jnp.expm1(-jnp.exp(log_rate))))

  return Sampler(len(weights), sample, log_expected_count)


def _first_arrivals(
  key: jax.Array, log_rates: jax.Array, num_samples: int
) -> tuple[jax.Array, jax.Array]:
  """Return the first S of K classes to arrive, and the log of the time when the next one does.

  Minus the logarithm of an exponential time is Gumbel noise. The noise needs more than one draw
  of bits for a class, or the first of a million arrivals are often tied.
  """
  log_speed = log_rates + jax.random.gumbel(key, log_rates.shape, log_rates.dtype, mode="high")
  if num_samples == len(log_rates):
    return jnp.arange(num_samples), jnp.asarray(jnp.inf, log_rates.dtype)
  top, classes = jax.lax.top_k(log_speed, num_samples + 1)
  # Without barriers XLA merges top_k and slices into a sort of all classes, 100 times slower. One
  # barrier around both aborts XLA (jaxlib 0.10) when the program is partitioned over devices.
  top, classes = jax.lax.optimization_barrier(top), jax.lax.optimization_barrier(classes)
  return classes[:num_samples], -top[num_samples]


def check_num_samples(num_samples: int, num_classes: int, replacement: bool) -> None:
  """Raise a ValueError unless so many classes can be drawn."""
  if not is_integer(num_samples) or num_samples < 1:
    raise ValueError(f"Got num_samples={num_samples!r}; it must be an integer of at least 1.")
  if not replacement and num_samples > num_classes:
    raise ValueError(
      f"Got num_samples={num_samples} for {num_classes} classes; without replacement there are "
      "no more samples than classes. Take fewer, or a sampler with replacement=True."
    )


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
    margin: logits to logits, elementwise, for the label's alone; none by default.
    remove_accidental_hits: leave the label out of each example's sample; otherwise it counts
      again, as a wrong class.
    correct_label: subtract log Q from the label's score too.
    class_weights: `[K]`, each at least 0, for the losses of the labels; ones by default.
    ignore_label: an integer, as -1: an example with this label has the loss 0 and no gradient.
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
  values = jax.ShapeDtypeStruct((*labels.shape, num_classes), wide_type(features, kernel))
  targets = check_targets(labels, values, class_weights, ignore_label)
  labels = jnp.where(is_known(targets.labels, num_classes), targets.labels, 0)

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
  label_score = score(label_logits if margin is None else margin(label_logits))
  if correct_label:
    label_score -= sampler.log_expected_count(labels, effort).astype(label_score.dtype)
  log_counts = sampler.log_expected_count(classes, effort)
  sample_scores = score(sample_logits) - per_class(log_counts, sample_logits)
  if remove_accidental_hits:
    sample_scores = jnp.where(
      labels[..., None] == per_class(classes, labels[..., None]), -jnp.inf, sample_scores
    )
  scores = jnp.concatenate([label_score[..., None], sample_scores], axis=-1)
  loss = targets.finish(targets.weigh(-log_normalise(scores)[..., 0]))
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
