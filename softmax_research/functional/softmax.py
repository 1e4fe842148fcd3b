"""Softmax with a temperature: probabilities proportional to exp(z / T)."""

import jax
import jax.numpy as jnp

from softmax_research.functional.arguments import check_at_least
from softmax_research.functional.normalise import log_normalise
from softmax_research.functional.precision import widen


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
    logits: K classes along `axis`; -inf marks an impossible class.
    temperature: T > 0, a number or an array that broadcasts to the logits. Above 1 the
      distribution is flatter, below 1 sharper.
    axis: the class axis.
    where: booleans that broadcast to the logits; false excludes a class. A row without any class
      has log-probability -inf throughout.

  Returns:
    Log-probabilities in nats, of the shape and floating type of the logits.

  Raises:
    ValueError: the temperature is not positive and finite.

  Example:
    >>> import jax.numpy as jnp
    >>> log_softmax(jnp.array([0.0, 0.0]), temperature=2.0).round(4)
    Array([-0.6931, -0.6931], dtype=float32)

  Reference:
    Guo et al. 2017, "On Calibration of Modern Neural Networks", eq. 9 (arXiv 1706.04599).
  """
  check_at_least("temperature", temperature, 0, "Pass 1.0 for plain softmax.", strict=True)
  logits, result_type = widen(logits)
  # -inf / T has no gradient in T: divide what is finite.
  possible = logits != -jnp.inf
  scores = jnp.where(possible, jnp.where(possible, logits, 0) / temperature, -jnp.inf)
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
    >>> import jax.numpy as jnp
    >>> softmax(jnp.log(jnp.array([1.0, 3.0]))).round(2)
    Array([0.25, 0.75], dtype=float32)

  Reference:
    Guo et al. 2017, "On Calibration of Modern Neural Networks", eq. 9 (arXiv 1706.04599).
  """
  logits, result_type = widen(logits)
  log_probs = log_softmax(logits, temperature=temperature, axis=axis, where=where)
  return jnp.exp(log_probs).astype(result_type)
