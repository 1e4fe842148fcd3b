"""Normalisation: from scores s = log g(z) to log-probabilities s - logsumexp(s)."""

import jax
import jax.numpy as jnp

from softmax_research.functional.precision import widen


def subtract_maximum(
  scores: jax.Array, *, axis: int = -1, where: jax.typing.ArrayLike | None = None
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Return the mask of the possible classes, scores minus their maximum, and that maximum.

  Impossible classes (masked, or of score -inf) get the value 0, so that no operation that
  follows meets an infinity: a `where` around an infinite branch still gives NaN gradients.

  Example:
    >>> import jax.numpy as jnp
    >>> possible, shifted, _ = subtract_maximum(jnp.array([3.0, 5.0, -jnp.inf]))
    >>> possible.tolist(), shifted.tolist()
    ([True, True, False], [-2.0, 0.0, 0.0])
  """
  possible = scores != -jnp.inf
  if where is not None:
    possible &= jnp.broadcast_to(jnp.asarray(where, bool), scores.shape)
  top = jnp.max(scores, axis=axis, keepdims=True, where=possible, initial=-jnp.inf)
  top = jax.lax.stop_gradient(jnp.where(top == -jnp.inf, 0, top))
  return possible, jnp.where(possible, scores - top, 0), top


def _log_total(possible, shifted, axis):
  """Return log sum exp over the possible classes, 0 for a row that has none."""
  total = jnp.sum(jnp.where(possible, jnp.exp(shifted), 0), axis=axis, keepdims=True)
  return jnp.log(jnp.where(total == 0, 1, total))


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
    >>> import jax.numpy as jnp
    >>> jnp.exp(log_normalise(jnp.log(jnp.array([1.0, 3.0])))).round(2)
    Array([0.25, 0.75], dtype=float32)
  """
  scores, result_type = widen(scores)
  possible, shifted, _ = subtract_maximum(scores, axis=axis, where=where)
  log_probs = shifted - _log_total(possible, shifted, axis)
  return jnp.where(possible, log_probs, -jnp.inf).astype(result_type)


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
    scores: K classes along `axis`.
    axis: the class axis.
    where: booleans that broadcast to the scores; false excludes a class.

  Returns:
    An array without the class axis, in nats.

  Example:
    >>> import jax.numpy as jnp
    >>> log_normaliser(jnp.zeros(4)).round(4)
    Array(1.3863, dtype=float32)
  """
  scores, result_type = widen(scores)
  possible, shifted, top = subtract_maximum(scores, axis=axis, where=where)
  total = top + _log_total(possible, shifted, axis)
  any_possible = jnp.any(possible, axis=axis, keepdims=True)
  return jnp.squeeze(jnp.where(any_possible, total, -jnp.inf), axis).astype(result_type)
