"""Squared error: regression of the logits on the label, scaled for many classes."""

import jax
import jax.numpy as jnp

from softmax_research.functional.arrays import as_option, check_at_least, widen
from softmax_research.functional.labels import check_targets, is_label, read_several, select_label
from softmax_research.functional.normalise import count_possible, exclude


def squared_error_loss(
  logits: jax.typing.ArrayLike,
  labels: jax.typing.ArrayLike,
  *,
  target: jax.typing.ArrayLike = 1.0,
  label_weight: jax.typing.ArrayLike = 1.0,
  class_weights: jax.typing.ArrayLike | None = None,
  ignore_label: int | None = None,
  axis: int = -1,
  where: jax.typing.ArrayLike | None = None,
) -> jax.Array:
  r"""Compute the scaled squared error of each example.

  .. math:: \ell = \frac{1}{K} \sum_k \big( q_k \, \kappa (z_k - M)^2 + (1 - q_k) \, z_k^2 \big)

  q is one-hot for an integer label, and K counts the possible classes. With many classes the zeros
  outweigh the one label; M and kappa, found by tuning, make up for it: with 1000 classes Hui and
  Belkin use M = 30 and kappa = 15, with few both are 1.

  Args:
    labels: those of `one_vs_all_cross_entropy`, several of an example among them.
    target: M > 0, the logit that the label should have.
    label_weight: kappa > 0, the weight of the label's error among the others.
    class_weights: as in `one_vs_all_cross_entropy`.
    logits, ignore_label, axis, where: those of `cross_entropy`.

  Returns:
    Losses without the class axis, in the square of the logits' units. NaN for an integer label out
    of range, or where there should be 0 or 1; infinite for a label whose class is impossible,
    and where a square overflows, of which the gradient is finite.

  Raises:
    ValueError: an option is not positive and finite, the labels' shape does not fit, or a label is
      to be ignored among rows of integers.
    TypeError: the labels are neither integers nor floating-point numbers.

  Example:
    >>> squared_error_loss(jnp.array([[2.0, 1.0]]), jnp.array([0]), target=3.0, label_weight=5.0)
    Array([3.], dtype=float32)
    >>> squared_error_loss(jnp.array([[2.0, 1.0, 0.0, 1.0]]), jnp.array([[1, 1, 0, 0]]))
    Array([0.5], dtype=float32)

  Reference:
    Hui & Belkin 2021, "Evaluation of Neural Architectures Trained with Square Loss vs
    Cross-Entropy in Classification Tasks" (arXiv 2006.07322).
  """
  check_at_least("target", target, 0, "Pass 1.0 for few classes.", strict=True)
  check_at_least("label_weight", label_weight, 0, "Pass 1.0 for few classes.", strict=True)
  logits, result_type = widen(logits)
  labels, known = read_several(labels, logits, ignore_label, axis=axis)
  targets = check_targets(labels, logits, class_weights, ignore_label, axis).average(labels, axis)
  labels = targets.labels
  logits = exclude(logits, where)
  possible = logits != -jnp.inf
  values = jnp.where(possible, logits, 0)
  count = jnp.squeeze(jnp.maximum(count_possible(logits, axis), 1), axis)
  target = as_option("target", target, count.shape, logits.dtype)
  label_weight = as_option("label_weight", label_weight, count.shape, logits.dtype)

  if jnp.issubdtype(labels.dtype, jnp.integer):
    lost = select_label(logits, labels, axis=axis) == -jnp.inf
    # XLA sums the squares of an array in one pass, whose place the gradient then takes.
    aim = jnp.expand_dims(jnp.broadcast_to(jnp.asarray(target, logits.dtype), count.shape), axis)
    errors = jnp.where(is_label(labels, values, axis=axis), values - aim, values)
    of_label = select_label(errors, labels, axis=axis)
    # In this order, and kept finite, it makes no NaN of a square that overflows.
    more = jnp.maximum((label_weight - 1) * of_label * of_label, jnp.finfo(logits.dtype).min)
    loss = jnp.sum(errors * errors, axis=axis) + more
  else:
    target, label_weight = (
      jnp.expand_dims(jnp.broadcast_to(jnp.asarray(option, logits.dtype), count.shape), axis)
      for option in (target, label_weight)
    )
    errors = values - target
    squares = labels * label_weight * errors * errors + (1 - labels) * values * values
    loss = jnp.sum(squares, axis=axis)
    lost = jnp.any((labels > 0) & ~possible, axis=axis)
  loss = jnp.where(lost, jnp.inf, loss / count)
  return jnp.where(known, targets.finish(targets.weigh(loss)), jnp.nan).astype(result_type)
