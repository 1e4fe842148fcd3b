"""Heads as released: Banerjee et al.'s operators and Agarap's ReLU, as their code computes them.

A configuration names them by their path, as `experiments.released.heads.taylor:order=6`. `taylor`,
`sm` and `sm_taylor` couple the examples of a batch: a loss is that of its batch (of a device's
share of it, where there are several), and a prediction that of the thirty-two examples that Keras
evaluates together. Softmax is missing: the releases have Keras' own.

Reference:
  github.com/kunalbanerjee/softmax_alternatives at commit 77fe462, for Banerjee et al. 2020 (arXiv
  2011.11538), whose formulas this library's heads of the same names follow; the notebooks of
  github.com/AFAgarap/dl-relu at commit da9d8b6, for Agarap 2018 (arXiv 1803.08375).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from experiments.released import arithmetic
from softmax_research import heads
from softmax_research.functional.arguments import check_at_least

# Keras' batch size where none is given, as in the release's call of `evaluate`.
_EVALUATED_TOGETHER = 32
#: Where the gradient of the released Taylor softmax comes from.
GRADIENTS = ("automatic", "finite", "infinite")


def taylor(num_classes: int, *, order: int = 6, gradient: str = "automatic") -> heads.Head:
  """Build the released Taylor softmax: each entry is divided by the sum of some other row.

  Args:
    num_classes: K.
    order: of the series.
    gradient: "automatic" differentiates; "finite" multiplies what comes in by the series of one
      order less, and "infinite" by the output, as the release's other two operators do.

  Returns:
    The head.

  Raises:
    ValueError: the order is below 1, or there is no such gradient.

  Example:
    >>> head = taylor(10, gradient="finite")
  """
  check_at_least("order", order, 1, "Pass 6 for the release's default.")
  if gradient not in GRADIENTS:
    raise ValueError(f"Got gradient={gradient!r}; it must be one of {', '.join(GRADIENTS)}.")

  def forward(logits):
    return arithmetic.tiled_denominator(arithmetic.series(logits, order))

  if gradient == "automatic":
    return _head(num_classes, forward)

  def backward(logits, probs, incoming):
    slope = arithmetic.series(logits, order - 1) if gradient == "finite" else probs
    return incoming * slope

  return _head(num_classes, _with_gradient(forward, backward))


def sm(num_classes: int, *, margin: float = 0.6) -> heads.Head:
  """Build the released soft-margin softmax: a margin for every class, sums over the batch.

  Args:
    num_classes: K.
    margin: at least 0.

  Returns:
    The head.

  Raises:
    ValueError: the margin is negative or not finite.

  Example:
    >>> head = sm(10, margin=0.3)
  """
  check_at_least("margin", margin, 0, "Pass 0.6 for the release's default.")

  def forward(logits):
    values = jnp.exp(logits)
    return arithmetic.batch_margin(values, values / jnp.exp(margin))

  return _head(num_classes, _with_gradient(forward, _softmax_of_the_batch))


def sm_taylor(num_classes: int, *, order: int = 6, margin: float = 0.6) -> heads.Head:
  """Build the released SM-Taylor softmax: as `sm`, the margin dividing by its series.

  Args:
    num_classes: K.
    order: of the series.
    margin: at least 0.

  Returns:
    The head.

  Raises:
    ValueError: the order is below 1, or the margin negative or not finite.

  Example:
    >>> head = sm_taylor(10, order=2)
  """
  check_at_least("order", order, 1, "Pass 6 for the release's default.")
  check_at_least("margin", margin, 0, "Pass 0.6 for the release's default.")

  def forward(logits):
    values = arithmetic.series(logits, order)
    return arithmetic.batch_margin(values, values / arithmetic.series(margin, order))

  return _head(num_classes, _with_gradient(forward, _softmax_of_the_batch))


def relu(num_classes: int) -> heads.Head:
  """Build Agarap's output: ReLU, under Keras' cross-entropy with one-hot labels.

  An example whose label has no output, or nearly all of it, has no gradient. A prediction is the
  largest output, the first class where there is none.

  Args:
    num_classes: K.

  Returns:
    The head.

  Example:
    >>> head = relu(10)
  """

  def probs(logits):
    return arithmetic.keras_one_hot_probs(jax.nn.relu(logits))

  def loss(logits, labels, geometry):
    del geometry
    return -jnp.log(jnp.take_along_axis(probs(logits), labels[:, None], axis=1)[:, 0])

  def log_prob(logits):
    return jnp.log(arithmetic.formula_probs(probs(logits)))

  return heads.linear(num_classes, loss=loss, log_prob=log_prob)


def _softmax_of_the_batch(logits, probs, incoming):
  """Return the gradient that the batch would have, were it one row of a softmax."""
  del logits
  return probs * incoming - probs * jnp.sum(probs * incoming)


def _with_gradient(forward: Callable, backward: Callable) -> Callable:
  """Return `logits -> probs` whose gradient is `backward(logits, probs, incoming)`."""

  @jax.custom_vjp
  def operator(logits):
    return forward(logits)

  def keep(logits):
    probs = forward(logits)
    return probs, (logits, probs)

  operator.defvjp(keep, lambda kept, incoming: (backward(*kept, incoming),))
  return operator


def _head(num_classes: int, operator: Callable) -> heads.Head:
  def loss(logits, labels, geometry):
    del geometry
    log_probs = jnp.log(arithmetic.keras_probs(operator(logits)))
    return -jnp.take_along_axis(log_probs, labels[:, None], axis=1)[:, 0]

  def log_prob(logits):
    missing = -len(logits) % _EVALUATED_TOGETHER
    padded = jnp.concatenate([logits, jnp.repeat(logits[-1:], missing, axis=0)])
    together = padded.reshape(-1, _EVALUATED_TOGETHER, num_classes)
    probs = jax.vmap(operator)(together).reshape(-1, num_classes)[: len(logits)]
    # Entries above 1 are not cut off here: Keras' accuracy compares them as they are.
    return jnp.log(arithmetic.formula_probs(jnp.maximum(probs, arithmetic.LEAST)))

  return heads.linear(num_classes, loss=loss, log_prob=log_prob)
