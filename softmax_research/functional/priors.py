"""Class priors: training with a prior or with weights, and moving predictions between priors."""

import jax
import jax.numpy as jnp
import numpy as np

from softmax_research.functional.arrays import (
  along,
  check_class_axis,
  check_fraction,
  check_per_class,
  widen,
)
from softmax_research.functional.labels import check_targets
from softmax_research.functional.losses import label_loss
from softmax_research.functional.normalise import (
  exclude,
  log_normalise,
  log_or_zero,
  lower,
  sum_exponentials,
)


def log_prior_from_counts(counts: jax.typing.ArrayLike) -> jax.Array:
  r"""Compute the logarithms of class frequencies from counts.

  .. math:: \log P_k = \log \frac{n_k}{\sum_j n_j}

  Args:
    counts: numbers of examples of each class, `[K]`. A class without any gets -inf.

  Returns:
    Log-probabilities in nats, `[K]`.

  Raises:
    ValueError: the counts are not a vector of finite, non-negative numbers with a positive sum.

  Example:
    >>> log_prior_from_counts([1, 3]).round(4)
    Array([-1.3863, -0.2877], dtype=float32)
  """
  counts = check_counts(counts)
  return jnp.log(jnp.asarray(counts / counts.sum(), jnp.result_type(float)))


def class_balanced_weights(counts: jax.typing.ArrayLike, *, beta: float) -> jax.Array:
  r"""Compute class weights from counts, by the effective number of examples.

  .. math::
    w_k = K \, \frac{1 / E_k}{\sum_j 1 / E_j}, \qquad E_k = \frac{1 - \beta^{n_k}}{1 - \beta}

  A further example of a class adds less, the more of them there are: E grows up to 1 / (1 - beta).
  The weights have a mean of one, so that a learning rate may stay. With beta 0 all are one; as beta
  goes to 1 they become the inverse frequencies. Pass them as `class_weights`.

  Args:
    counts: n, numbers of examples of each class, `[K]`. A class without any has the weight 0, and
      does not count among the K.
    beta: in [0, 1), as 0.999.

  Returns:
    Weights `[K]`.

  Raises:
    ValueError: beta is out of range, or the counts are not a vector of finite, non-negative numbers
      with a positive sum.

  Example:
    >>> class_balanced_weights([1, 3], beta=0.5).round(4)
    Array([1.2727, 0.7273], dtype=float32)

  Reference:
    Cui et al. 2019, "Class-Balanced Loss Based on Effective Number of Samples"
    (arXiv 1901.05555).
  """
  check_fraction("beta", beta)
  counts = check_counts(counts)
  present = counts > 0
  with np.errstate(divide="ignore"):
    effective = -np.expm1(np.where(present, counts, 1) * np.log(beta))
  inverse = np.where(present, 1 / effective, 0)
  return jnp.asarray(inverse / inverse.sum() * present.sum(), jnp.result_type(float))


def check_counts(counts: jax.typing.ArrayLike) -> np.ndarray:
  """Return counts as a vector in float64, or raise a ValueError if they cannot be such."""
  counts = np.asarray(counts, dtype=np.float64)
  if counts.ndim != 1 or not np.all(np.isfinite(counts) & (counts >= 0)) or counts.sum() <= 0:
    raise ValueError(
      f"Got counts of shape {counts.shape}; they must be a vector of finite, non-negative numbers, "
      "of which at least one is positive: the number of examples of each class."
    )
  return counts


def check_log_prior(name: str, log_prior: jax.typing.ArrayLike, tolerance: float = 1e-3) -> None:
  """Raise a ValueError unless the probabilities sum to 1 (a tracer passes).

  Frequencies with three digits do, which move a loss by no more.
  """
  if isinstance(log_prior, jax.core.Tracer):
    return
  total = np.sum(np.exp(np.asarray(log_prior, np.float64)))
  # Room for what rounding the logarithms to their own type may do to the sum.
  if not abs(total - 1) <= max(tolerance, 8 * float(jnp.finfo(widen(log_prior)[1]).eps)):
    raise ValueError(
      f"Got {name} whose probabilities sum to {total:.6g}; they must sum to 1. Pass the logarithms "
      "of class frequencies, as log_prior_from_counts gives them."
    )


