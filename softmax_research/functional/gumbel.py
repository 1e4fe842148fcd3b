"""Gumbel noise: random classes, and a relaxation of them that has gradients."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from softmax_research.functional.arrays import (
  check_any_class,
  check_at_least,
  has_explicit_mesh,
  widen,
)
from softmax_research.functional.labels import is_label
from softmax_research.functional.normalise import exclude, softmax


def gumbel_max(
  key: jax.Array,
  scores: jax.typing.ArrayLike,
  *,
  axis: int = -1,
  where: jax.typing.ArrayLike | None = None,
) -> jax.Array:
  r"""Draw a class in proportion to the exponentials of scores.

  .. math::
    y = \operatorname*{argmax}_k s_k + G_k, \qquad G_k = -\log(-\log u_k), \quad
    P(y = k) = \frac{e^{s_k}}{\sum_j e^{s_j}}

  The noise is of more than one draw of bits, so that the rare ones of a million classes are drawn
  as often as they should be.

  Args:
    key: a random key.
    scores: K classes along `axis`, up to a constant log-probabilities; -inf excludes a class.
    axis, where: those of `softmax`.

  Returns:
    Classes, int32, without the class axis; -1 where none is possible.

  Raises:
    ValueError: there is no class.

  Example:
    >>> gumbel_max(jax.random.key(0), jnp.array([-jnp.inf, 0.0, -jnp.inf])).item()
    1
  """
  noisy = _perturb(key, scores, where, axis)[0]
  possible = jnp.max(noisy, axis=axis) > -jnp.inf
  return jnp.where(possible, jnp.argmax(noisy, axis=axis), -1).astype(jnp.int32)


def gumbel_softmax(
  key: jax.Array,
  logits: jax.typing.ArrayLike,
  *,
  temperature: jax.typing.ArrayLike = 1.0,
  hard: bool = False,
  score: Callable[[jax.Array], jax.Array] | None = None,
  axis: int = -1,
  where: jax.typing.ArrayLike | None = None,
) -> jax.Array:
  r"""Draw a relaxed one-hot vector, with gradients in the logits.

  .. math::
    y_k = \frac{e^{(s_k + G_k) / T}}{\sum_j e^{(s_j + G_j) / T}}, \qquad
    s = \mathrm{score}(z), \qquad G_k = -\log(-\log u_k)

  The largest entry is a draw from the normalised scores, and as T falls to 0 it becomes 1. With
  `hard=True` the value is that one-hot vector and the gradient that of y, which is called
  straight-through.

  Args:
    key: a random key.
    temperature: T > 0.
    hard: make the value one-hot.
    score: logits to scores, elementwise, as `taylor_score`; the identity by default.
    logits, axis, where: those of `softmax`.

  Returns:
    Numbers of sum one along the class axis, of the shape and type of the logits.

  Raises:
    ValueError: the temperature is not positive and finite, or there is no class.

  Example:
    >>> gumbel_softmax(jax.random.key(0), jnp.zeros(3), hard=True).sum().item()
    1.0

  Reference:
    Jang, Gu & Poole 2017, "Categorical Reparameterization with Gumbel-Softmax" (arXiv 1611.01144);
    Maddison, Mnih & Teh 2017, "The Concrete Distribution" (arXiv 1611.00712).
  """
  check_at_least("temperature", temperature, 0, "Pass 1.0, or less for draws nearer to one-hot.")
  noisy, result_type = _perturb(key, logits, where, axis, score)
  soft = softmax(noisy, temperature=temperature, axis=axis)
  if hard:
    chosen = is_label(jnp.argmax(noisy, axis=axis), soft, axis=axis) & (soft > 0)
    soft += jax.lax.stop_gradient(chosen.astype(soft.dtype) - soft)
  return soft.astype(result_type)


def _perturb(key, logits, where, axis, score=None) -> tuple[jax.Array, jnp.dtype]:
  logits, result_type = widen(logits)
  check_any_class(logits, axis)
  scores = exclude(logits if score is None else score(logits), where)
  sharding = jax.typeof(scores).sharding if has_explicit_mesh(scores) else None
  noise = jax.random.gumbel(key, scores.shape, scores.dtype, mode="high", out_sharding=sharding)
  return scores + noise, result_type
