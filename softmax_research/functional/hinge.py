"""Multiclass hinge: the label's logit must lead the others by a margin."""

import jax
import jax.numpy as jnp

from softmax_research.functional.arguments import check_at_least
from softmax_research.functional.labels import (
  check_labels,
  is_label,
  select_label,
  spoil_unknown,
)
from softmax_research.functional.normalise import exclude
from softmax_research.functional.precision import widen


def multiclass_hinge(
  logits: jax.typing.ArrayLike,
  labels: jax.typing.ArrayLike,
  *,
  margin: jax.typing.ArrayLike = 1.0,
  sum_rivals: bool = False,
  axis: int = -1,
  where: jax.typing.ArrayLike | None = None,
) -> jax.Array:
  r"""Compute the multiclass hinge loss of each example.

  .. math::
    \ell = \max_{j \ne y} \, [m + z_j - z_y]_+
    \qquad \text{or} \qquad
    \ell = \sum_{j \ne y} \, [m + z_j - z_y]_+

  The first form, Crammer and Singer's, sees the strongest rival alone; the second, Weston and
  Watkins', sums over all of them.

  Args:
    logits: K classes along `axis`; -inf marks an impossible class.
    labels: integers without the class axis, or distributions of the shape of the logits, for
      which the loss is the expectation over labels and takes memory for K^2 numbers an example.
    margin: m >= 0, the lead that suffices.
    sum_rivals: take the second form.
    axis: the class axis.
    where: booleans that broadcast to the logits; false excludes a class.

  Returns:
    Losses without the class axis, in the units of the logits. NaN for an integer label out of
    range; infinite for a label whose class is impossible; 0 for a label without rivals.

  Raises:
    ValueError: the margin is negative or not finite, or the labels' shape does not fit.
    TypeError: the labels are neither integers nor floating-point numbers.

  Example:
    >>> import jax.numpy as jnp
    >>> logits, labels = jnp.array([[2.0, 1.5, 1.75]]), jnp.array([0])
    >>> multiclass_hinge(logits, labels), multiclass_hinge(logits, labels, sum_rivals=True)
    (Array([0.75], dtype=float32), Array([1.25], dtype=float32))

  Reference:
    Crammer & Singer 2001, "On the Algorithmic Implementation of Multiclass Kernel-based Vector
    Machines", section 3; Weston & Watkins 1999, "Support Vector Machines for Multi-Class Pattern
    Recognition", eq. 4.
  """
  check_at_least("margin", margin, 0, "Pass 1.0 for the published loss.")
  logits, result_type = widen(logits)
  labels = check_labels(labels, logits, axis=axis)
  logits = exclude(logits, where)
  logits = jnp.moveaxis(logits, axis, -1)
  if jnp.issubdtype(labels.dtype, jnp.integer):
    return _hinge(logits, labels, margin, sum_rivals).astype(result_type)
  weights = jnp.moveaxis(labels, axis, -1)
  square = jnp.broadcast_to(logits[..., None, :], (*logits.shape, logits.shape[-1]))
  every_label = jax.lax.broadcasted_iota(jnp.int32, logits.shape, logits.ndim - 1)
  losses = _hinge(square, every_label, margin, sum_rivals)
  absent = (weights == 0) & (losses == jnp.inf)  # 0 times infinity would be NaN
  return jnp.sum(weights * jnp.where(absent, 0, losses), axis=-1).astype(result_type)


def _hinge(logits: jax.Array, labels: jax.Array, margin, sum_rivals: bool) -> jax.Array:
  own = select_label(logits, labels)
  own_possible = own != -jnp.inf
  own_finite = jnp.where(own_possible, own, 0)
  own_class = is_label(labels, logits)
  if sum_rivals:
    rival = ~own_class & (logits != -jnp.inf)
    gaps = jnp.where(rival, logits, 0) - own_finite[..., None] + margin
    loss = jnp.sum(jnp.where(rival, jax.nn.relu(gaps), 0), axis=-1)
  else:
    strongest = jnp.max(jnp.where(own_class, -jnp.inf, logits), axis=-1, initial=-jnp.inf)
    any_rival = strongest != -jnp.inf
    gap = jnp.where(any_rival, strongest, 0) - own_finite + margin
    loss = jnp.where(any_rival, jax.nn.relu(gap), 0)
  return spoil_unknown(jnp.where(own_possible, loss, jnp.inf), labels, logits.shape[-1])
