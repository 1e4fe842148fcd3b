"""Heads whose loss is no log-probability of a distribution: one against all, and hinge."""

import jax

from softmax_research import functional
from softmax_research.functional.arrays import check_at_least
from softmax_research.heads.dense import linear
from softmax_research.heads.head import Head


def one_vs_all(num_classes: int, *, bias: bool = True) -> Head:
  r"""Build the head of one logistic regression a class.

  `log_prob` divides the classes' own probabilities by their sum,
  :math:`p_k = \sigma(z_k) / \sum_j \sigma(z_j)`: where each is right, the sum is one and nothing
  changes.

  Args:
    num_classes: K.
    bias: add a bias to the logits.

  Returns:
    The head.

  Example:
    >>> head = one_vs_all(10)
  """

  def loss(logits, labels, geometry):
    del geometry
    return functional.one_vs_all_cross_entropy(logits, labels)

  def log_prob(logits):
    return functional.log_normalise(jax.nn.log_sigmoid(logits))

  return linear(num_classes, loss=loss, log_prob=log_prob, bias=bias)


def hinge(
  num_classes: int, *, margin: float = 1.0, sum_rivals: bool = False, bias: bool = True
) -> Head:
  """Build the head of the multiclass hinge loss.

  The loss knows no probabilities. `log_prob` is softmax of the logits: its argmax is the
  loss's own prediction, its values are not fitted to anything.

  Args:
    num_classes: K.
    margin: the lead over the rivals that suffices; see `functional.multiclass_hinge`.
    sum_rivals: sum over all rivals instead of taking the strongest.
    bias: add a bias to the logits.

  Returns:
    The head.

  Raises:
    ValueError: the margin is negative or not finite.

  Example:
    >>> head = hinge(10, sum_rivals=True)
  """
  check_at_least("margin", margin, 0, "Pass 1.0 for the published loss.")

  def loss(logits, labels, geometry):
    del geometry
    return functional.multiclass_hinge(logits, labels, margin=margin, sum_rivals=sum_rivals)

  return linear(num_classes, loss=loss, log_prob=functional.log_softmax, bias=bias)
