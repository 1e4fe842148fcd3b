"""Alpha-entmax: from softmax (alpha = 1) over sparsemax (alpha = 2) to the argmax, with zeros."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from softmax_research.functional.arrays import (
  broadcasts_to,
  check_at_least,
  check_class_axis,
  widen,
)
from softmax_research.functional.entmax_solver import Form, solve
from softmax_research.functional.labels import check_targets, select_label
from softmax_research.functional.normalise import exclude, softmax

_LARGEST_POWER = 10  # that multiplications are cheaper for than a logarithm and an exponential
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
    alpha: at least 1; a number, or an array that broadcasts to the logits with one value for all
      classes of an example, as `[..., 1]`. It may be traced, and learnt; below 1 the probabilities
      are NaN then. Beyond 5 (14 in float64) classes at the edge of the support may get too much.
    logits, axis, where: those of `softmax`.

  Returns:
    Probabilities of the shape and floating type of the logits.

  Raises:
    ValueError: alpha is below 1 or not finite, or its shape does not fit.
    TypeError: the axis is not one integer.

  Example:
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
) -> tuple[jax.Array, Form]:
  """Return alpha - 1 with the type and rank of the logits, and the form of `solve`."""
  if _is_number(alpha):
    # The difference is taken before it is rounded to the type of the logits.
    beta, form = jnp.asarray(alpha - 1, logits.dtype), "fixed"
    if abs(alpha - 1) > 1 / (_LARGEST_POWER + 1):
      power = round(1 / (alpha - 1))
      form = power if math.isclose(power * (alpha - 1), 1, rel_tol=1e-12) else form
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
  """Return logits minus their maximum, finite for the impossible classes too, and the possible."""
  logits = exclude(logits, where)
  lowest = jnp.finfo(logits.dtype).min
  top = jnp.max(jax.lax.stop_gradient(logits), axis=axis, keepdims=True, initial=-jnp.inf)
  return jnp.maximum(logits - jnp.maximum(top, lowest), lowest / 4), logits != -jnp.inf


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def probabilities(shifted: jax.Array, beta: jax.Array, axis: int, form: Form) -> jax.Array:
  """Compute entmax with the derivatives of its implicit equation; arguments as of `solve`.

  Only the form "free" is differentiable with respect to beta.
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
  for _ in range(1 if isinstance(form, int) else 2):
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
  if form == 1:
    return support.astype(probs.dtype)
  inner = jnp.where(support, probs, 1)
  if form == 2:
    return jnp.where(support, jnp.sqrt(inner), 0)
  # Without overflow, so that no infinite weight meets a zero direction.
  logs = jnp.minimum((1 - beta) * jnp.log(inner), math.log(jnp.finfo(probs.dtype).max) / 2)
  return jnp.where(support, jnp.exp(logs), 0)


def _alpha_slopes(probs, beta):
  r"""Return the slopes of p in alpha at a fixed threshold.

  These are -p (log p)^2 (e^t - 1 - t) / t^2 with t = -b log p. The published form divides
  differences that vanish as alpha -> 1 by (alpha - 1)^2.
  """
  log_probs = jnp.log(jnp.where(probs > 0, probs, 1))
  largest = math.log(jnp.finfo(probs.dtype).max) / 2
  t = jnp.minimum(-beta * log_probs, largest)
  return -probs * log_probs**2 * second_quotient(t)


@jax.jit
def second_quotient(t: jax.Array) -> jax.Array:
  """Compute (exp(t) - 1 - t) / t^2, which is 1/2 at t = 0, without cancellation."""
  small = jnp.abs(t) < 0.5
  inner, outer = jnp.where(small, t, 0), jnp.where(small, 1, t)
  series = jnp.zeros_like(t)
  for n in reversed(range(_SERIES_TERMS)):
    series = series * inner + 1 / math.factorial(n + 2)
  return jnp.where(small, series, (jnp.expm1(outer) - outer) / outer**2)


def entmax_loss(
  logits: jax.typing.ArrayLike,
  labels: jax.typing.ArrayLike,
  *,
  alpha: jax.typing.ArrayLike = 1.5,
  class_weights: jax.typing.ArrayLike | None = None,
  ignore_label: int | None = None,
  axis: int = -1,
  where: jax.typing.ArrayLike | None = None,
) -> jax.Array:
  r"""Compute the entmax loss of each example.

  .. math::
    \ell = (p - q) \cdot z + H_\alpha(p) - H_\alpha(q),
    \qquad H_\alpha(p) = \frac{1}{\alpha (\alpha - 1)} \sum_k (p_k - p_k^\alpha)

  p is the entmax of the logits z and q the label's distribution, of entropy 0 for an integer
  label. The gradient with respect to the logits is p - q. The loss is never negative, and it is
  zero exactly where p = q: for an integer label as soon as its logit leads all others by
  1 / (alpha - 1). At alpha = 1 it is the cross-entropy of softmax minus the entropy of q.

  Args:
    alpha: that of `entmax`.
    logits, labels, class_weights, ignore_label, axis, where: those of `cross_entropy`.

  Returns:
    Losses without the class axis, in the units of the logits: nats for alpha = 1. NaN for an
    integer label out of range; infinite for a label whose class is impossible.

  Raises:
    ValueError: alpha is below 1 or not finite, or the shape of alpha or of the labels does not
      fit.
    TypeError: the labels are neither integers nor floating-point numbers.

  Example:
    >>> entmax_loss(jnp.array([[2.0, 0.0], [2.0, 0.0]]), jnp.array([0, 1]), alpha=1.5)
    Array([0., 2.], dtype=float32)

  Reference:
    Blondel et al. 2020, "Learning with Fenchel-Young Losses", section 4 (arXiv 1901.02324);
    Peters et al. 2019, "Sparse Sequence-to-Sequence Models", section 3 (arXiv 1905.05702).
  """
  check_at_least("alpha", alpha, 1, "Pass 1 for softmax, 2 for sparsemax.")
  logits, result_type = widen(logits)
  targets = check_targets(labels, logits, class_weights, ignore_label, axis).normalise(axis)
  labels = targets.labels
  beta, form = prepare_alpha(alpha, logits, axis)
  shifted, possible = shift(logits, axis, where)
  probs = probabilities(shifted, beta, axis, form)
  loss = _conjugate(shifted, probs, beta, axis, form)
  label_logits = jnp.where(possible, shifted, -jnp.inf)
  if jnp.issubdtype(labels.dtype, jnp.integer):
    loss -= select_label(label_logits, labels, axis=axis)
  else:
    label_logits = jnp.where((labels == 0) & ~possible, 0, label_logits)
    loss -= jnp.sum(labels * label_logits, axis=axis) + _entropy(labels, beta, axis, form)
  return targets.finish(targets.weigh(loss)).astype(result_type)


