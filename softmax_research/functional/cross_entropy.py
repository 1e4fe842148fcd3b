"""Cross-entropy: softmax and negative log-likelihood in one, with an optional z-loss."""

import jax
import jax.numpy as jnp

from softmax_research.functional.arguments import check_at_least, check_fraction
from softmax_research.functional.labels import (
  check_labels,
  compute_now,
  expectation,
  select_label,
  spoil_unknown,
)
from softmax_research.functional.negative_log_likelihood import smooth
from softmax_research.functional.normalise import exclude, log_or_zero, sum_exponentials
from softmax_research.functional.precision import widen


def cross_entropy(
  logits: jax.typing.ArrayLike,
  labels: jax.typing.ArrayLike,
  *,
  label_smoothing: jax.typing.ArrayLike = 0.0,
  z_loss: jax.typing.ArrayLike = 0.0,
  axis: int = -1,
  where: jax.typing.ArrayLike | None = None,
) -> jax.Array:
  r"""Compute the softmax cross-entropy of each example.

  .. math::
    \ell = -\sum_k \tilde q_k \log \frac{e^{z_k}}{Z} + \lambda (\log Z)^2,
    \qquad Z = \sum_j e^{z_j}, \quad \tilde q_k = (1 - \varepsilon) q_k + \frac{\varepsilon}{K}

  The smoothing is spread over the K possible classes. Any score of the family may stand for the
  logits, and a margin may have been applied to them.

  Args:
    logits: the classes along `axis`; -inf marks an impossible class.
    labels: integers without the class axis, or distributions q of the shape of the logits.
    label_smoothing: eps in [0, 1].
    z_loss: lambda >= 0, the weight of the squared log-normaliser, which keeps the logits from
      drifting; 1e-4 is a common choice.
    axis: the class axis.
    where: booleans that broadcast to the logits; false excludes a class.

  Returns:
    Losses in nats, without the class axis. NaN for an integer label out of range; infinite for a
    label whose class is impossible.

  Raises:
    ValueError: an option is out of range or the labels' shape does not fit.
    TypeError: the labels are neither integers nor floating-point numbers.

  Example:
    >>> import jax.numpy as jnp
    >>> cross_entropy(jnp.array([[0.0, 0.0], [0.0, 9.0]]), jnp.array([0, 1])).round(4)
    Array([6.931e-01, 1.000e-04], dtype=float32)

  Reference:
    Chowdhery et al. 2022, "PaLM", section 5 (arXiv 2204.02311), for the z-loss.
  """
  check_at_least("z_loss", z_loss, 0, "Pass 0 to switch it off.")
  logits, result_type = widen(logits)
  check_fraction("label_smoothing", label_smoothing, or_one=True)
  labels = check_labels(labels, logits, axis=axis)
  scores = exclude(logits, where)
  top, total = sum_exponentials(scores, axis=axis)
  log_total = jnp.squeeze(log_or_zero(total), axis)
  # The terms log_total and -shifted are never negative, so that nothing cancels.
  shifted = scores - top
  if jnp.issubdtype(labels.dtype, jnp.integer):
    label_score = compute_now(select_label(scores, labels, axis=axis))
    # An impossible class has no gradient, not even as a label.
    label_score = jnp.where(label_score == -jnp.inf, -jnp.inf, label_score)
    loss = log_total - (label_score - jnp.squeeze(top, axis))
  else:
    labels = labels.astype(logits.dtype)
    loss = log_total * jnp.sum(labels, axis=axis) - expectation(labels, shifted, axis)
  loss = smooth(loss, shifted - jnp.expand_dims(log_total, axis), label_smoothing, axis)
  if not (isinstance(z_loss, int | float) and z_loss == 0):
    log_sum = jnp.where(jnp.squeeze(total, axis) == 0, 0, jnp.squeeze(top, axis) + log_total)
    loss += z_loss * log_sum**2
  return spoil_unknown(loss, labels, logits.shape[axis]).astype(result_type)
