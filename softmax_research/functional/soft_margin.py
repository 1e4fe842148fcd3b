"""Soft margin (SM): the label's logit is lowered by a margin during training."""

import jax

from softmax_research.functional.arguments import check_at_least
from softmax_research.functional.labels import check_labels, replace_label
from softmax_research.functional.precision import widen


def soft_margin(
  logits: jax.typing.ArrayLike, labels: jax.typing.ArrayLike, *, margin: jax.typing.ArrayLike
) -> jax.Array:
  r"""Lower the label's logit by a margin.

  .. math:: z'_y = z_y - m, \qquad z'_j = z_j \quad (j \ne y)

  With softmax's score this is SM-softmax; with Taylor's, SM-Taylor softmax. Apply it in the
  training loss only: a prediction has no label to lower.

  Args:
    logits: `[..., K]`.
    labels: integers `[...]`, or distributions `[..., K]`, whose classes share the margin in
      proportion. A label out of range lowers nothing; the loss that follows gives NaN for it.
    margin: m >= 0; 0 leaves the logits as they are.

  Returns:
    Logits `[..., K]`.

  Raises:
    ValueError: the margin is negative or not finite, or the labels' shape does not fit.
    TypeError: the labels are neither integers nor floating-point numbers.

  Example:
    >>> import jax.numpy as jnp
    >>> soft_margin(jnp.array([[1.0, 2.0, 3.0]]), jnp.array([2]), margin=0.5)
    Array([[1. , 2. , 2.5]], dtype=float32)

  Reference:
    Liang et al. 2017, "Soft-Margin Softmax for Deep Classification"
    (doi 10.1007/978-3-319-70096-0_43).
  """
  check_at_least("margin", margin, 0, "Pass 0 for no margin.")
  logits, result_type = widen(logits)
  labels = check_labels(labels, logits)
  return replace_label(logits, logits - margin, labels).astype(result_type)
