"""Entmax loss: the Fenchel-Young loss of the Tsallis entropy, zero from a finite margin on."""

import functools

import jax
import jax.numpy as jnp

from softmax_research.functional.arguments import check_at_least
from softmax_research.functional.entmax import (
  prepare_alpha,
  probabilities,
  second_quotient,
  shift,
)
from softmax_research.functional.labels import check_labels, select_label, spoil_unknown
from softmax_research.functional.precision import widen


def entmax_loss(
  logits: jax.typing.ArrayLike,
  labels: jax.typing.ArrayLike,
  *,
  alpha: jax.typing.ArrayLike = 1.5,
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
    logits: K classes along `axis`; -inf marks an impossible class.
    labels: integers without the class axis, or distributions of the shape of the logits.
    alpha: at least 1; a number, or an array that broadcasts to the logits with one value for all
      classes of an example, as `[..., 1]`. It may be traced, and learnt; below 1 the loss is NaN
      then.
    axis: the class axis.
    where: booleans that broadcast to the logits; false excludes a class.

  Returns:
    Losses without the class axis, in the units of the logits: nats for alpha = 1. NaN for an
    integer label out of range; infinite for a label whose class is impossible.

  Raises:
    ValueError: alpha is below 1 or not finite, or the shape of alpha or of the labels does not
      fit.
    TypeError: the labels are neither integers nor floating-point numbers.

  Example:
    >>> import jax.numpy as jnp
    >>> entmax_loss(jnp.array([[2.0, 0.0], [2.0, 0.0]]), jnp.array([0, 1]), alpha=1.5)
    Array([0., 2.], dtype=float32)

  Reference:
    Blondel et al. 2020, "Learning with Fenchel-Young Losses", section 4 (arXiv 1901.02324);
    Peters et al. 2019, "Sparse Sequence-to-Sequence Models", section 3 (arXiv 1905.05702).
  """
  check_at_least("alpha", alpha, 1, "Pass 1 for softmax, 2 for sparsemax.")
  logits, result_type = widen(logits)
  labels = check_labels(labels, logits, axis=axis)
  beta, form = prepare_alpha(alpha, logits, axis)
  shifted, possible = shift(logits, axis, where)
  probs = probabilities(shifted, beta, axis, form)
  loss = _conjugate(shifted, probs, beta, axis, form)
  label_logits = jnp.where(possible, shifted, -jnp.inf)
  if jnp.issubdtype(labels.dtype, jnp.integer):
    loss -= select_label(label_logits, labels, axis=axis)
  else:
    labels = labels.astype(logits.dtype)
    label_logits = jnp.where((labels == 0) & ~possible, 0, label_logits)
    loss -= jnp.sum(labels * label_logits, axis=axis) + _entropy(labels, beta, axis, form)
  return spoil_unknown(loss, labels, logits.shape[axis]).astype(result_type)


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
  if form == "linear":
    surprise = (1 - inner) / 2
  elif form == "square":
    surprise = (1 - jnp.sqrt(inner)) / 0.75
  else:
    log_probs = jnp.log(inner)
    t = beta * log_probs
    surprise = -log_probs * (1 + t * second_quotient(t)) / (1 + beta)
  return jnp.sum(jnp.where(inside, probs * surprise, 0), axis=axis)
