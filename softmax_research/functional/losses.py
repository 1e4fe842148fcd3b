"""Losses: cross-entropy, log-likelihood, one against all, multiclass hinge and squared error."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from softmax_research.functional.arrays import (
  as_option,
  check_at_least,
  check_fraction,
  is_plain_zero,
  widen,
)
from softmax_research.functional.labels import (
  check_targets,
  expectation,
  is_label,
  select_label,
)
from softmax_research.functional.normalise import (
  count_possible,
  exclude,
  log_or_zero,
  sum_exponentials,
  sum_possible,
)

Link = Callable[[jax.Array], jax.Array]


def cross_entropy(
  logits: jax.typing.ArrayLike,
  labels: jax.typing.ArrayLike,
  *,
  link: Link | None = None,
  label_smoothing: jax.typing.ArrayLike = 0.0,
  z_loss: jax.typing.ArrayLike = 0.0,
  class_weights: jax.typing.ArrayLike | None = None,
  ignore_label: int | None = None,
  axis: int = -1,
  where: jax.typing.ArrayLike | None = None,
) -> jax.Array:
  r"""Compute the softmax cross-entropy of each example.

  .. math::
    \ell = -\sum_k \tilde q_k \log \frac{e^{z_k}}{Z} + \lambda (\log Z)^2,
    \qquad Z = \sum_j e^{z_j}, \quad \tilde q_k = (1 - \varepsilon) q_k + \frac{\varepsilon}{K}

  The smoothing is spread over the K possible classes. Any score of the family may stand for the
  logits, and a margin may have been applied to them. With a link the loss is

  .. math:: \ell = \sum_k q_k \, \mathrm{link}(-\log p_k) + \lambda (\log Z)^2

  Args:
    logits: the classes along `axis`; -inf marks an impossible class.
    labels: integers without the class axis, or distributions q of the shape of the logits.
    link: losses to losses, elementwise, as a focal loss; the identity by default. It acts on the
      loss of one label, which a smoothed label has not: it needs `label_smoothing=0`.
    label_smoothing: eps in [0, 1].
    z_loss: lambda >= 0, the weight of the squared log-normaliser, which keeps the logits from
      drifting; 1e-4 is a common choice.
    class_weights: `[K]`, each at least 0, for the losses of the labels; ones by default. An
      example's z-loss has the weight of its label.
    ignore_label: an integer, as -1: an example with this label has the loss 0 and no gradient.
    axis: the class axis.
    where: booleans that broadcast to the logits; false excludes a class.

  Returns:
    Losses in nats, without the class axis. NaN for an integer label out of range; infinite for a
    label whose class is impossible.

  Raises:
    ValueError: an option is out of range, two exclude each other, the labels' shape does not fit,
      or there are weights and no class.
    TypeError: the labels are neither integers nor floating-point numbers.

  Example:
    >>> cross_entropy(jnp.array([[0.0, 0.0], [0.0, 9.0]]), jnp.array([0, 1])).round(4)
    Array([6.931e-01, 1.000e-04], dtype=float32)

  Reference:
    Chowdhery et al. 2022, "PaLM", section 5 (arXiv 2204.02311), for the z-loss.
  """
  check_at_least("z_loss", z_loss, 0, "Pass 0 to switch it off.")
  logits, result_type = widen(logits)
  check_fraction("label_smoothing", label_smoothing, or_one=True)
  check_link(link, label_smoothing)
  targets = check_targets(labels, logits, class_weights, ignore_label, axis)
  labels = targets.labels
  scores = exclude(logits, where)
  top, total = sum_exponentials(scores, axis=axis)
  log_total = log_or_zero(total)
  if link is None or jnp.issubdtype(labels.dtype, jnp.integer):
    loss = label_loss(scores, top, log_total, labels, axis)
    if link is not None:  # An unknown label has no loss, and a link may take none below 0.
      loss = link(jnp.where(targets.known, loss, 0))
  else:
    loss = -expectation(labels.astype(scores.dtype), -link(log_total - (scores - top)), axis)
  loss = targets.weigh(loss)
  loss = _smooth(loss, scores - top, log_total, label_smoothing, axis, targets.class_weights)
  if not is_plain_zero(z_loss):
    z_loss = as_option("z_loss", z_loss, loss.shape, loss.dtype)
    log_sum = jnp.squeeze(jnp.where(total == 0, 0, top + log_total), axis)
    loss += targets.normalise(axis).weigh(z_loss * log_sum**2)
  return targets.finish(loss).astype(result_type)


def check_link(link: Link | None, label_smoothing: jax.typing.ArrayLike) -> None:
  """Raise a ValueError if a link meets a smoothed label."""
  if link is not None and not is_plain_zero(label_smoothing):
    raise ValueError(
      f"Got label_smoothing={label_smoothing} and a link, which acts on -log p of one label; a "
      "smoothed label is none. Pass label_smoothing=0."
    )


def label_loss(
  scores: jax.Array, top: jax.Array, log_total: jax.Array, labels: jax.Array, axis: int
) -> jax.Array:
  """Return log Z - s_y, or its expectation over a distribution, where log Z is top + log_total.

  Both parts of the normaliser have the class axis, of size 1. The terms log_total and
  -(scores - top) of a cross-entropy are never negative, so that nothing cancels.
  """
  if jnp.issubdtype(labels.dtype, jnp.integer):
    label_score = select_label(scores, labels, axis=axis)
    # An impossible class has no gradient, not even as a label.
    label_score = jnp.where(label_score == -jnp.inf, -jnp.inf, label_score)
    return jnp.squeeze(log_total, axis) - (label_score - jnp.squeeze(top, axis))
  labels = labels.astype(scores.dtype)
  total_weight = jnp.sum(labels, axis=axis)
  return jnp.squeeze(log_total, axis) * total_weight - expectation(labels, scores - top, axis)


def negative_log_likelihood(
  log_probs: jax.typing.ArrayLike,
  labels: jax.typing.ArrayLike,
  *,
  label_smoothing: jax.typing.ArrayLike = 0.0,
  class_weights: jax.typing.ArrayLike | None = None,
  ignore_label: int | None = None,
  axis: int = -1,
  where: jax.typing.ArrayLike | None = None,
) -> jax.Array:
  r"""Compute the negative log-likelihood of each example.

  .. math::
    \ell = -(1 - \varepsilon) \sum_k q_k \log p_k - \frac{\varepsilon}{K} \sum_k \log p_k

  q is the label's distribution, one-hot for an integer label, and eps the label smoothing, which
  is spread over the K possible classes. No one-hot array is made for integer labels.

  Args:
    log_probs: log-probabilities, the classes along `axis`; -inf marks an impossible class.
    label_smoothing: eps in [0, 1], the weight of the uniform distribution.
    labels, class_weights, ignore_label, axis, where: those of `cross_entropy`.

  Returns:
    Losses in nats, without the class axis. NaN for an integer label out of range; infinite where
    the label gives weight to an impossible class.

  Raises:
    ValueError: the smoothing is out of range or the labels' shape does not fit.
    TypeError: the labels are neither integers nor floating-point numbers.

  Example:
    >>> negative_log_likelihood(jnp.log(jnp.array([[0.25, 0.75]])), jnp.array([1])).round(4)
    Array([0.2877], dtype=float32)

  Reference:
    Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer Vision", section 7
    (arXiv 1512.00567), for label smoothing.
  """
  check_fraction("label_smoothing", label_smoothing, or_one=True)
  log_probs, result_type = widen(log_probs)
  targets = check_targets(labels, log_probs, class_weights, ignore_label, axis)
  labels = targets.labels
  log_probs = exclude(log_probs, where)
  if jnp.issubdtype(labels.dtype, jnp.integer):
    loss = -select_label(log_probs, labels, axis=axis)
  else:
    loss = -expectation(labels.astype(log_probs.dtype), log_probs, axis)
  loss = _smooth(targets.weigh(loss), log_probs, 0, label_smoothing, axis, targets.class_weights)
  return targets.finish(loss).astype(result_type)


def _smooth(
  loss: jax.Array,
  scores: jax.Array,
  log_total: jax.typing.ArrayLike,
  label_smoothing: jax.typing.ArrayLike,
  axis: int,
  class_weights: jax.Array | None,
) -> jax.Array:
  """Mix a loss with that of a label spread evenly over the possible classes.

  Log-probabilities are the scores less log_total, which has the class axis with size 1.
  """
  if is_plain_zero(label_smoothing):
    return loss
  label_smoothing = as_option("label_smoothing", label_smoothing, loss.shape, loss.dtype)
  # A row without any class has no smoothing to spread: 0 rather than 0/0.
  count = jnp.maximum(count_possible(scores, axis), 1)
  if class_weights is None:
    uniform_loss = log_total - sum_possible(scores, axis) / count
  else:
    finite = jnp.where(scores != -jnp.inf, scores - log_total, 0)
    uniform_loss = -jnp.sum(class_weights * finite, axis=axis, keepdims=True) / count
  uniform_loss = jnp.squeeze(uniform_loss, axis)
  # All of the label may be spread, and nothing of it be left: 0 times infinity would be NaN.
  rest = jnp.where((loss == jnp.inf) & (label_smoothing == 1), 0, loss)
  return (1 - label_smoothing) * rest + label_smoothing * uniform_loss


def one_vs_all_cross_entropy(
  logits: jax.typing.ArrayLike,
  labels: jax.typing.ArrayLike,
  *,
  class_weights: jax.typing.ArrayLike | None = None,
  ignore_label: int | None = None,
  axis: int = -1,
  where: jax.typing.ArrayLike | None = None,
) -> jax.Array:
  r"""Compute the one-against-all logistic loss of each example.

  .. math::
    \ell = -\sum_k \big[ q_k \log \sigma(z_k) + (1 - q_k) \log (1 - \sigma(z_k)) \big],
    \qquad \sigma(z) = \frac{1}{1 + e^{-z}}

  q is one-hot for an integer label. No class competes with another: each logit learns the
  log-odds of its own class.

  Args:
    labels: integers without the class axis; or q, of the shape of the logits, each in [0, 1], which
      need not sum to one. Integers of that shape are 1 for each label of an example.
    class_weights: `[K]`, each at least 0, for the losses of the labels; ones by default. The weight
      of an example with several labels is the mean of theirs, and 1 if it has none.
    logits, ignore_label, axis, where: those of `cross_entropy`.

  Returns:
    Losses in nats, summed over the classes, without the class axis. NaN for an integer label out
    of range, or where there should be 0 or 1; infinite for a label whose class is impossible.

  Raises:
    ValueError: the labels' shape does not fit, or a label is to be ignored among rows of integers.
    TypeError: the labels are neither integers nor floating-point numbers.

  Example:
    >>> one_vs_all_cross_entropy(jnp.array([[0.0, 0.0], [9.0, -9.0]]), jnp.array([1, 0])).round(4)
    Array([1.3863e+00, 2.0000e-04], dtype=float32)
    >>> one_vs_all_cross_entropy(jnp.array([[9.0, -9.0, 9.0]]), jnp.array([[1, 0, 1]])).round(4)
    Array([0.0004], dtype=float32)

  Reference:
    Li et al. 2020, "On the Learning Property of Logistic and Softmax Losses for Deep Neural
    Networks" (arXiv 2003.02309).
  """
  logits, result_type = widen(logits)
  targets = check_targets(labels, logits, class_weights, ignore_label, axis, several=True)
  labels = targets.labels
  logits = exclude(exclude(logits, where), logits != -jnp.inf)
  if jnp.issubdtype(labels.dtype, jnp.integer):
    # -log(1 - sigma(z)) = softplus(z) and -log sigma(z) = softplus(-z): no subtraction anywhere.
    signed = jnp.where(is_label(labels, logits, axis=axis), -logits, logits)
    loss = jnp.sum(jax.nn.softplus(signed), axis=axis)
  else:
    absent = (labels == 0) & (logits == -jnp.inf)  # 0 times infinity would be NaN
    positive = labels * jnp.where(absent, 0, jax.nn.softplus(-logits))
    loss = jnp.sum(positive + (1 - labels) * jax.nn.softplus(logits), axis=axis)
  return targets.finish(targets.weigh(loss)).astype(result_type)


def multiclass_hinge(
  logits: jax.typing.ArrayLike,
  labels: jax.typing.ArrayLike,
  *,
  margin: jax.typing.ArrayLike = 1.0,
  sum_rivals: bool = False,
  class_weights: jax.typing.ArrayLike | None = None,
  ignore_label: int | None = None,
  axis: int = -1,
  where: jax.typing.ArrayLike | None = None,
) -> jax.Array:
  r"""Compute the multiclass hinge loss of each example.

  .. math::
    \ell = \max_{j \ne y} \, [m + z_j - z_y]_+
    \qquad \text{or} \qquad
    \ell = \sum_{j \ne y} \, [m + z_j - z_y]_+

  The first form, Crammer and Singer's, sees the strongest rival alone; the second, Weston and
  Watkins', sums over all of them.

  Args:
    labels: integers without the class axis, or distributions of the shape of the logits, for
      which the loss is the expectation over labels and takes memory for K^2 numbers an example.
    margin: m >= 0, the lead that suffices.
    sum_rivals: take the second form.
    logits, class_weights, ignore_label, axis, where: those of `cross_entropy`.

  Returns:
    Losses without the class axis, in the units of the logits. NaN for an integer label out of
    range; infinite for a label whose class is impossible; 0 for a label without rivals.

  Raises:
    ValueError: the margin is negative or not finite, or the labels' shape does not fit.
    TypeError: the labels are neither integers nor floating-point numbers.

  Example:
    >>> logits, labels = jnp.array([[2.0, 1.5, 1.75]]), jnp.array([0])
    >>> multiclass_hinge(logits, labels), multiclass_hinge(logits, labels, sum_rivals=True)
    (Array([0.75], dtype=float32), Array([1.25], dtype=float32))

  Reference:
    Crammer & Singer 2001, "On the Algorithmic Implementation of Multiclass Kernel-based Vector
    Machines", section 3; Weston & Watkins 1999, "Support Vector Machines for Multi-Class Pattern
    Recognition", eq. 4.
  """
  check_at_least("margin", margin, 0, "Pass 1.0 for the published loss.")
  logits, result_type = widen(logits)
  targets = check_targets(labels, logits, class_weights, ignore_label, axis)
  labels = targets.labels
  logits = exclude(logits, where)
  logits = jnp.moveaxis(logits, axis, -1)
  margin = as_option("margin", margin, (), logits.dtype)
  if jnp.issubdtype(labels.dtype, jnp.integer):
    loss = targets.weigh(_hinge(logits, labels, margin, sum_rivals))
    return targets.finish(loss).astype(result_type)
  weights = jnp.moveaxis(labels, axis, -1)
  square = jnp.broadcast_to(logits[..., None, :], (*logits.shape, logits.shape[-1]))
  every_label = jax.lax.broadcasted_iota(jnp.int32, logits.shape, logits.ndim - 1)
  losses = _hinge(square, every_label, margin, sum_rivals)
  absent = (weights == 0) & (losses == jnp.inf)  # 0 times infinity would be NaN
  return jnp.sum(weights * jnp.where(absent, 0, losses), axis=-1).astype(result_type)


def _hinge(logits: jax.Array, labels: jax.Array, margin, sum_rivals: bool) -> jax.Array:
  own = select_label(logits, labels)
  own_possible = own != -jnp.inf
  own_finite = jnp.where(own_possible, own, 0)
  own_class = is_label(labels, logits)
  if sum_rivals:
    rival = ~own_class & (logits != -jnp.inf)
    gaps = jnp.where(rival, logits, 0) - own_finite[..., None] + margin
    loss = jnp.sum(jnp.where(rival, jax.nn.relu(gaps), 0), axis=-1)
  else:
    strongest = jnp.max(jnp.where(own_class, -jnp.inf, logits), axis=-1, initial=-jnp.inf)
    any_rival = strongest != -jnp.inf
    gap = jnp.where(any_rival, strongest, 0) - own_finite + margin
    loss = jnp.where(any_rival, jax.nn.relu(gap), 0)
  return jnp.where(own_possible, loss, jnp.inf)


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
  targets = check_targets(labels, logits, class_weights, ignore_label, axis, several=True)
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
  return targets.finish(targets.weigh(loss)).astype(result_type)
