"""Links: functions of a loss -log p, by which a label's probability p counts in another measure.

All take losses of any shape, at least 0, and return losses of their shape and floating type. NaN
stays.
"""

import jax
import jax.numpy as jnp

from softmax_research.functional.arrays import (
  as_option,
  check_at_least,
  check_fraction,
  is_plain_zero,
  widen,
)


def focal_link(loss: jax.typing.ArrayLike, *, gamma: jax.typing.ArrayLike = 2.0) -> jax.Array:
  r"""Weight a loss by how far its label is from certain.

  .. math:: \ell' = (1 - p)^\gamma \, \ell, \qquad p = e^{-\ell}

  Examples that are learnt already hardly count any more.

  Args:
    gamma: at least 0; 0 leaves the loss as it is.

  Raises:
    ValueError: gamma is negative or not finite.

  Example:
    >>> focal_link(-jnp.log(jnp.array([0.75, 0.25])), gamma=2.0).round(2)
    Array([0.02, 0.78], dtype=float32)

  Reference:
    Lin et al. 2017, "Focal Loss for Dense Object Detection" (arXiv 1708.02002).
  """
  check_at_least("gamma", gamma, 0, "Pass 2.0 for the paper's choice, 0 for none.")
  loss, result_type = widen(loss)
  if is_plain_zero(gamma):
    return loss.astype(result_type)
  gamma = as_option("gamma", gamma, loss.shape, loss.dtype)
  # A power of zero has no finite slope, and 0 times infinity is no number.
  ordinary = (loss > 0) & (loss < jnp.inf)
  safe = jnp.where(ordinary, loss, 1)
  focal = (-jnp.expm1(-safe)) ** gamma * safe
  return jnp.where(ordinary, focal, jax.lax.stop_gradient(loss)).astype(result_type)


def poly_link(loss: jax.typing.ArrayLike, *, epsilon: jax.typing.ArrayLike = 1.0) -> jax.Array:
  r"""Add the first term of a loss's expansion in 1 - p once more.

  .. math::
    \ell' = \ell + \varepsilon (1 - p), \qquad p = e^{-\ell}, \qquad
    \ell = \sum_{j \ge 1} \frac{(1 - p)^j}{j}

  Args:
    epsilon: of either sign, from -1 on; 0 leaves the loss as it is.

  Raises:
    ValueError: epsilon is below -1 or not finite.

  Example:
    >>> poly_link(jnp.array([0.0, 20.0]), epsilon=1.5).round(2)  # p = 1, and nearly 0
    Array([ 0. , 21.5], dtype=float32)

  Reference:
    Leng et al. 2022, "PolyLoss: A Polynomial Expansion Perspective of Classification Loss
    Functions" (arXiv 2204.12511), Poly-1.
  """
  check_at_least("epsilon", epsilon, -1, "Pass 1.0 or so, 0 for none.")
  loss, result_type = widen(loss)
  epsilon = as_option("epsilon", epsilon, loss.shape, loss.dtype)
  return (loss - epsilon * jnp.expm1(-loss)).astype(result_type)


def generalised_link(loss: jax.typing.ArrayLike, *, q: jax.typing.ArrayLike = 0.7) -> jax.Array:
  r"""Bound a loss, between the logarithm and the absolute error.

  .. math:: \ell' = \frac{1 - p^q}{q}, \qquad p = e^{-\ell}

  With q = 0 it is the loss itself, with q = 1 the probability of error 1 - p. The larger q, the
  less do examples count that the network finds impossible, as wrongly labelled ones.

  Args:
    q: in [0, 1].

  Returns:
    Losses, at most 1 / q.

  Raises:
    ValueError: q is not in [0, 1].

  Example:
    >>> generalised_link(-jnp.log(jnp.array([0.75, 0.25])), q=1.0).round(2)
    Array([0.25, 0.75], dtype=float32)

  Reference:
    Zhang & Sabuncu 2018, "Generalized Cross Entropy Loss for Training Deep Neural Networks with
    Noisy Labels" (arXiv 1805.07836).
  """
  check_fraction("q", q, or_one=True)
  loss, result_type = widen(loss)
  q = as_option("q", q, loss.shape, loss.dtype)
  positive = q != 0
  scale = jnp.where(positive, q, 1)
  finite = loss != jnp.inf  # Infinity would make the slope in q no number.
  size = jnp.where(finite, loss, 0)
  bounded = jnp.where(finite, -jnp.expm1(-scale * size), 1) / scale
  # With the slope in q that it has at 0, so that a learnt q may begin there.
  unbounded = jnp.where(finite, size * (1 - q * size / 2), loss)
  return jnp.where(positive, bounded, unbounded).astype(result_type)
