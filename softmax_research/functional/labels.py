"""Labels: class indices `[...]` or distributions `[..., K]`, selected without scatter."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from softmax_research.functional.arrays import (
  along,
  as_index,
  as_labels,
  check_any_class,
  check_class_axis,
  check_per_class,
  has_explicit_mesh,
  is_integer,
  look_up,
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


def read_several(
  labels: jax.typing.ArrayLike,
  values: jax.Array | jax.ShapeDtypeStruct,
  ignore_label: int | None = None,
  *,
  axis: int = -1,
):
  """Return labels, and which examples have labels that are some, `[...]`; None if all have.

  Integers of the values' shape, which are 1 for each label of an example, become numbers; in an
  example that has others there are none. They leave no place for a label that is ignored.
  """
  labels = as_labels(labels)
  if labels.shape != values.shape or not jnp.issubdtype(labels.dtype, jnp.integer):
    return labels, None
  if ignore_label is not None:
    raise ValueError(
      f"Got ignore_label={ignore_label} and integer labels of shape {labels.shape}, rows of zeros "
      "and ones; what is ignored stands in place of the one label of an example, and a row of "
      "zeros says that it has none. Leave out examples whose labels are not known, and pass "
      "ignore_label=None."
    )
  weights = labels.astype(values.dtype)
  known = jnp.all((weights == 0) | (weights == 1), axis=axis, keepdims=True)
  return jnp.where(known, weights, 0), jnp.squeeze(known, axis)


def check_class_labels(
  labels: jax.typing.ArrayLike, shape: tuple[int, ...], num_classes: int, remedy: str
) -> jax.Array:
  """Return integer labels as an array after checking their type and shape.

  Their type holds every class; labels out of range are left to the caller. The remedy says what
  to use for distributions over classes.
  """
  labels = as_labels(labels)
  if not jnp.issubdtype(labels.dtype, jnp.integer):
    raise TypeError(
      f"Got labels of type {labels.dtype}; this loss takes integers (class indices). {remedy}"
    )
  values = jax.ShapeDtypeStruct((*shape, num_classes), jnp.float32)
  return as_index(check_labels(labels, values))


class Targets(NamedTuple):
  """Hold checked labels, and how much the loss of each example's label counts.

  Attributes:
    labels: integers, 0 in place of the ignored one, or distributions times the class weights.
    known: which examples have labels that are some, `[...]`; None if all have.
    class_weights: of the values' rank; None for ones.
    weights: those of integer or several labels, `[...]`; None for ones.
    ignored: which examples have the ignored label, `[...]`; None if no label is ignored.
  """

  labels: jax.Array
  known: jax.Array | None
  class_weights: jax.Array | None
  weights: jax.Array | None
  ignored: jax.Array | None

  def weigh(self, losses: jax.Array) -> jax.Array:
    """Return the labels' losses times their weights; 0 for the weight 0, however large the loss."""
    return losses if self.weights is None else weigh(losses, self.weights)

  def normalise(self, axis: int) -> "Targets":
    """Return distributions that sum to one again, and their totals as weights.

    That is for losses that are not linear in the labels, as those with an entropy of them.
    """
    if self.class_weights is None or self.weights is not None:
      return self
    total = jnp.sum(self.labels, axis=axis, keepdims=True)
    labels = self.labels / jnp.where(total == 0, 1, total)
    return self._replace(labels=labels, weights=jnp.squeeze(total, axis))

  def finish(self, losses: jax.Array) -> jax.Array:
    """Return losses that are 0 for ignored examples and NaN for others that are not known."""
    losses = losses if self.known is None else jnp.where(self.known, losses, jnp.nan)
    return losses if self.ignored is None else jnp.where(self.ignored, 0, losses)


def weigh(losses: jax.Array, weights: jax.Array) -> jax.Array:
  """Multiply losses by weights, where 0 times infinity or NaN is 0, and the gradient too."""
  losses = jnp.where((weights == 0) & ~jnp.isfinite(losses), 0, losses)
  return weights.astype(losses.dtype) * losses


