"""Sparsemax: the point of the probability simplex nearest to the logits, and its loss."""

import jax

from softmax_research.functional.entmax import entmax
from softmax_research.functional.entmax_loss import entmax_loss


def sparsemax(
  logits: jax.typing.ArrayLike,
  *,
  axis: int = -1,
  where: jax.typing.ArrayLike | None = None,
) -> jax.Array:
  r"""Compute sparsemax probabilities, the Euclidean projection of the logits on the simplex.

  .. math::
    p = \operatorname*{argmin}_{p \in \Delta} \lVert p - z \rVert^2,
    \qquad p_k = [z_k - \tau]_+, \quad \tau \text{ such that } \sum_k p_k = 1

  It is entmax with alpha = 2. On a support of n classes the Jacobian is the identity minus 1/n
  there and zero elsewhere.

  Args:
    logits: K classes along `axis`; -inf marks an impossible class.
    axis: the class axis.
    where: booleans that broadcast to the logits; false excludes a class. A row without any class
      has probability 0 throughout.

  Returns:
    Probabilities of the shape and floating type of the logits.

  Example:
    >>> import jax.numpy as jnp
    >>> sparsemax(jnp.array([0.0, 1.0, 1.5]))
    Array([0.  , 0.25, 0.75], dtype=float32)

  Reference:
    Martins & Astudillo 2016, "From Softmax to Sparsemax", eq. 1 (arXiv 1602.02068).
  """
  return entmax(logits, alpha=2.0, axis=axis, where=where)


def sparsemax_loss(
  logits: jax.typing.ArrayLike,
  labels: jax.typing.ArrayLike,
  *,
  axis: int = -1,
  where: jax.typing.ArrayLike | None = None,
) -> jax.Array:
  r"""Compute the sparsemax loss of each example.

  .. math::
    \ell = -z_y + \frac 1 2 \sum_{k : p_k > 0} (z_k^2 - \tau^2) + \frac 1 2

  p and tau are those of `sparsemax`. The gradient with respect to the logits is p minus the
  one-hot label. The loss is never negative, and zero as soon as the label's logit leads all
  others by 1. It is the entmax loss with alpha = 2, which extends it to labels that are
  distributions.

  Args:
    logits: K classes along `axis`; -inf marks an impossible class.
    labels: integers without the class axis, or distributions of the shape of the logits.
    axis: the class axis.
    where: booleans that broadcast to the logits; false excludes a class.

  Returns:
    Losses without the class axis, in the units of the logits. NaN for an integer label out of
    range; infinite for a label whose class is impossible.

  Raises:
    ValueError: the labels' shape does not fit.
    TypeError: the labels are neither integers nor floating-point numbers.

  Example:
    >>> import jax.numpy as jnp
    >>> sparsemax_loss(jnp.array([[1.0, 0.0], [1.0, 0.5]]), jnp.array([0, 0]))
    Array([0.    , 0.0625], dtype=float32)

  Reference:
    Martins & Astudillo 2016, "From Softmax to Sparsemax", eq. 16 (arXiv 1602.02068).
  """
  return entmax_loss(logits, labels, alpha=2.0, axis=axis, where=where)
