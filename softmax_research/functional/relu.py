"""ReLU classifier: the exponential replaced by the rectified logit."""

import jax
import jax.numpy as jnp

from softmax_research.functional.arguments import check_epsilon
from softmax_research.functional.precision import widen


def relu_score(logits: jax.typing.ArrayLike, *, epsilon: jax.typing.ArrayLike = 1e-2) -> jax.Array:
  r"""Compute the logarithm of the rectified logit.

  .. math:: s(z) = \log \max(z, \varepsilon)

  Normalised, this is the classifier whose probabilities are ReLU outputs divided by their sum.
  A logit at or below eps has no gradient: a label whose logit has died learns only through the
  other classes, and a row whose logits have all died is uniform and does not learn at all. So
  start training with positive logits. A logit of -inf marks an impossible class and keeps the
  score -inf.

  Args:
    logits: real numbers of any shape.
    epsilon: eps > 0, the floor of a class's unnormalised probability. The gradient grows to
      1 / eps as a logit comes down to it, and steps that large stall training when eps is tiny.
      float16 logits raise eps to 2^-14, so that the gradient does not overflow.

  Returns:
    Scores of the shape and floating type of the logits.

  Raises:
    ValueError: epsilon is not a positive number that float32 can hold.

  Example:
    >>> import jax.numpy as jnp
    >>> jnp.exp(relu_score(jnp.array([-1.0, 0.5, 2.0]), epsilon=0.01)).round(2)
    Array([0.01, 0.5 , 2.  ], dtype=float32)

  Reference:
    Agarap 2018, "Deep Learning using Rectified Linear Units (ReLU)" (arXiv 1803.08375).
  """
  check_epsilon(epsilon, typical=1e-2)
  logits, result_type = widen(logits)
  floor = jnp.maximum(epsilon, jnp.finfo(result_type).tiny).astype(logits.dtype)
  return _log_floored(logits, floor).astype(result_type)


@jax.custom_jvp
def _log_floored(logits: jax.Array, floor: jax.Array) -> jax.Array:
  # Comparing this way round lets a NaN logit through instead of hiding it behind the floor.
  score = jnp.log(jnp.where(logits <= floor, floor, logits))
  return jnp.where(logits == -jnp.inf, -jnp.inf, score)


@_log_floored.defjvp
def _log_floored_jvp(primals, tangents):
  # Computed anew from the logits: to keep the floored logits for it would take an array more.
  (logits, floor), (logits_dot, floor_dot) = primals, tangents
  dead = logits <= floor
  change = jnp.where(dead, floor_dot / floor, logits_dot / jnp.where(dead, 1, logits))
  return _log_floored(logits, floor), jnp.where(logits == -jnp.inf, 0, change)