def check_targets(
  labels: jax.typing.ArrayLike,
  values: jax.Array | jax.ShapeDtypeStruct,
  class_weights: jax.typing.ArrayLike | None = None,
  ignore_label: int | None = None,
  axis: int = -1,
  *,
  several: bool = False,
) -> Targets:
  """Return the labels, as `check_labels`, with what the weights and the ignored label make of them.

  A distribution q over classes becomes q_k w_k, so that a loss that is linear in it, as all
  expectations over labels are, is weighted already. Where an example may have several labels, see
  `read_several`, they stay, and its loss has the mean of their weights; 1 if it has none.
  """
  known = weights = None
  if several:
    labels, known = read_several(labels, values, ignore_label, axis=axis)
  labels, num_classes = check_labels(labels, values, axis=axis), values.shape[axis]
  if class_weights is not None:
    check_any_class(values, axis)
  check_class_weights(class_weights, num_classes)
  ignored = find_ignored(labels, ignore_label)
  if jnp.issubdtype(labels.dtype, jnp.floating):
    labels = labels.astype(values.dtype)
  if ignored is not None:
    labels = jnp.where(ignored, 0, labels)
  is_index = jnp.issubdtype(labels.dtype, jnp.integer)
  if is_index:
    known = is_known(labels, num_classes)
  if class_weights is not None:
    class_weights = jnp.asarray(class_weights, values.dtype)
    if is_index:
      weights = jnp.where(known, look_up(class_weights, labels), 0)
      weights = weights if ignored is None else jnp.where(ignored, 0, weights)
    class_weights = along(class_weights, values, axis)
    if several and not is_index:
      total, weighted = (jnp.sum(given, axis=axis) for given in (labels, labels * class_weights))
      weights = jnp.where(total == 0, 1, weighted / jnp.where(total == 0, 1, total))
    elif not is_index:
      labels = labels * class_weights
  return Targets(labels, known, class_weights, weights, ignored)


def check_class_weights(class_weights: Any, num_classes: int) -> None:
  """Raise a ValueError unless there is one weight, finite and at least 0, for each class."""
  if class_weights is None:
    return
  check_per_class("class_weights", class_weights, num_classes)
  if isinstance(class_weights, jax.core.Tracer):
    return
  weights = np.asarray(class_weights, np.float64)
  if np.any(wrong := ~(np.isfinite(weights) & (weights >= 0))):
    first = int(np.argmax(wrong))
    raise ValueError(
      f"Got the class weight {weights[first]} of class {first}; weights must be finite and at "
      "least 0. Pass 0 for a class whose examples are not to count."
    )


def check_ignore_label(ignore_label: Any) -> None:
  """Raise a TypeError unless the ignored label is an integer, a class or none, or not given."""
  if ignore_label is not None and not is_integer(ignore_label):
    raise TypeError(
      f"Got ignore_label={ignore_label!r}; it must be one integer, as -1, or None. To leave out "
      "other examples, multiply their losses by 0."
    )


def find_ignored(labels: jax.Array, ignore_label: int | None) -> jax.Array | None:
  """Mark the examples whose integer label is the ignored one; None if none can be."""
  check_ignore_label(ignore_label)
  if ignore_label is None or not jnp.issubdtype(labels.dtype, jnp.integer):
    return None
  labels = as_index(labels)
  bounds = jnp.iinfo(labels.dtype)
  if not bounds.min <= ignore_label <= bounds.max:
    return None  # as -1 among unsigned numbers
  return labels == jnp.asarray(ignore_label, labels.dtype)


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


def select_label(values: jax.Array, labels: jax.Array, *, axis: int = -1) -> jax.Array:
  """Pick each example's value at its label; 0 where the label is out of range.

  NaN in its place would be the slope of whatever it is multiplied by, as of a learnt weight.
  """
  known = is_known(labels, values.shape[axis])
  return jnp.where(known, _pick_label(values, labels, axis), 0)


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


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def expectation(weights: jax.Array, values: jax.Array, axis: int = -1) -> jax.Array:
  """Sum values in proportion to weights: sum_k q_k v_k, where 0 times -inf is 0.

  The weights are not negative and the values below infinity.
  """
  # As in `sum_exponentials`, a mask would cost an array. So -inf becomes the lowest number, and
  # the weights are scaled up so far that what has any weight there, 1e-24 or more in float32,
  # still overflows to -inf.
  precision = jnp.finfo(values.dtype)
  # Behind a barrier: of constant values XLA would make one factor of this and the lowest number,
  # and 0 times infinity.
  scale = jax.lax.optimization_barrier(
    jnp.exp2(jnp.full((), 5 * precision.maxexp // 8, values.dtype))
  )
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
  return values + labels.astype(values.dtype) * change


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
