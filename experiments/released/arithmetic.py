"""Arithmetic of Banerjee et al.'s release and of Keras' losses, on NumPy's arrays as on JAX's.

The operations stand here once: `experiments.departures` measures them on random logits, and
`experiments.released.heads` trains with them.

Reference:
  github.com/kunalbanerjee/softmax_alternatives at commit 77fe462, layer_definitions.py; and the
  losses of Keras on probabilities, `sparse_categorical_crossentropy` and
  `categorical_crossentropy`.
"""

import math

import numpy as np

#: Keras' epsilon.
LEAST = 1e-7


def series(logits, order: int):
  """Return f_n, the truncated series of the exponential.

  Example:
    >>> series(np.array(1.0), 2)
    np.float64(2.5)
  """
  return sum(logits**k / math.factorial(k) for k in range(order + 1))


def formula_probs(values):
  """Divide each row by its sum, as the formulas do.

  Example:
    >>> formula_probs(np.array([[1.0, 3.0]]))
    array([[0.25, 0.75]])
  """
  return values / values.sum(1, keepdims=True)


def tiled_denominator(values):
  """Divide by the row sums tiled and reshaped, so that entry (i, j) gets sum (i K + j) mod B.

  Args:
    values: `[B, K]`.

  Returns:
    `[B, K]`; rows do not sum to one.

  Example:
    >>> tiled_denominator(np.array([[1.0, 3.0], [2.0, 6.0]]))
    array([[0.25 , 0.375],
           [0.5  , 0.75 ]])
  """
  places = np.arange(values.size).reshape(values.shape) % len(values)
  return values / values.sum(1)[places]


def batch_margin(values, lowered):
  """Lower every class's own term, under a sum over the whole batch.

  Args:
    values: `[B, K]`, all of the sum's terms.
    lowered: `[B, K]`, what each entry has in place of its own term.

  Returns:
    `[B, K]`; the rows sum to about one together.

  Example:
    >>> batch_margin(np.array([[1.0, 3.0]]), np.array([[0.5, 1.5]])).round(2)
    array([[0.14, 0.6 ]])
  """
  return lowered / (values.sum() - values + lowered)


def keras_probs(probs):
  """Clip and divide each row by its sum, as Keras' loss of integer labels does.

  Example:
    >>> keras_probs(np.array([[0.1, 0.3]]))
    array([[0.25, 0.75]])
  """
  return formula_probs(probs.clip(LEAST, 1 - LEAST))


def keras_one_hot_probs(values):
  """Divide each row by its sum and clip, as Keras' loss of one-hot labels does.

  A clipped entry has no gradient. A row of zeros, which is 0 / 0 in Keras, gives the least
  probability to every class here, and has no gradient either.

  Example:
    >>> keras_one_hot_probs(np.array([[0.0, 3.0, 1.0]]))
    array([[1.0e-07, 7.5e-01, 2.5e-01]])
  """
  return (values / values.sum(1, keepdims=True).clip(LEAST)).clip(LEAST, 1 - LEAST)
