"""Heads for imbalanced classes: the prior in the training loss, or out of the predictions."""

from collections.abc import Sequence

import jax
import numpy as np

from softmax_research import functional
from softmax_research.functional.arrays import check_at_least, check_num_classes
from softmax_research.heads.dense import dense, linear
from softmax_research.heads.head import Head
from softmax_research.heads.scores import taylor_score


def _log_prior(head: str, num_classes: int, class_counts: Sequence[int] | None) -> jax.Array:
  check_num_classes(num_classes)
  if class_counts is None:
    raise ValueError(
      f"Got no class_counts for the head {head!r}, which needs the number of training examples of "
      "each class. Pass class_counts=[...], as numpy.bincount(labels, minlength=num_classes)."
    )
  if np.shape(class_counts) != (num_classes,):
    raise ValueError(
      f"Got class_counts of shape {np.shape(class_counts)} for {num_classes} classes; "
      f"it must have shape ({num_classes},)."
    )
  return functional.log_prior_from_counts(class_counts)


def pc_softmax(
  num_classes: int, *, class_counts: Sequence[int] | None = None, bias: bool = True
) -> Head:
  """Build probability-corrected softmax's head.

  The mean of its training loss is minus a lower bound of the mutual information between the
  features and the label, so it may be negative. `log_prob` is softmax, the prediction under a
  uniform prior.

  Args:
    num_classes: K.
    class_counts: numbers of training examples of each class, `[K]`.
    bias: add a bias to the logits.

  Returns:
    The head.

  Raises:
    ValueError: there are no counts, or they do not fit.

  Example:
    >>> head = pc_softmax(2, class_counts=[900, 100])
  """
  log_prior = _log_prior("pc_softmax", num_classes, class_counts)

  def loss(logits, labels, geometry):
    del geometry
    return functional.pc_cross_entropy(logits, labels, log_prior)

  return linear(num_classes, loss=loss, log_prob=functional.log_softmax, bias=bias)


def logit_adjusted(
  num_classes: int,
  *,
  class_counts: Sequence[int] | None = None,
  tau: float = 1.0,
  order: int | None = None,
  bias: bool = True,
  label_smoothing: float = 0.0,
  z_loss: float = 0.0,
) -> Head:
  """Build the head of logit-adjusted cross-entropy: tau log P added to the logits in the loss.

  With tau 1 its gradient is PC-softmax's, and its loss higher by -log P at the label.

  Args:
    num_classes: K.
    class_counts: numbers of training examples of each class, `[K]`.
    tau: the prior's exponent, at least 0; 0 is plain softmax.
    order: Taylor's score of this order in place of softmax's.
    bias: add a bias to the logits.
    label_smoothing: see `functional.cross_entropy`.
    z_loss: see `functional.cross_entropy`.

  Returns:
    The head.

  Raises:
    ValueError: there are no counts, they do not fit, or an option is out of range.

  Example:
    >>> head = logit_adjusted(2, class_counts=[900, 100], tau=0.5)

  Reference:
    Menon et al. 2021, "Long-tail Learning via Logit Adjustment", eq. 10 (arXiv 2007.07314).
  """
  check_at_least("tau", tau, 0, "Pass 1.0 for the prior as it is.")
  log_prior = _log_prior("logit_adjusted", num_classes, class_counts)
  return dense(
    num_classes,
    score=taylor_score(order),
    log_prior=tau * log_prior if tau else None,  # 0 times the -inf of an empty class is no number
    bias=bias,
    label_smoothing=label_smoothing,
    z_loss=z_loss,
  )


def prior_shift(
  num_classes: int,
  *,
  class_counts: Sequence[int] | None = None,
  bias: bool = True,
  label_smoothing: float = 0.0,
  z_loss: float = 0.0,
) -> Head:
  """Build a head that trains as softmax does and moves its predictions to a uniform prior.

  Args:
    num_classes: K.
    class_counts: numbers of training examples of each class, `[K]`; a class without any is
      never predicted.
    bias: add a bias to the logits.
    label_smoothing: see `functional.cross_entropy`.
    z_loss: see `functional.cross_entropy`.

  Returns:
    The head.

  Raises:
    ValueError: there are no counts, they do not fit, or an option is out of range.

  Example:
    >>> head = prior_shift(2, class_counts=[900, 100])
  """
  log_prior = _log_prior("prior_shift", num_classes, class_counts)
  uniform = functional.log_prior_from_counts(np.asarray(class_counts) > 0)
  plain = dense(num_classes, bias=bias, label_smoothing=label_smoothing, z_loss=z_loss)

  def log_prob(params, features):
    return functional.shift_prior(plain.log_prob(params, features), log_prior, uniform)

  return plain._replace(log_prob=log_prob)
