"""One against all: an independent logistic regression for each class."""

import jax
import jax.numpy as jnp

from softmax_research.functional.labels import check_labels, is_label, spoil_unknown
from softmax_research.functional.normalise import exclude
from softmax_research.functional.precision import widen


def one_vs_all_cross_entropy(
  logits: jax.typing.ArrayLike,
  labels: jax.typing.ArrayLike,
  *,
  axis: int = -1,
  where: jax.typing.ArrayLike | None = None,
) -> jax.Array:
  r"""Compute the one-against-all logistic loss of each example.

  .. math::
    \ell = -\sum_k q_k \log \sigma(z_k) + (1 - q_k) \log (1 - \sigma(z_k)),
    \qquad \sigma(z) = \frac{1}{1 + e^{-z}}

  q is one-hot for an integer label. No class competes with another: each logit learns the
  log-odds of its own class.

  Args:
    logits: K classes along `axis`; -inf marks an impossible class.
    labels: integers without the class axis, or q, of the shape of the logits, each in [0, 1];
      they need not sum to one.
    axis: the class axis.
    where: booleans that broadcast to the logits; false excludes a class.

  Returns:
    Losses in nats, summed over the classes, without the class axis. NaN for an integer label out
    of range; infinite for a label whose class is impossible.

  Raises:
    ValueError: the labels' shape does not fit.
    TypeError: the labels are neither integers nor floating-point numbers.

  Example:
    >>> import jax.numpy as jnp
    >>> one_vs_all_cross_entropy(jnp.array([[0.0, 0.0], [9.0, -9.0]]), jnp.array([1, 0])).round(4)
    Array([1.3863e+00, 2.0000e-04], dtype=float32)

  Reference:
    Li et al. 2020, "On the Learning Property of Logistic and Softmax Losses for Deep Neural
    Networks" (arXiv 2003.02309).
  """
  logits, result_type = widen(logits)
  labels = check_labels(labels, logits, axis=axis)
  logits = exclude(exclude(logits, where), logits != -jnp.inf)
  if jnp.issubdtype(labels.dtype, jnp.integer):
    # -log(1 - sigma(z)) = softplus(z) and -log sigma(z) = softplus(-z): no subtraction anywhere.
    signed = jnp.where(is_label(labels, logits, axis=axis), -logits, logits)
    loss = jnp.sum(jax.nn.softplus(signed), axis=axis)
    return spoil_unknown(loss, labels, logits.shape[axis]).astype(result_type)
  absent = (labels == 0) & (logits == -jnp.inf)  # 0 times infinity would be NaN
  positive = labels * jnp.where(absent, 0, jax.nn.softplus(-logits))
  negative = (1 - labels) * jax.nn.softplus(logits)
  return jnp.sum(positive + negative, axis=axis).astype(result_type)