def _along_axis(
  name: str, log_prior: jax.typing.ArrayLike, logits: jax.Array, axis: int
) -> jax.Array:
  """Return K log-probabilities that broadcast along the class axis, if they are such."""
  check_class_axis(logits, axis)
  check_per_class(name, log_prior, logits.shape[axis])
  check_log_prior(name, log_prior)
  return along(jnp.asarray(log_prior, logits.dtype), logits, axis)


def _possible_and_weighted(
  logits: jax.Array, log_prior: jax.typing.ArrayLike, axis: int, where
) -> tuple[jax.Array, jax.Array]:
  """Return logits less their maximum, -inf for impossible classes, and these with the prior added.

  Beside large logits the prior would lose its digits.
  """
  log_prior = _along_axis("log_prior", log_prior, logits, axis)
  # Added, not masked, for what `sum_exponentials` says of masks.
  logits = exclude(logits, where) + jnp.where(log_prior == -jnp.inf, -jnp.inf, 0)
  top = jnp.max(jax.lax.stop_gradient(logits), axis=axis, keepdims=True, initial=-jnp.inf)
  logits = logits - jnp.maximum(top, jnp.finfo(logits.dtype).min)
  return logits, logits + log_prior


def _check_none_revived(
  log_prior_from: jax.typing.ArrayLike, log_prior_to: jax.typing.ArrayLike
) -> None:
  """Raise a ValueError if a class gains a prior that had none."""
  if isinstance(log_prior_from, jax.core.Tracer) or isinstance(log_prior_to, jax.core.Tracer):
    return
  before, after = np.asarray(log_prior_from), np.asarray(log_prior_to)
  revived = np.flatnonzero((before == -np.inf) & (after > -np.inf))
  if revived.size:
    raise ValueError(
      f"Got classes {revived.tolist()} with prior 0 in log_prior_from and above 0 in "
      "log_prior_to; predictions hold no evidence for them. Give them a small prior in "
      "log_prior_from, or 0 in log_prior_to."
    )


def log_pc_softmax(
  logits: jax.typing.ArrayLike,
  log_prior: jax.typing.ArrayLike,
  *,
  axis: int = -1,
  where: jax.typing.ArrayLike | None = None,
) -> jax.Array:
  r"""Compute the logarithm of probability-corrected softmax.

  .. math:: \log \sigma_k = z_k - \log \sum_j P_j e^{z_j}

  Trained by its negative on examples drawn with class frequencies P, the logits no longer hold
  the prior, and sigma estimates p(x | k) / p(x): values that average to one under P instead of
  summing to one. The mean of log sigma at the labels is a lower bound of the mutual information
  between x and the label. Use it in training; to correct a model that was trained without a
  prior, see `shift_prior`.

  Args:
    logits: K classes along `axis`; -inf marks an impossible class.
    log_prior: logarithms of the class frequencies, `[K]`; -inf for a class that never occurs,
      which is then impossible.
    axis: the class axis.
    where: booleans that broadcast to the logits; false excludes a class. The prior of the others
      stays as it is. A row without any class has the value -inf throughout.

  Returns:
    Log-ratios in nats, of the shape and floating type of the logits.

  Raises:
    ValueError: the prior's shape is not `[K]`, or its probabilities do not sum to one.

  Example:
    >>> log_prior = jnp.log(jnp.array([0.25, 0.75]))
    >>> jnp.exp(log_pc_softmax(jnp.log(jnp.array([3.0, 1.0])), log_prior)).round(4)
    Array([2.    , 0.6667], dtype=float32)

  Reference:
    Qin et al. 2019, "Rethinking Softmax with Cross-Entropy: Neural Network Classifier as Mutual
    Information Estimator" (arXiv 1911.10688).
  """
  logits, result_type = widen(logits)
  logits, weighted = _possible_and_weighted(logits, log_prior, axis, where)
  top, total = sum_exponentials(weighted, axis=axis)
  logits = exclude(logits, total != 0)
  return lower(logits - top, log_or_zero(total)).astype(result_type)


