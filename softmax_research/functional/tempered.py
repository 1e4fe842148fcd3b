"""Tempered softmax and its loss: a logarithm and an exponential of other tails than the usual."""

import jax
import jax.numpy as jnp

from softmax_research.functional.arrays import check_at_least, check_class_axis, widen
from softmax_research.functional.entmax import prepare_alpha, probabilities, shift
from softmax_research.functional.labels import check_targets, select_label
from softmax_research.functional.links import generalised_link
from softmax_research.functional.normalise import log_or_impossible, log_softmax, softmax


def tempered_softmax(
  logits: jax.typing.ArrayLike,
  *,
  t: float,
  axis: int = -1,
  where: jax.typing.ArrayLike | None = None,
) -> jax.Array:
  r"""Compute softmax with a tempered exponential.

  .. math::
    p_k = \exp_t(z_k - \lambda), \qquad \exp_t(x) = [1 + (1 - t) x]_+^{1 / (1 - t)},
    \qquad \lambda \text{ such that } \sum_k p_k = 1

  For t > 1 its tail is heavy: a power of the logit, so that a class far below the others keeps
  some probability. t = 1 is softmax; t < 1 is alpha-entmax with alpha = 2 - t, with exact zeros.

  Args:
    t: at least 0, up to 5 or so.
    logits, axis, where: those of `softmax`.

  Returns:
    Probabilities of the shape and floating type of the logits.

  Raises:
    ValueError: t is negative or not finite.
    TypeError: the axis is not one integer.

  Example:
    >>> tempered_softmax(jnp.array([0.0, 2.0, 2.0]), t=2.0).round(2)
    Array([0.22, 0.39, 0.39], dtype=float32)

  Reference:
    Amid et al. 2019, "Robust Bi-Tempered Logistic Loss Based on Bregman Divergences"
    (arXiv 1906.03361).
  """
  logits, result_type = widen(logits)
  return _probs(logits, t, axis, where)[0].astype(result_type)


def _probs(logits, t, axis, where) -> tuple[jax.Array, jax.Array]:
  """Return tempered softmax and which classes are possible."""
  check_at_least("t", t, 0, "Pass 1 for softmax, more for heavier tails.")
  check_class_axis(logits, axis)
  t = float(t)  # Which an array is too, where it has one number that is known.
  shifted, possible = shift(logits, axis, where)
  if t == 1:
    return softmax(logits, axis=axis, where=where), possible
  beta, form = prepare_alpha(2 - t, logits, axis)
  return probabilities(shifted, beta, axis, form), possible


def bi_tempered_loss(
  logits: jax.typing.ArrayLike,
  labels: jax.typing.ArrayLike,
  *,
  t1: float = 0.8,
  t2: float = 1.2,
  class_weights: jax.typing.ArrayLike | None = None,
  ignore_label: int | None = None,
  axis: int = -1,
  where: jax.typing.ArrayLike | None = None,
) -> jax.Array:
  r"""Compute the bi-tempered logistic loss of each example.

  .. math::
    \ell = \sum_k q_k (\log_{t_1} q_k - \log_{t_1} p_k)
      - \frac{1}{2 - t_1} \sum_k (q_k^{2 - t_1} - p_k^{2 - t_1}),
    \qquad \log_t x = \frac{x^{1 - t} - 1}{1 - t}

  p is `tempered_softmax` of the logits with t2 and q the label's distribution, one-hot for an
  integer label. With t1 < 1 the loss of an example is at most 1 / (1 - t1), so that one far outside
  cannot rule; with t2 > 1 one near the boundary, with a wrong label, bends it less. With both 1 it
  is the cross-entropy minus the entropy of q.

  Args:
    t1: in [0, 1].
    t2: at least 0, up to 5 or so; of the paper at least 1.
    logits, labels, class_weights, ignore_label, axis, where: those of `cross_entropy`.

  Returns:
    Losses without the class axis; nats for t1 = 1. NaN for an integer label out of range; infinite
    for a label whose class is impossible.

  Raises:
    ValueError: t1 or t2 is out of range, or the labels' shape does not fit.
    TypeError: the labels are neither integers nor floating-point numbers.

  Example:
    >>> logits, labels = jnp.array([[9.0, 0.0], [9.0, 0.0]]), jnp.array([0, 1])
    >>> bi_tempered_loss(logits, labels, t1=0.5, t2=2.0).round(4)
    Array([0.0258, 1.2953], dtype=float32)

  Reference:
    Amid et al. 2019, as of `tempered_softmax`.
  """
  t1 = float(t1)
  if not 0 <= t1 <= 1:
    raise ValueError(f"Got t1={t1}; it must lie in [0, 1]. Pass 1 for an unbounded loss.")
  check_at_least("t2", t2, 0, "Pass 1 for softmax, more for heavier tails.")
  t2 = float(t2)
  logits, result_type = widen(logits)
  targets = check_targets(labels, logits, class_weights, ignore_label, axis).normalise(axis)
  labels = targets.labels
  probs, possible = _probs(logits, t2, axis, where)
  if t2 == 1:
    log_probs = log_softmax(logits, axis=axis, where=where)
  else:
    log_probs = log_or_impossible(probs)

  def surprise(log_probs):
    """Return minus the tempered logarithm."""
    return generalised_link(-log_probs, q=1 - t1)

  def power_sum(log_probs):
    return jnp.sum(jnp.exp((2 - t1) * log_probs), axis=axis) / (2 - t1)

  if jnp.issubdtype(labels.dtype, jnp.integer):
    loss = surprise(select_label(log_probs, labels, axis=axis)) - 1 / (2 - t1)
    lost = select_label(jnp.where(possible, 0.0, 1.0), labels, axis=axis) > 0
  else:
    log_labels = log_or_impossible(labels.astype(logits.dtype))
    present = labels > 0
    gaps = surprise(jnp.where(present, log_probs, 0)) - surprise(jnp.where(present, log_labels, 0))
    loss = jnp.sum(jnp.where(present, labels * gaps, 0), axis=axis) - power_sum(log_labels)
    lost = jnp.any(present & ~possible, axis=axis)
  loss = jnp.where(lost, jnp.inf, loss + power_sum(log_probs))
  return targets.finish(targets.weigh(loss)).astype(result_type)