@functools.partial(jax.custom_jvp, nondiff_argnums=(3, 4))
def _conjugate(shifted, probs, beta, axis, form):
  """Return max over p of p.z + H(p), attained at the given entmax probabilities of z."""
  return jnp.sum(probs * shifted, axis=axis) + _entropy(probs, beta, axis, form)


@_conjugate.defjvp
def _conjugate_jvp(axis, form, primals, tangents):
  (shifted, probs, beta), (d_shifted, _, d_beta) = primals, tangents
  value = _conjugate(shifted, probs, beta, axis, form)
  # At a maximum over p a change of p has no first-order effect. So the probabilities' own
  # derivative takes no part in the gradient, which is p itself to the last digit; in the second
  # derivatives it does.
  d_value = jnp.sum(probs * d_shifted, axis=axis)
  if form == "free":
    d_value += jax.jvp(lambda b: _entropy(probs, b, axis, form), (beta,), (d_beta,))[1]
  return value, d_value


def _entropy(probs, beta, axis, form):
  """Return the Tsallis entropy sum p (1 - p^b) / (b (1 + b)), Shannon's for b = 0."""
  inside = probs > 0
  inner = jnp.where(inside, probs, 1)
  if form == 1:
    surprise = (1 - inner) / 2
  elif form == 2:
    surprise = (1 - jnp.sqrt(inner)) / 0.75
  else:
    log_probs = jnp.log(inner)
    t = beta * log_probs
    surprise = -log_probs * (1 + t * second_quotient(t)) / (1 + beta)
  return jnp.sum(jnp.where(inside, probs * surprise, 0), axis=axis)


def sparsemax(
  logits: jax.typing.ArrayLike,
  *,
  axis: int = -1,
  where: jax.typing.ArrayLike | None = None,
) -> jax.Array:
  r"""Compute sparsemax probabilities, the Euclidean projection of the logits on the simplex.

  .. math::
    p = \operatorname*{argmin}_{p \in \Delta} \lVert p - z \rVert^2,
    \qquad p_k = [z_k - \tau]_+, \quad \tau \text{ such that } \sum_k p_k = 1

  It is entmax with alpha = 2. On a support of n classes the Jacobian is the identity minus 1/n
  there and zero elsewhere.

  Args:
    logits, axis, where: those of `softmax`.

  Returns:
    Probabilities of the shape and floating type of the logits.

  Example:
    >>> sparsemax(jnp.array([0.0, 1.0, 1.5]))
    Array([0.  , 0.25, 0.75], dtype=float32)

  Reference:
    Martins & Astudillo 2016, "From Softmax to Sparsemax", eq. 1 (arXiv 1602.02068).
  """
  return entmax(logits, alpha=2.0, axis=axis, where=where)


def sparsemax_loss(
  logits: jax.typing.ArrayLike,
  labels: jax.typing.ArrayLike,
  *,
  class_weights: jax.typing.ArrayLike | None = None,
  ignore_label: int | None = None,
  axis: int = -1,
  where: jax.typing.ArrayLike | None = None,
) -> jax.Array:
  r"""Compute the sparsemax loss of each example.

  .. math::
    \ell = -z_y + \frac 1 2 \sum_{k : p_k > 0} (z_k^2 - \tau^2) + \frac 1 2

  p and tau are those of `sparsemax`. The gradient with respect to the logits is p minus the
  one-hot label. The loss is never negative, and zero as soon as the label's logit leads all
  others by 1. It is the entmax loss with alpha = 2, which extends it to labels that are
  distributions.

  Args:
    logits, labels, class_weights, ignore_label, axis, where: those of `cross_entropy`.

  Returns:
    Losses without the class axis, in the units of the logits. NaN for an integer label out of
    range; infinite for a label whose class is impossible.

  Raises:
    ValueError: the labels' shape does not fit.
    TypeError: the labels are neither integers nor floating-point numbers.

  Example:
    >>> sparsemax_loss(jnp.array([[1.0, 0.0], [1.0, 0.5]]), jnp.array([0, 0]))
    Array([0.    , 0.0625], dtype=float32)

  Reference:
    Martins & Astudillo 2016, "From Softmax to Sparsemax", eq. 16 (arXiv 1602.02068).
  """
  return entmax_loss(
    logits,
    labels,
    alpha=2.0,
    class_weights=class_weights,
    ignore_label=ignore_label,
    axis=axis,
    where=where,
  )
