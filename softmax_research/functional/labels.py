"""Labels: class indices `[...]` or distributions `[..., K]`, selected without scatter."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from softmax_research.functional.arrays import (
  as_index,
  as_labels,
  check_class_axis,
  has_explicit_mesh,
)


def check_labels(labels: jax.typing.ArrayLike, values: jax.Array, *, axis: int = -1) -> jax.Array:
  """Return labels as an array after checking their type and shape against the values.

  Integers have the values' shape without the class axis, distributions have theirs.
  """
  labels = as_labels(labels)
  check_class_axis(values, axis)
  batch_shape = values.shape[: axis % values.ndim] + values.shape[axis % values.ndim + 1 :]
  if jnp.issubdtype(labels.dtype, jnp.integer):
    if labels.shape != batch_shape:
      raise ValueError(
        f"Got integer labels of shape {labels.shape} for values of shape {values.shape}; "
        f"they must have shape {batch_shape}, one class index for each example. Cast rows that "
        "weight every class, as one-hot ones, to a floating-point type."
      )
  elif jnp.issubdtype(labels.dtype, jnp.floating):
    if labels.shape != values.shape:
      raise ValueError(
        f"Got floating-point labels of shape {labels.shape} for values of shape {values.shape}; "
        "distributions over classes must have the shape of the values. "
        "Cast class indices to an integer type."
      )
  else:
    raise TypeError(
      f"Got labels of type {labels.dtype}; pass integers (class indices) or floating-point "
      "numbers (distributions over classes)."
    )
  return labels


def check_class_labels(
  labels: jax.typing.ArrayLike, features: jax.Array, num_classes: int, remedy: str
) -> jax.Array:
  """Return integer labels `[...]` as an array after checking their type and shape.

  Their type holds every class; labels out of range are left to the caller. The remedy says what
  to use for distributions over classes.
  """
  labels = as_labels(labels)
  if not jnp.issubdtype(labels.dtype, jnp.integer):
    raise TypeError(
      f"Got labels of type {labels.dtype}; this loss takes integers (class indices). {remedy}"
    )
  values = jax.ShapeDtypeStruct((*features.shape[:-1], num_classes), jnp.float32)
  labels = check_labels(labels, values)
  return as_index(labels)


def is_label(labels: jax.Array, values: jax.Array, *, axis: int = -1) -> jax.Array:
  """Mark each example's label: a boolean one-hot array of the shape of the values.

  A label out of range marks nothing. A comparison with an iota fuses into what consumes it, and
  stays local when the classes are sharded over devices; a gather does neither, and its gradient
  is a scatter.
  """
  labels = as_index(labels)
  # On a mesh with Explicit axes the mask has to be sharded as the values are.
  sharding = jax.typeof(values).sharding if has_explicit_mesh(values) else None
  classes = jax.lax.broadcasted_iota(
    labels.dtype, values.shape, axis % values.ndim, out_sharding=sharding
  )
  return classes == jnp.expand_dims(labels, axis)


def is_known(labels: jax.Array, num_classes: int) -> jax.Array:
  """Mark the labels that are in range."""
  labels = as_index(labels)
  return (labels >= 0) & (labels < num_classes)


def spoil_unknown(losses: jax.Array, labels: jax.Array, num_classes: int) -> jax.Array:
  """Return losses that are NaN, and have no gradient, where an integer label is out of range."""
  if not jnp.issubdtype(labels.dtype, jnp.integer):
    return losses
  return jnp.where(is_known(labels, num_classes), losses, jnp.nan)


def select_label(values: jax.Array, labels: jax.Array, *, axis: int = -1) -> jax.Array:
  """Pick each example's value at its label; NaN where the label is out of range."""
  known = is_known(labels, values.shape[axis])
  return jnp.where(known, _pick_label(values, labels, axis), jnp.nan)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _pick_label(values: jax.Array, labels: jax.Array, axis: int = -1) -> jax.Array:
  """Return each example's value at its label, any value where the label is out of range."""
  if has_explicit_mesh(values):
    return _contract_label(values, labels, axis)
  index = jnp.expand_dims(jnp.clip(as_index(labels), 0, values.shape[axis] - 1), axis)
  picked = jnp.take_along_axis(values, index, axis=axis, mode="promise_in_bounds")
  return jnp.squeeze(picked, axis)


@_pick_label.defjvp
def _pick_label_jvp(axis, primals, tangents):
  # A contraction, because its transpose is a mask: the transpose of a gather is a scatter.
  (values, labels), (values_dot, _) = primals, tangents
  return _pick_label(values, labels, axis), _contract_label(values_dot, labels, axis)


def _contract_label(values: jax.Array, labels: jax.Array, axis: int) -> jax.Array:
  return jnp.sum(jnp.where(is_label(labels, values, axis=axis), values, 0), axis=axis)


