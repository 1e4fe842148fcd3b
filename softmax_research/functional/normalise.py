"""Normalisation: from scores s = log g(z) to log-probabilities s - logsumexp(s)."""

import functools

import jax
import jax.numpy as jnp

from softmax_research.functional.arrays import (
  broadcasts_to,
  check_at_least,
  check_class_axis,
  check_option_shape,
  widen,
)


def exclude(scores: jax.Array, where: jax.typing.ArrayLike | None) -> jax.Array:
  """Return the scores with -inf where the mask is false."""
  check_class_axis(scores)
  if where is None:
    return scores
  where = jnp.asarray(where, bool)
  if not broadcasts_to(where.shape, scores.shape):
    raise ValueError(
      f"Got where of shape {where.shape} for values of shape {scores.shape}; it says which classes "
      "are possible and must broadcast to the values. To leave out whole examples add the class "
      "axis, as with where[:, None], or weight their losses."
    )
  return jnp.where(where, scores, -jnp.inf)


# The jit is for eager callers, here and below: a branch would be compiled anew in every call.
@functools.partial(jax.jit, static_argnums=1)
def count_possible(scores: jax.Array, axis: int | tuple[int, ...] = -1) -> jax.Array:
  """Count the classes whose score is not -inf, the class axis kept with size 1."""
  scores = jax.lax.stop_gradient(scores)
  lowest = jnp.min(scores, axis=axis, keepdims=True, initial=jnp.inf)
  every = jnp.where(lowest == -jnp.inf, 0, scores.size // max(lowest.size, 1)).astype(scores.dtype)
  return _sum_over_possible(jnp.ones_like, scores, every, lowest == -jnp.inf, axis)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2))
@functools.partial(jax.jit, static_argnums=(1, 2))
def sum_possible(scores: jax.Array, axis: int | tuple[int, ...] = -1, power: int = 1) -> jax.Array:
  """Sum powers of the scores that are not -inf, the class axis kept with size 1."""
  every = jnp.sum(scores**power, axis=axis, keepdims=True)
  # A score of -inf shows in the sum.
  is_partial = ~jnp.isfinite(every)
  return _sum_over_possible(lambda scores: scores**power, scores, every, is_partial, axis)


@sum_possible.defjvp
def _sum_possible_jvp(axis, power, primals, tangents):
  [scores], [change] = primals, tangents
  slope = jnp.where(scores != -jnp.inf, power * scores ** (power - 1), 0)
  return sum_possible(scores, axis, power), jnp.sum(slope * change, axis=axis, keepdims=True)


def _sum_over_possible(function, scores: jax.Array, every, is_partial, axis) -> jax.Array:
  """Sum a function over the possible classes; `every` is its sum where all of them are.

  XLA on CPU streams arithmetic through a reduction, but writes an array of the scores' size for a
  `where`. So there is none but where a row may have impossible classes.
  """

  def masked():
    values = jnp.where(scores != -jnp.inf, function(scores), 0)
    return jnp.sum(values, axis=axis, keepdims=True)

  return jax.lax.cond(jnp.any(is_partial), masked, lambda: every)


def sum_exponentials(scores: jax.Array, *, axis: int = -1) -> tuple[jax.Array, jax.Array]:
  """Return the largest score m and sum_k exp(s_k - m), the class axis kept with size 1.

  No mask stands between the scores and the two sums, see `_sum_over_possible`. A score of -inf
  needs none, as exp(-inf - m) is 0 and so is its derivative. In a row without any possible class
  m is the lowest finite number and the sum 0.
  """
  top = jnp.max(jax.lax.stop_gradient(scores), axis=axis, keepdims=True, initial=-jnp.inf)
  top = jnp.maximum(top, jnp.finfo(scores.dtype).min)
  return top, jnp.sum(jnp.exp(scores - top), axis=axis, keepdims=True)


def log_or_zero(total: jax.Array) -> jax.Array:
  """Return the logarithm of a sum of exponentials, 0 for a row without any possible class."""
  return jnp.log(jnp.where(total == 0, 1, total))


def log_or_impossible(probs: jax.Array) -> jax.Array:
  """Return log-probabilities, -inf and without a gradient where a probability is exactly zero."""
  inside = probs != 0  # NaN, of NaN logits, stays so.
  return jnp.where(inside, jnp.log(jnp.where(inside, probs, 1)), -jnp.inf)


def lower(scores: jax.Array, amount: jax.Array) -> jax.Array:
  """Subtract a finite amount; a score of -inf stays so, and has no derivative."""
  return jnp.where(scores != -jnp.inf, scores - amount, -jnp.inf)


@jax.custom_jvp
def scale(scores: jax.Array, factor: jax.Array) -> jax.Array:
  """Multiply by a positive factor; a score of -inf stays so, and has no derivative."""
  return scores * factor