def pc_cross_entropy(
  logits: jax.typing.ArrayLike,
  labels: jax.typing.ArrayLike,
  log_prior: jax.typing.ArrayLike,
  *,
  class_weights: jax.typing.ArrayLike | None = None,
  ignore_label: int | None = None,
  axis: int = -1,
  where: jax.typing.ArrayLike | None = None,
) -> jax.Array:
  r"""Compute the cross-entropy of probability-corrected softmax.

  .. math:: \ell = -\log \sigma_y = \log \sum_j P_j e^{z_j} - z_y

  It is `negative_log_likelihood(log_pc_softmax(logits, log_prior), labels)` at half of the memory.
  Ratios may exceed one, so that the loss may be negative.

  Args:
    log_prior: that of `log_pc_softmax`.
    logits, labels, class_weights, ignore_label, axis, where: those of `cross_entropy`.

  Returns:
    Losses in nats, without the class axis; NaN for a label out of range, infinite for a label
    whose class is impossible.

  Raises:
    ValueError: the prior's shape is not `[K]`, its probabilities do not sum to one, or the
      labels' shape does not fit.
    TypeError: the labels are neither integers nor floating-point numbers.

  Example:
    >>> log_prior = jnp.log(jnp.array([0.25, 0.75]))
    >>> loss = pc_cross_entropy(jnp.log(jnp.array([3.0, 1.0])), jnp.array(0), log_prior)
    >>> loss.round(4)  # -log 2
    Array(-0.6931, dtype=float32)

  Reference:
    Qin et al. 2019 (arXiv 1911.10688).
  """
  logits, result_type = widen(logits)
  targets = check_targets(labels, logits, class_weights, ignore_label, axis)
  logits, weighted = _possible_and_weighted(logits, log_prior, axis, where)
  top, total = sum_exponentials(weighted, axis=axis)
  loss = label_loss(logits, top, log_or_zero(total), targets.labels, axis)
  loss = jnp.where(jnp.squeeze(total, axis) == 0, jnp.inf, loss)
  return targets.finish(targets.weigh(loss)).astype(result_type)


def shift_prior(
  log_probs: jax.typing.ArrayLike,
  log_prior_from: jax.typing.ArrayLike,
  log_prior_to: jax.typing.ArrayLike,
  *,
  axis: int = -1,
  where: jax.typing.ArrayLike | None = None,
) -> jax.Array:
  r"""Move finished predictions from the prior they were made under to another.

  .. math:: \log p'_k = \log p_k + \log \frac{\pi'_k}{\pi_k} - \log \sum_j p_j \frac{\pi'_j}{\pi_j}

  This is Bayes' rule with p(x | k) unchanged. It corrects a model trained by plain
  cross-entropy on imbalanced classes, without training anew; `log_pc_softmax` corrects the
  training instead.

  Args:
    log_probs: log-probabilities, K classes along `axis`.
    log_prior_from: logarithms of the prior behind the predictions, `[K]`.
    log_prior_to: logarithms of the prior to move to, `[K]`. A class of prior 0 (-inf) on either
      side becomes impossible.
    axis, where: those of `softmax`.

  Returns:
    Log-probabilities in nats, of the shape and floating type of `log_probs`.

  Raises:
    ValueError: a prior's shape is not `[K]`, its probabilities do not sum to one, or a class
      gains a prior that had none.

  Example:
    >>> imbalanced, balanced = jnp.log(jnp.array([0.8, 0.2])), jnp.log(jnp.array([0.5, 0.5]))
    >>> jnp.exp(shift_prior(imbalanced, imbalanced, balanced)).round(2)
    Array([0.5, 0.5], dtype=float32)

  Reference:
    Saerens, Latinne & Decaestecker 2002, "Adjusting the Outputs of a Classifier to New a Priori
    Probabilities", eq. 2.4 (doi 10.1162/089976602753284446).
  """
  log_probs, result_type = widen(log_probs)
  log_probs = exclude(log_probs, where)
  before = _along_axis("log_prior_from", log_prior_from, log_probs, axis)
  after = _along_axis("log_prior_to", log_prior_to, log_probs, axis)
  _check_none_revived(log_prior_from, log_prior_to)
  absent = before == -jnp.inf
  scores = log_probs + jnp.where(absent, -jnp.inf, after - jnp.where(absent, 0, before))
  return log_normalise(scores, axis=axis).astype(result_type)
