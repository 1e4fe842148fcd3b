"""Samplers: random choices of classes, with how often each class is to be expected in one."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from softmax_research.functional.arrays import check_integer, check_num_classes, look_up

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

  Raises:
    ValueError: the number of classes is below 1.

  Example:
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
    return jnp.broadcast_to(jnp.log(effort / num_classes), np.shape(classes))

  return Sampler(num_classes, sample, log_expected_count)


def log_uniform_sampler(num_classes: int, *, replacement: bool = False) -> Sampler:
  r"""Sample classes by Zipf's law: for classes numbered by decreasing frequency.

  .. math:: q_k = \frac{\log (k + 2) - \log (k + 1)}{\log (K + 1)}, \qquad k = 0, \dots, K - 1

  Args:
    num_classes: K.
    replacement: see `weighted_sampler`.

  Raises:
    ValueError: the number of classes is below 1.

  Example:
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

  Raises:
    ValueError: the weights are not a vector of finite, positive numbers.

  Example:
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
  check_integer("num_samples", num_samples)
  if not replacement and num_samples > num_classes:
    raise ValueError(
      f"Got num_samples={num_samples} for {num_classes} classes; without replacement there are "
      "no more samples than classes. Take fewer, or a sampler with replacement=True."
    )
