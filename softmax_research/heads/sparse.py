"""Heads of sparse probabilities: sparsemax and alpha-entmax with their own losses."""

import jax
import jax.numpy as jnp

from softmax_research import functional
from softmax_research.functional.arrays import check_at_least
from softmax_research.heads.dense import linear
from softmax_research.heads.head import Head


def sparsemax(num_classes: int, *, bias: bool = True) -> Head:
  """Build the head of sparsemax and its loss: `entmax` with alpha = 2.

  Args:
    num_classes: K.
    bias: add a bias to the logits.

  Returns:
    The head.

  Example:
    >>> head = sparsemax(10)
  """
  return entmax(num_classes, alpha=2.0, bias=bias)


def entmax(num_classes: int, *, alpha: float = 1.5, bias: bool = True) -> Head:
  """Build the head of alpha-entmax and its loss.

  `log_prob` is the exact logarithm of the probabilities: -inf for the classes that have none, so
  the negative log-likelihood of an example is infinite where its label is one of them. That is
  why the loss is not the likelihood: it stays finite, with a useful gradient.

  Args:
    num_classes: K.
    alpha: at least 1, softmax; the larger, the fewer classes have probability. 2 is sparsemax.
    bias: add a bias to the logits.

  Returns:
    The head.

  Raises:
    ValueError: alpha is below 1 or not finite.

  Example:
    >>> head = entmax(3)
    >>> params = {"kernel": jnp.eye(3), "bias": jnp.zeros(3)}
    >>> head.log_prob(params, jnp.array([0.0, 0.0, 2.0]))
    Array([-inf, -inf,   0.], dtype=float32)
  """
  check_at_least("alpha", alpha, 1, "Pass 1 for softmax, 2 for sparsemax.")

  def loss(logits, labels, geometry):
    del geometry
    return functional.entmax_loss(logits, labels, alpha=alpha)

  def log_prob(logits: jax.Array) -> jax.Array:
    if alpha == 1:
      return functional.log_softmax(logits)
    probs = functional.entmax(logits, alpha=alpha)
    support = probs > 0
    return jnp.where(support, jnp.log(jnp.where(support, probs, 1)), -jnp.inf)

  return linear(num_classes, loss=loss, log_prob=log_prob, bias=bias)
