"""Heads as released: Banerjee et al.'s operators and Agarap's ReLU, as their code computes them.

A configuration names them by their path, as `experiments.released.heads.taylor:order=6`. `taylor`,
`sm` and `sm_taylor` couple the examples of a batch: a loss is that of its batch (of a device's
share of it, where there are several), and a prediction that of the thirty-two examples that Keras
evaluates together. Softmax is missing: the releases have Keras' own.

The arithmetic stands here once, on NumPy's arrays as on JAX's: `experiments.departures` measures it
on random logits.

Reference:
  github.com/kunalbanerjee/softmax_alternatives at commit 77fe462, layer_definitions.py, for
  Banerjee et al. 2020 (arXiv 2011.11538), whose formulas this library's heads of the same names
  follow; the notebooks of github.com/AFAgarap/dl-relu at commit da9d8b6, for Agarap 2018 (arXiv
  1803.08375); and the losses of Keras on probabilities, `sparse_categorical_crossentropy` and
  `categorical_crossentropy`.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from softmax_research import heads
from softmax_research.functional.arrays import check_at_least

# Keras' batch size where none is given, as in the release's call of `evaluate`.
_EVALUATED_TOGETHER = 32
# Keras' epsilon.
_LEAST = 1e-7
#: Where the gradient of the released Taylor softmax comes from.
GRADIENTS = ("automatic", "finite", "infinite")


def series(logits, order: int):
  """Return f_n, the truncated series of the exponential."""
  return sum(logits**k / math.factorial(k) for k in range(order + 1))


def formula_probs(values):
  """Divide each row by its sum, as the formulas do."""
  return values / values.sum(1, keepdims=True)


def tiled_denominator(values):
  """Divide by the row sums tiled and reshaped, so that entry (i, j) gets sum (i K + j) mod B.

  Example:
    >>> tiled_denominator(np.array([[1.0, 3.0], [2.0, 6.0]]))
    array([[0.25 , 0.375],
           [0.5  , 0.75 ]])
  """
  places = np.arange(values.size).reshape(values.shape) % len(values)
  return values / values.sum(1)[places]


def batch_margin(values, lowered):
  """Put `lowered` in place of every class's own term, under a sum over the whole batch."""
  return lowered / (values.sum() - values + lowered)


def keras_probs(probs):
  """Clip and divide each row by its sum, as Keras' loss of integer labels does."""
  return formula_probs(probs.clip(_LEAST, 1 - _LEAST))


def keras_one_hot_probs(values):
  """Divide each row by its sum and clip, as Keras' loss of one-hot labels does.

  A clipped entry has no gradient. A row of zeros, which is 0 / 0 in Keras, gives the least
  probability to every class here, and has no gradient either.
  """
  return (values / values.sum(1, keepdims=True).clip(_LEAST)).clip(_LEAST, 1 - _LEAST)


def taylor(num_classes: int, *, order: int = 6, gradient: str = "automatic") -> heads.Head:
  """Build the released Taylor softmax: each entry is divided by the sum of some other row.

  Its gradient is "automatic"; "finite", which multiplies what comes in by the series of one order
  less, or "infinite", by the output, as the release's other two operators do.
  """
  check_at_least("order", order, 1, "Pass 6 for the release's default.")
  if gradient not in GRADIENTS:
    raise ValueError(f"Got gradient={gradient!r}; it must be one of {', '.join(GRADIENTS)}.")

  def forward(logits):
    return tiled_denominator(series(logits, order))

  def backward(logits, probs, incoming):
    return incoming * (series(logits, order - 1) if gradient == "finite" else probs)

  automatic = gradient == "automatic"
  return _head(num_classes, forward if automatic else _with_gradient(forward, backward))


def sm(num_classes: int, *, margin: float = 0.6) -> heads.Head:
  """Build the released soft-margin softmax: a margin for every class, sums over the batch."""
  check_at_least("margin", margin, 0, "Pass 0.6 for the release's default.")
  return _with_batch_margin(num_classes, jnp.exp, margin)


def sm_taylor(num_classes: int, *, order: int = 6, margin: float = 0.6) -> heads.Head:
  """Build the released SM-Taylor softmax: as `sm`, the margin dividing by its series."""
  check_at_least("order", order, 1, "Pass 6 for the release's default.")
  check_at_least("margin", margin, 0, "Pass 0.6 for the release's default.")
  return _with_batch_margin(num_classes, lambda logits: series(logits, order), margin)


def relu(num_classes: int) -> heads.Head:
  """Build Agarap's output: ReLU, under Keras' cross-entropy with one-hot labels.

  An example whose label has no output, or nearly all of it, has no gradient. A prediction is the
  largest output, the first class where there is none.
  """

  def probs(logits):
    return keras_one_hot_probs(jax.nn.relu(logits))

  return _linear(num_classes, probs, lambda logits: formula_probs(probs(logits)))


def _with_batch_margin(num_classes: int, terms: Callable, margin: float) -> heads.Head:
  def forward(logits):
    values = terms(logits)
    return batch_margin(values, values / terms(margin))

  def backward(logits, probs, incoming):
    """Return the gradient that the batch would have, were it one row of a softmax."""
    del logits
    return probs * incoming - probs * jnp.sum(probs * incoming)

  return _head(num_classes, _with_gradient(forward, backward))


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
  def predicted(logits):
    missing = -len(logits) % _EVALUATED_TOGETHER
    padded = jnp.concatenate([logits, jnp.repeat(logits[-1:], missing, axis=0)])
    together = padded.reshape(-1, _EVALUATED_TOGETHER, num_classes)
    probs = jax.vmap(operator)(together).reshape(-1, num_classes)[: len(logits)]
    # Entries above 1 are not cut off here: Keras' accuracy compares them as they are.
    return formula_probs(jnp.maximum(probs, _LEAST))

  return _linear(num_classes, lambda logits: keras_probs(operator(logits)), predicted)


def _linear(num_classes: int, trained: Callable, predicted: Callable) -> heads.Head:
  """Build a linear layer under two functions from logits to probabilities."""

  def loss(logits, labels, geometry):
    del geometry
    return -jnp.log(jnp.take_along_axis(trained(logits), labels[:, None], axis=1)[:, 0])

  return heads.linear(num_classes, loss=loss, log_prob=lambda logits: jnp.log(predicted(logits)))
