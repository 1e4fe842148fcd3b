"""Negative log-likelihood: minus the log-probability of the label."""

import jax
import jax.numpy as jnp

from softmax_research.functional.arguments import check_fraction
from softmax_research.functional.labels import check_labels, select_label
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

  q is the label's distribution, one-hot for an integer label, and eps the label smoothing. No
  one-hot array is made for integer labels.

  Args:
    log_probs: log-probabilities, K classes along `axis`.
    labels: integers without the class axis, or distributions of the shape of `log_probs`.
    label_smoothing: eps in [0, 1), the weight of the uniform distribution.
    axis: the class axis.
    where: booleans that broadcast to `log_probs`; the smoothing is spread over the classes where
      it is true. Give the mask that the log-probabilities were made with.

  Returns:
    Losses in nats, without the class axis. NaN for an integer label out of range; infinite where
    a class of probability 0 has weight.

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
  check_fraction("label_smoothing", label_smoothing)
  log_probs, result_type = widen(log_probs)
  labels = check_labels(labels, log_probs, axis=axis)
  if jnp.issubdtype(labels.dtype, jnp.integer):
    loss = -select_label(log_probs, labels, axis=axis)
  else:
    loss = -jnp.sum(_product(labels.astype(log_probs.dtype), log_probs), axis=axis)
  if isinstance(label_smoothing, int | float) and label_smoothing == 0:
    return loss.astype(result_type)
  uniform_loss = -_mean_over_classes(log_probs, axis, where)
  return ((1 - label_smoothing) * loss + label_smoothing * uniform_loss).astype(result_type)


def _product(weights: jax.Array, log_probs: jax.Array) -> jax.Array:
  """Multiply with 0 log 0 = 0, and a zero gradient there."""
  absent = (weights == 0) & (log_probs == -jnp.inf)
  return weights * jnp.where(absent, 0, log_probs)


def _mean_over_classes(log_probs: jax.Array, axis: int, where) -> jax.Array:
  if where is None:
    return jnp.mean(log_probs, axis=axis)
  where = jnp.broadcast_to(jnp.asarray(where, bool), log_probs.shape)
  # A row without any class has no smoothing to spread: 0 rather than 0/0.
  count = jnp.maximum(jnp.sum(where, axis=axis), 1)
  return jnp.sum(jnp.where(where, log_probs, 0), axis=axis) / count
