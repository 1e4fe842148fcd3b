"""Negative log-likelihood: minus the log-probability of the label."""

import jax
import jax.numpy as jnp

from softmax_research.functional.arguments import check_fraction
from softmax_research.functional.labels import (
  check_labels,
  expectation,
  select_label,
  spoil_unknown,
)
from softmax_research.functional.normalise import exclude
from softmax_research.functional.precision import widen


def negative_log_likelihood(
  log_probs: jax.typing.ArrayLike,
  labels: jax.typing.ArrayLike,
  *,
  label_smoothing: jax.typing.ArrayLike = 0.0,
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
    labels: integers without the class axis, or distributions of the shape of `log_probs`.
    label_smoothing: eps in [0, 1], the weight of the uniform distribution.
    axis: the class axis.
    where: booleans that broadcast to `log_probs`; false excludes a class.

  Returns:
    Losses in nats, without the class axis. NaN for an integer label out of range; infinite where
    the label gives weight to an impossible class.

  Raises:
    ValueError: the smoothing is out of range or the labels' shape does not fit.
    TypeError: the labels are neither integers nor floating-point numbers.

  Example:
    >>> import jax.numpy as jnp
    >>> negative_log_likelihood(jnp.log(jnp.array([[0.25, 0.75]])), jnp.array([1])).round(4)
    Array([0.2877], dtype=float32)

  Reference:
    Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer Vision", section 7
    (arXiv 1512.00567), for label smoothing.
  """
  check_fraction("label_smoothing", label_smoothing, or_one=True)
  log_probs, result_type = widen(log_probs)
  labels = check_labels(labels, log_probs, axis=axis)
  log_probs = exclude(log_probs, where)
  if jnp.issubdtype(labels.dtype, jnp.integer):
    loss = -select_label(log_probs, labels, axis=axis)
  else:
    loss = -expectation(labels.astype(log_probs.dtype), log_probs, axis)
  loss = smooth(loss, log_probs, label_smoothing, axis)
  return spoil_unknown(loss, labels, log_probs.shape[axis]).astype(result_type)


def smooth(
  loss: jax.Array, log_probs: jax.Array, label_smoothing: jax.typing.ArrayLike, axis: int
) -> jax.Array:
  r"""Mix a loss with that of a label spread evenly over the possible classes.

  .. math:: (1 - \varepsilon) \ell - \frac{\varepsilon}{K} \sum_k \log p_k

  Args:
    loss: the loss of the label alone, without the class axis.
    log_probs: log-probabilities along `axis`; -inf marks an impossible class.
    label_smoothing: eps in [0, 1].
    axis: the class axis.

  Returns:
    Losses without the class axis.

  Example:
    >>> smooth(jnp.array(9.0), jnp.log(jnp.array([0.5, 0.5, 0.0])), 1.0, -1).round(4)
    Array(0.6931, dtype=float32)
  """
  if isinstance(label_smoothing, int | float) and label_smoothing == 0:
    return loss
  possible = log_probs != -jnp.inf
  # A row without any class has no smoothing to spread: 0 rather than 0/0.
  num_possible = jnp.maximum(jnp.sum(possible, axis=axis, dtype=log_probs.dtype), 1)
  uniform_loss = -jnp.sum(jnp.where(possible, log_probs, 0), axis=axis) / num_possible
  # All of the label may be spread, and nothing of it be left: 0 times infinity would be NaN.
  rest = jnp.where((loss == jnp.inf) & (label_smoothing == 1), 0, loss)
  return (1 - label_smoothing) * rest + label_smoothing * uniform_loss
