"""Alpha-entmax: from softmax (alpha = 1) over sparsemax (alpha = 2) to the argmax, with zeros."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from softmax_research.functional.arguments import broadcasts_to, check_at_least, check_class_axis
from softmax_research.functional.entmax_solver import solve
from softmax_research.functional.normalise import exclude
from softmax_research.functional.precision import widen
from softmax_research.functional.softmax import softmax

_SERIES_TERMS = 15  # of sum_n t^n / (n + 2)!, for float64 where |t| < 1/2


def entmax(
  logits: jax.typing.ArrayLike,
  *,
  alpha: jax.typing.ArrayLike = 1.5,
  axis: int = -1,
  where: jax.typing.ArrayLike | None = None,
) -> jax.Array:
  r"""Compute alpha-entmax probabilities, which are exactly zero for low logits.

  .. math::
    p_k = \big[(\alpha - 1) z_k - \tau\big]_+^{1 / (\alpha - 1)},
    \qquad \tau \text{ such that } \sum_k p_k = 1

  They maximise the expected logit plus the Tsallis entropy of order alpha. The larger alpha, the
  fewer classes have probability: alpha = 1 is softmax, alpha = 2 sparsemax. Derivatives with
  respect to the logits and to alpha are those of the implicit equation, of any order and in
  forward and reverse mode:

  .. math::
    \mathrm d p_k = g_k \Big(\mathrm d z_k - \frac{\sum_j g_j \, \mathrm d z_j}{\sum_j g_j}\Big),
    \qquad g_k = p_k^{2 - \alpha} \text{ where } p_k > 0, \text{ else } 0

  Args:
    logits: K classes along `axis`; -inf marks an impossible class.
    alpha: at least 1; a number, or an array that broadcasts to the logits with one value for all
      classes of an example, as `[..., 1]`. It may be traced, and learnt; below 1 the probabilities
      are NaN then.
    axis: the class axis.
    where: booleans that broadcast to the logits; false excludes a class. A row without any class
      has probability 0 throughout.

  Returns:
    Probabilities of the shape and floating type of the logits.

  Raises:
    ValueError: alpha is below 1 or not finite, or its shape does not fit.
    TypeError: the axis is not one integer.

  Example:
    >>> import jax.numpy as jnp
    >>> entmax(jnp.array([0.0, 0.75, 2.0]), alpha=1.5).round(3)
    Array([0.   , 0.104, 0.896], dtype=float32)

  Reference:
    Peters et al. 2019, "Sparse Sequence-to-Sequence Models", section 3 (arXiv 1905.05702);
    Correia et al. 2019, "Adaptively Sparse Transformers", proposition 1 (arXiv 1909.00015), for
    the gradient with respect to alpha.
  """
  check_at_least("alpha", alpha, 1, "Pass 1 for softmax, 2 for sparsemax.")
  logits, result_type = widen(logits)
  check_class_axis(logits, axis)
  if _is_number(alpha) and alpha == 1:
    return softmax(logits, axis=axis, where=where).astype(result_type)
  beta, form = prepare_alpha(alpha, logits, axis)
  shifted, _ = shift(logits, axis, where)
  return probabilities(shifted, beta, axis, form).astype(result_type)


def _is_number(alpha: jax.typing.ArrayLike) -> bool:
  """Tell a plain number, which nobody differentiates, from an array or a tracer."""
  return isinstance(alpha, int | float | np.number)


def prepare_alpha(
  alpha: jax.typing.ArrayLike, logits: jax.Array, axis: int
) -> tuple[jax.Array, str]:
  """Return alpha - 1 with the type and rank of the logits, and the form of `solve`.

  Raises:
    ValueError: the shape of alpha does not fit.

  Example:
    >>> prepare_alpha(1.5, jnp.zeros((2, 3)), -1)
    (Array([[0.5]], dtype=float32), 'square')
  """
  if _is_number(alpha):
    # The difference is taken before it is rounded to the type of the logits.
    beta = jnp.asarray(alpha - 1, logits.dtype)
    form = {2: "linear", 1.5: "square"}.get(alpha, "fixed")
  else:
    beta, form = jnp.asarray(alpha).astype(logits.dtype) - 1, "free"
  shape = (1,) * (logits.ndim - beta.ndim) + beta.shape
  if not broadcasts_to(shape, logits.shape) or shape[axis] != 1:
    raise ValueError(
      f"Got alpha of shape {beta.shape} for logits of shape {logits.shape}; it must broadcast to "
      f"the logits, with size 1 along the class axis {axis}. Add that axis with jnp.expand_dims."
    )
  return beta.reshape(shape), form


def shift(
  logits: jax.Array, axis: int, where: jax.typing.ArrayLike | None
) -> tuple[jax.Array, jax.Array]:
  """Return logits minus their maximum, finite for the impossible classes too, and the possible.

  Example:
    >>> shifted, possible = shift(jnp.array([2.0, 1.0, -jnp.inf]), -1, None)
    >>> shifted[:2].tolist(), bool(shifted[2] < -1e37), possible.tolist()
    ([0.0, -1.0], True, [True, True, False])
  """
  logits = exclude(logits, where)
  lowest = jnp.finfo(logits.dtype).min
  top = jnp.max(jax.lax.stop_gradient(logits), axis=axis, keepdims=True, initial=-jnp.inf)
  return jnp.maximum(logits - jnp.maximum(top, lowest), lowest / 4), logits != -jnp.inf


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def probabilities(shifted: jax.Array, beta: jax.Array, axis: int, form: str) -> jax.Array:
  """Compute entmax with the derivatives of its implicit equation; arguments as of `solve`.

  Only the form "free" is differentiable with respect to beta.

  Example:
    >>> probabilities(jnp.array([-0.5, 0.0]), jnp.ones(1), -1, "linear")
    Array([0.25, 0.75], dtype=float32)
  """
  return solve(shifted, beta, axis=axis, form=form)


@probabilities.defjvp
def _probabilities_jvp(axis, form, primals, tangents):
  (shifted, beta), (d_shifted, d_beta) = primals, tangents
  probs = probabilities(shifted, beta, axis, form)
  weights = _logit_weights(probs, beta, form)
  total = jnp.sum(weights, axis=axis, keepdims=True)
  total = jnp.where(total == 0, 1, total)  # a row without any class
  direction = d_shifted
  # Beyond alpha = 2 a class at the edge of the support may outweigh all others, and what is left
  # of its direction after the mean is rounding error: a second pass corrects it.
  for _ in range(1 if form in ("linear", "square") else 2):
    direction = direction - jnp.sum(weights * direction, axis=axis, keepdims=True) / total
  d_probs = weights * direction
  if form == "free":
    slopes = _alpha_slopes(probs, beta)
    mean = jnp.sum(slopes, axis=axis, keepdims=True) / total
    d_probs = d_probs + (slopes - weights * mean) * d_beta
  return probs, d_probs


def _logit_weights(probs, beta, form):
  """Return g = p^(1-b) on the support, the slopes of p in the logits at a fixed threshold."""
  support = probs > 0
  if form == "linear":
    return support.astype(probs.dtype)
  inner = jnp.where(support, probs, 1)
  if form == "square":
    return jnp.where(support, jnp.sqrt(inner), 0)
  return jnp.where(support, _capped_exp((1 - beta) * jnp.log(inner)), 0)


def _alpha_slopes(probs, beta):
  r"""Return the slopes of p in alpha at a fixed threshold.

  These are -p (log p)^2 (e^t - 1 - t) / t^2 with t = -b log p. The published form divides
  differences that vanish as alpha -> 1 by (alpha - 1)^2.
  """
  log_probs = jnp.log(jnp.where(probs > 0, probs, 1))
  largest = math.log(jnp.finfo(probs.dtype).max) / 2
  t = jnp.minimum(-beta * log_probs, largest)
  return -probs * log_probs**2 * second_quotient(t)


def _capped_exp(values):
  """Exponentiate without overflow, so that no infinite weight meets a zero direction."""
  return jnp.exp(jnp.minimum(values, math.log(jnp.finfo(values.dtype).max) / 2))


@jax.jit
def second_quotient(t: jax.Array) -> jax.Array:
  """Compute (exp(t) - 1 - t) / t^2, which is 1/2 at t = 0, without cancellation.

  Example:
    >>> second_quotient(jnp.array([0.0, 1.0])).round(4)
    Array([0.5   , 0.7183], dtype=float32)
  """
  small = jnp.abs(t) < 0.5
  inner, outer = jnp.where(small, t, 0), jnp.where(small, 1, t)
  series = jnp.zeros_like(t)
  for n in reversed(range(_SERIES_TERMS)):
    series = series * inner + 1 / math.factorial(n + 2)
  return jnp.where(small, series, (jnp.expm1(outer) - outer) / outer**2)