@jax.custom_jvp
def compute_now(values: jax.Array) -> jax.Array:
  """Return what was selected, with a hint to select it before the rest of the loss is computed.

  On CPU, XLA fuses a selection into whatever needs it last, and so keeps the array selected from,
  where exponentials could have taken its place: with large arrays the fresh memory is the most
  expensive part of a loss. Nothing is fused into a sort, and sorting two equal numbers is cheap.
  """
  if jax.default_backend() != "cpu" or has_explicit_mesh(values):
    return values
  return jax.lax.sort(jnp.stack([values, values], axis=-1), dimension=-1)[..., 0]


@compute_now.defjvp
def _compute_now_jvp(primals, tangents):
  return compute_now(*primals), tangents[0]


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def expectation(weights: jax.Array, values: jax.Array, axis: int = -1) -> jax.Array:
  """Sum values in proportion to weights: sum_k q_k v_k, where 0 times -inf is 0.

  The weights are not negative and the values below infinity.
  """
  # As in `sum_exponentials`, a mask would cost an array. So -inf becomes the lowest number, and
  # the weights are scaled up so far that what has any weight there, 1e-24 or more in float32,
  # still overflows to -inf.
  precision = jnp.finfo(values.dtype)
  scale = 2.0 ** (5 * precision.maxexp // 8)
  return jnp.sum((weights * scale) * jnp.maximum(values, precision.min), axis=axis) / scale


@expectation.defjvp
def _expectation_jvp(axis, primals, tangents):
  (weights, values), (weights_dot, values_dot) = primals, tangents
  absent = (weights == 0) & (values == -jnp.inf)
  change = weights_dot * jnp.where(absent, 0, values) + weights * values_dot
  return expectation(weights, values, axis), jnp.sum(change, axis=axis)


def replace_label(values: jax.Array, replacements: jax.Array, labels: jax.Array) -> jax.Array:
  """Put each label's replacement in place of its value; the other classes keep theirs.

  For a distribution q over classes the change is shared: v + q (r - v), which is the same thing
  for a one-hot q.
  """
  if jnp.issubdtype(labels.dtype, jnp.integer):
    return jnp.where(is_label(labels, values), replacements, values)
  # An impossible class stays one: -inf - -inf would be NaN.
  change = jnp.where(values == -jnp.inf, 0, replacements - values)
  return values + labels * change


def map_label(
  function: Callable[..., jax.Array],
  labels: jax.Array,
  values: jax.Array,
  *operands: jax.Array,
) -> jax.Array:
  """Apply an elementwise function at each example's label; the other classes keep their values.

  For integer labels the function sees one value an example, so that its cost and that of its
  gradient do not grow with the number of classes. A distribution over classes shares the change,
  as in `replace_label`. An impossible class, of value -inf, stays so without being shown to the
  function. Whatever may have a gradient is an operand, which broadcasts to the values.
  """
  operands = tuple(jnp.broadcast_to(operand, values.shape) for operand in operands)
  if jnp.issubdtype(labels.dtype, jnp.integer):
    return _map_index(function, values, labels, operands)
  return replace_label(values, _map_possible(function, values, *operands), labels)


def _map_possible(function, values: jax.Array, *operands: jax.Array) -> jax.Array:
  possible = values != -jnp.inf
  return jnp.where(possible, function(jnp.where(possible, values, 0), *operands), -jnp.inf)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _map_index(function, values, labels, operands):
  own = (_pick_label(array, labels)[..., None] for array in (values, *operands))
  return replace_label(values, _map_possible(function, *own), labels)


@functools.partial(_map_index.defjvp, symbolic_zeros=True)
def _map_index_jvp(function, primals, tangents):
  # The gradient in the values stays elementwise: as that of a value picked, mapped and put back it
  # would be a sum over the classes, for which XLA on CPU writes an array.
  (values, labels, operands), (values_dot, _, operands_dot) = primals, tangents
  own, *own_operands = (_pick_label(array, labels)[..., None] for array in (values, *operands))
  marked = is_label(labels, values)
  change = jnp.zeros_like(values)
  if not _is_symbolic_zero(values_dot):
    _, slope = jax.jvp(
      lambda value: _map_possible(function, value, *own_operands), (own,), (jnp.ones_like(own),)
    )
    change = values_dot * jnp.where(marked, slope, 1)
  for place, operand_dot in enumerate(operands_dot):
    if not _is_symbolic_zero(operand_dot):
      one_hot = [jnp.full_like(own, place == i) for i in range(len(operands))]
      _, slope = jax.jvp(functools.partial(_map_possible, function, own), own_operands, one_hot)
      change += jnp.where(marked, slope * operand_dot, 0)
  return _map_index(function, values, labels, operands), change


def _is_symbolic_zero(tangent) -> bool:
  return isinstance(tangent, jax.custom_derivatives.SymbolicZero)
