"""Spherical softmax: the exponential replaced by the square."""

import jax
import jax.numpy as jnp

from softmax_research.functional.arguments import check_epsilon
from softmax_research.functional.normalise import log_normalise
from softmax_research.functional.precision import widen


def spherical_score(
  logits: jax.typing.ArrayLike, *, epsilon: jax.typing.ArrayLike = 1e-2
) -> jax.Array:
  r"""Compute the logarithm of the squared logit.

  .. math:: s(z) = \log (z^2 + \varepsilon)

  The score is even: a class is probable when its logit is far from zero, on either side, so the
  most probable class need not be the one with the largest logit. A logit of -inf marks an
  impossible class and keeps the score -inf.

  Args:
    logits: real numbers of any shape, up to 1e18 in size.
    epsilon: eps > 0. It sets the scale of the logits: where they are much smaller than its root
      the distribution is uniform, where they are much larger only their ratios matter. The
      gradient is at most 1 / sqrt(eps). Worth tuning.

  Returns:
    Scores of the shape and floating type of the logits.

  Raises:
    ValueError: epsilon is not a positive number that float32 can hold.

  Example:
    >>> import jax.numpy as jnp
    >>> jnp.exp(spherical_score(jnp.array([-2.0, 0.0, 1.0]), epsilon=0.5)).round(2)
    Array([4.5, 0.5, 1.5], dtype=float32)

  Reference:
    de Brebisson & Vincent 2016, "An Exploration of Softmax Alternatives Belonging to the
    Spherical Loss Family" (arXiv 1511.05042).
  """
  check_epsilon(epsilon, typical=1e-2)
  logits, result_type = widen(logits)
  possible = logits != -jnp.inf
  score = jnp.log(jnp.where(possible, logits, 0) ** 2 + epsilon)
  return jnp.where(possible, score, -jnp.inf).astype(result_type)


def log_spherical_softmax(
  logits: jax.typing.ArrayLike,
  *,
  epsilon: jax.typing.ArrayLike = 1e-2,
  axis: int = -1,
  where: jax.typing.ArrayLike | None = None,
) -> jax.Array:
  r"""Compute the logarithm of spherical softmax.

  .. math:: \log p_k = \log (z_k^2 + \varepsilon) - \log \sum_j (z_j^2 + \varepsilon)

  Args:
    logits: K classes along `axis`; -inf marks an impossible class.
    epsilon: eps > 0; see `spherical_score`.
    axis: the class axis.
    where: booleans that broadcast to the logits; false excludes a class.

  Returns:
    Log-probabilities in nats, of the shape and floating type of the logits.

  Raises:
    ValueError: epsilon is not a positive number that float32 can hold.

  Example:
    >>> import jax.numpy as jnp
    >>> log_spherical_softmax(jnp.array([-3.0, 3.0])).round(4)
    Array([-0.6931, -0.6931], dtype=float32)

  Reference:
    de Brebisson & Vincent 2016, "An Exploration of Softmax Alternatives Belonging to the
    Spherical Loss Family" (arXiv 1511.05042).
  """
  logits, result_type = widen(logits)
  scores = spherical_score(logits, epsilon=epsilon)
  return log_normalise(scores, axis=axis, where=where).astype(result_type)


def spherical_softmax(
  logits: jax.typing.ArrayLike,
  *,
  epsilon: jax.typing.ArrayLike = 1e-2,
  axis: int = -1,
  where: jax.typing.ArrayLike | None = None,
) -> jax.Array:
  r"""Compute spherical softmax probabilities.

  .. math:: p_k = \frac{z_k^2 + \varepsilon}{\sum_j (z_j^2 + \varepsilon)}

  Args:
    logits: K classes along `axis`; -inf marks an impossible class.
    epsilon: eps > 0; see `spherical_score`.
    axis: the class axis.
    where: booleans that broadcast to the logits; false excludes a class.

  Returns:
    Probabilities of the shape and floating type of the logits.

  Raises:
    ValueError: epsilon is not a positive number that float32 can hold.

  Example:
    >>> import jax.numpy as jnp
    >>> spherical_softmax(jnp.array([-2.0, 0.0, 1.0]), epsilon=1.0).round(4)
    Array([0.625, 0.125, 0.25 ], dtype=float32)

  Reference:
    de Brebisson & Vincent 2016, "An Exploration of Softmax Alternatives Belonging to the
    Spherical Loss Family" (arXiv 1511.05042).
  """
  logits, result_type = widen(logits)
  log_probs = log_spherical_softmax(logits, epsilon=epsilon, axis=axis, where=where)
  return jnp.exp(log_probs).astype(result_type)