@scale.defjvp
def _scale_jvp(primals, tangents):
  # No mask is in the factor's part, whose transpose sums over classes, see `_sum_over_possible`:
  # what comes after has no derivative at -inf, and zero times a finite number is zero. The number
  # is far from the lowest, so that its product with the factor's change is finite too.
  (scores, factor), (scores_dot, factor_dot) = primals, tangents
  change = jnp.where(scores != -jnp.inf, scores_dot * factor, 0)
  finite = jnp.maximum(scores, jnp.finfo(scores.dtype).min * 2.0**-30)
  return scale(scores, factor), change + finite * factor_dot


def log_normalise(
  scores: jax.typing.ArrayLike,
  *,
  axis: int = -1,
  where: jax.typing.ArrayLike | None = None,
) -> jax.Array:
  r"""Normalise scores to log-probabilities.

  .. math:: \log p_k = s_k - \log \sum_j e^{s_j}

  Every member of the family ends here. A class of score -inf, or where the mask is false, is
  impossible: its log-probability is -inf and its gradient zero. In a row without any possible
  class all are -inf, so the probabilities are all zero and no gradient is NaN.

  Args:
    scores: the logarithms of positive numbers, K classes along `axis`.
    axis: the class axis.
    where: booleans that broadcast to the scores; false excludes a class.

  Returns:
    Log-probabilities in nats, of the shape and floating type of the scores.

  Example:
    >>> jnp.exp(log_normalise(jnp.log(jnp.array([1.0, 3.0])))).round(2)
    Array([0.25, 0.75], dtype=float32)
  """
  scores, result_type = widen(scores)
  scores = exclude(scores, where)
  top, total = sum_exponentials(scores, axis=axis)
  return lower(scores - top, log_or_zero(total)).astype(result_type)


def log_normaliser(
  scores: jax.typing.ArrayLike,
  *,
  axis: int = -1,
  where: jax.typing.ArrayLike | None = None,
) -> jax.Array:
  r"""Compute the logarithm of the sum of exponentials.

  .. math:: \log Z = \log \sum_j e^{s_j}

  Unlike `jax.nn.logsumexp` its gradient is zero, not NaN, over a row without any possible class,
  where the value is -inf.

  Args:
    scores, axis, where: those of `log_normalise`.

  Returns:
    An array without the class axis, in nats.

  Example:
    >>> log_normaliser(jnp.zeros(4)).round(4)
    Array(1.3863, dtype=float32)
  """
  scores, result_type = widen(scores)
  top, total = sum_exponentials(exclude(scores, where), axis=axis)
  log_sum = jnp.where(total == 0, -jnp.inf, top + log_or_zero(total))
  return jnp.squeeze(log_sum, axis).astype(result_type)


def log_softmax(
  logits: jax.typing.ArrayLike,
  *,
  temperature: jax.typing.ArrayLike = 1.0,
  axis: int = -1,
  where: jax.typing.ArrayLike | None = None,
) -> jax.Array:
  r"""Compute the logarithm of softmax.

  .. math:: \log p_k = \frac{z_k}{T} - \log \sum_j e^{z_j / T}

  Args:
    temperature: T > 0, a number or an array that broadcasts to the logits. Above 1 the
      distribution is flatter, below 1 sharper.
    logits, axis, where: those of `softmax`.

  Returns:
    Log-probabilities in nats, of the shape and floating type of the logits.

  Raises:
    ValueError: the temperature is not positive and finite.

  Example:
    >>> log_softmax(jnp.array([0.0, 0.0]), temperature=2.0).round(4)
    Array([-0.6931, -0.6931], dtype=float32)

  Reference:
    Guo et al. 2017, "On Calibration of Modern Neural Networks", eq. 9 (arXiv 1706.04599).
  """
  check_at_least("temperature", temperature, 0, "Pass 1.0 for plain softmax.", strict=True)
  logits, result_type = widen(logits)
  check_option_shape("temperature", temperature, logits.shape)
  scores = scale(logits, 1 / jnp.asarray(temperature, logits.dtype))
  return log_normalise(scores, axis=axis, where=where).astype(result_type)


def softmax(
  logits: jax.typing.ArrayLike,
  *,
  temperature: jax.typing.ArrayLike = 1.0,
  axis: int = -1,
  where: jax.typing.ArrayLike | None = None,
) -> jax.Array:
  r"""Compute softmax probabilities.

  .. math:: p_k = \frac{e^{z_k / T}}{\sum_j e^{z_j / T}}

  Args:
    logits: K classes along `axis`; -inf marks an impossible class.
    temperature: T > 0, a number or an array that broadcasts to the logits.
    axis: the class axis.
    where: booleans that broadcast to the logits; false excludes a class. A row without any class
      has probability 0 throughout.

  Returns:
    Probabilities of the shape and floating type of the logits.

  Raises:
    ValueError: the temperature is not positive and finite.

  Example:
    >>> softmax(jnp.log(jnp.array([1.0, 3.0]))).round(2)
    Array([0.25, 0.75], dtype=float32)
  """
  logits, result_type = widen(logits)
  log_probs = log_softmax(logits, temperature=temperature, axis=axis, where=where)
  return jnp.exp(log_probs).astype(result_type)
