"""Negative log-likelihood: minus the log-probability of the label."""

import jax
import jax.numpy as jnp

from softmax_research.functional.arguments import check_fraction
from softmax_research.functional.labels import check_labels, expectation, select_label
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
    loss = -expectation(labels.astype(log_probs.dtype), log_probs, axis)
  if isinstance(label_smoothing, int | float) and label_smoothing == 0:
    return loss.astype(result_type)
  uniform_loss = -mean_over_classes(log_probs, axis=axis, where=where)
  return ((1 - label_smoothing) * loss + label_smoothing * uniform_loss).astype(result_type)


def mean_over_classes(values: jax.Array, *, axis: int, where=None) -> jax.Array:
  """Return the mean over the classes where the mask is true, 0 where there is none.

  Example:
    >>> mean_over_classes(jnp.array([1.0, 3.0, 9.0]), axis=-1, where=[1, 1, 0]).tolist()
    2.0
  """
  if where is None:
    return jnp.mean(values, axis=axis)
  where = jnp.broadcast_to(jnp.asarray(where, bool), values.shape)
  # A row without any class has no smoothing to spread: 0 rather than 0/0.
  count = jnp.maximum(jnp.sum(where, axis=axis), 1)
  return jnp.sum(jnp.where(where, values, 0), axis=axis) / count
