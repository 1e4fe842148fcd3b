"""Arrays: what is asked of arguments, in which type they are computed, and over which devices.

Sums and products are taken in float32 or wider, and results have the type of the input. On a mesh
with Explicit axes an array's type says how it is sharded; inside `jax.shard_map` it says over which
axes the array varies, that is, differs between devices.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def check_at_least(name: str, value: Any, bound: float, remedy: str, *, strict: bool = False):
  """Raise a ValueError unless the value is finite and at least (or above) the bound.

  A traced value has no number yet and passes: whoever traces a hyperparameter, to learn or to
  batch it, keeps it in range.
  """
  if isinstance(value, jax.core.Tracer):
    return
  number = np.asarray(value, dtype=np.float64)
  holds = (number > bound) if strict else (number >= bound)
  if not np.all(holds & np.isfinite(number)):
    relation = ">" if strict else ">="
    raise ValueError(f"Got {name}={value}; it must be finite and {relation} {bound:g}. {remedy}")


def check_fraction(name: str, value: Any, *, or_one: bool = False):
  """Raise a ValueError unless 0 <= value < 1, or <= 1 if that is allowed (a tracer passes)."""
  if isinstance(value, jax.core.Tracer):
    return
  number = np.asarray(value, dtype=np.float64)
  if not np.all((number >= 0) & ((number <= 1) if or_one else (number < 1))):
    interval = "[0, 1]" if or_one else "[0, 1)"
    raise ValueError(f"Got {name}={value}; it must lie in {interval}. Pass 0 to switch it off.")


def check_epsilon(epsilon: Any, *, typical: float):
  """Raise a ValueError unless epsilon is positive and not lost in float32 (a tracer passes)."""
  smallest = float(np.finfo(np.float32).tiny)
  check_at_least("epsilon", epsilon, smallest, f"Pass {typical:g} or so.")


def check_option_shape(name: str, value: Any, shape: tuple[int, ...]):
  """Raise a ValueError if an option would enlarge the values of this shape that it applies to."""
  if not broadcasts_to(np.shape(value), shape):
    raise ValueError(
      f"Got {name} of shape {np.shape(value)} for values of shape {shape}; it must be a number, "
      "or broadcast to them. For several values of it at once use jax.vmap."
    )


def as_option(name: str, value: Any, shape: tuple[int, ...], dtype: jnp.dtype) -> Any:
  """Return an option in the type of the values of this shape that it applies to.

  Python's numbers have no type of their own, and stay. An option that would enlarge the values is a
  ValueError.
  """
  check_option_shape(name, value, shape)
  return value if type(value) in (int, float) else jnp.asarray(value, dtype)


def along(vector: jax.Array, arrays: jax.Array, axis: int) -> jax.Array:
  """Return a vector of one value a channel in the shape that meets the arrays' axis."""
  shape = [1] * arrays.ndim
  shape[axis] = -1
  return vector.reshape(shape)


def is_integer(value: Any) -> bool:
  """Tell integers, NumPy's among them, from booleans and from all else."""
  return isinstance(value, int | np.integer) and not isinstance(value, bool)


def check_integer(name: str, value: Any, least: int = 1, most: int | None = None, remedy: str = ""):
  """Raise a ValueError unless the value is an integer within bounds."""
  if not is_integer(value) or value < least or (most is not None and value > most):
    bounds = f"of at least {least}" if most is None else f"between {least} and {most}"
    raise ValueError(f"Got {name}={value!r}; it must be an integer {bounds}. {remedy}".rstrip())


def check_sizes(name: str, sizes: Any, form: str):
  """Raise a ValueError unless the sizes of a block are two positive integers, of a form."""
  pair = isinstance(sizes, tuple) and len(sizes) == 2
  if not pair or not all(is_integer(size) and size > 0 for size in sizes):
    raise ValueError(f"Got {name}={sizes!r}; it must be {form}.")


def is_plain_zero(option: Any) -> bool:
  """Tell a plain 0, whose term can be left out, from other numbers and from tracers."""
  return isinstance(option, int | float) and option == 0


def check_num_classes(num_classes: Any):
  """Raise a ValueError unless the number of classes is a positive integer that int32 can hold."""
  if not is_integer(num_classes) or not 1 <= num_classes < 2**31:
    raise ValueError(
      f"Got num_classes={num_classes!r}; it must be an integer of at least 1, below 2^31."
    )


def check_class_axis(values: jax.Array, axis: Any = -1):
  """Raise an error unless the values have the axis, and it is a single one."""
  if values.ndim == 0:
    raise ValueError("Got a scalar where classes are expected; pass an array of shape [..., K].")
  if not is_integer(axis):
    raise TypeError(
      f"Got axis={axis!r}; it must be one integer. Classes that lie along several axes can be "
      "put along one with jnp.reshape."
    )
  if not -values.ndim <= axis < values.ndim:
    raise ValueError(
      f"Got axis={axis} for values of shape {values.shape}; it must be between {-values.ndim} and "
      f"{values.ndim - 1}."
    )


def check_any_class(values: jax.Array | jax.ShapeDtypeStruct, axis: Any = -1):
  """Raise an error unless the values have the axis, and at least one class along it."""
  check_class_axis(values, axis)
  if values.shape[axis] == 0:
    raise ValueError(
      f"Got values of shape {values.shape}, without a class along axis {axis}; there must be at "
      "least one. Pass an array of shape [..., K] with K >= 1."
    )


def broadcasts_to(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
  """Tell whether an array of one shape broadcasts to another without enlarging it."""
  sizes = zip(shape[::-1], target[::-1], strict=False)
  return len(shape) <= len(target) and all(size in (1, full) for size, full in sizes)


def check_features(features: jax.typing.ArrayLike, kernel: jax.Array) -> jax.Array:
  """Return features `[..., D]` as an array after checking that they fit a kernel `[D, K]`."""
  features, kernel_shape = jnp.asarray(features), np.shape(kernel)
  if features.ndim == 0 or len(kernel_shape) != 2 or features.shape[-1] != kernel_shape[0]:
    raise ValueError(
      f"Got features of shape {features.shape} for a kernel of shape {kernel_shape}; "
      "they must have the shapes [..., D] and [D, K]."
    )
  return features


def wide_type(*arrays: jax.typing.ArrayLike) -> jnp.dtype:
  """Return the type in which sums over some arrays are taken: float32, or wider if one is."""
  # Widening loses nothing, so that it is right under strict promotion too.
  with jax.numpy_dtype_promotion("standard"):
    return jnp.promote_types(jnp.result_type(*arrays), jnp.float32)


def widen(values: jax.typing.ArrayLike) -> tuple[jax.Array, jnp.dtype]:
  """Return the values in a type fit for arithmetic, and the floating type for the result.

  float16 and bfloat16 widen to float32, because sums and polynomials lose digits or overflow
  in them; integers and booleans become the default float. float32 and float64 stay.
  """
  values = jnp.asarray(values)
  if jnp.issubdtype(values.dtype, jnp.complexfloating):
    raise TypeError(f"Got values of type {values.dtype}; softmax needs real numbers.")
  if not jnp.issubdtype(values.dtype, jnp.floating):
    values = values.astype(jnp.result_type(float))
  result_type = values.dtype
  return values.astype(wide_type(values)), result_type


def product(features: jax.Array, kernel: jax.Array, *, dtype: Any = None) -> jax.Array:
  """Multiply `[..., D]` and `[D, K]`; float16 and bfloat16 are summed in float32.

  So is the result, unless another type is asked for.
  """
  dtype = dtype or wide_type(features, kernel)
  batch = features.shape[:-1]
  if len(batch) > 1 and jax.default_backend() == "cpu" and not has_explicit_mesh(features):
    # The gradient for the kernel sums over the batch. On CPU, XLA has a fast routine for a sum over
    # one axis; over two it took ten times as long for 4 x 256 examples, 32 features, 4,000 classes.
    flat = features.reshape(math.prod(batch), features.shape[-1])
    return jnp.matmul(flat, kernel, preferred_element_type=dtype).reshape(*batch, kernel.shape[-1])
  return jnp.matmul(features, kernel, preferred_element_type=dtype)


def affine(features: jax.Array, kernel: jax.Array, bias: Any = None) -> jax.Array:
  """Return the logits `[..., K]` of a dense layer, which may have a bias, `[K]`."""
  logits = product(features, kernel)
  return logits if bias is None else logits + per_class(bias, logits)


def norms(values: jax.Array, *, axis: int) -> jax.Array:
  """Compute Euclidean norms along an axis, whose gradient at zero is zero rather than NaN.

  Norms of which squares are lost, in float32 those below 3e-16, are zero.
  """
  values, _ = widen(values)
  squares = jnp.sum(values**2, axis=axis)
  # Squares below the smallest number are zeros; a sum that is no larger may lack most of itself.
  limits = jnp.finfo(values.dtype)
  nonzero = squares > limits.tiny / limits.eps
  return jnp.where(nonzero, jnp.sqrt(jnp.where(nonzero, squares, 1)), 0)


def unit_length(vectors: jax.typing.ArrayLike, *, axis: int = -1) -> jax.Array:
  """Scale vectors to unit length, in float32 or wider; one of norm zero stays as it is.

  Its gradient stays of ordinary size.
  """
  vectors, _ = widen(vectors)
  lengths = jnp.expand_dims(norms(vectors, axis=axis), axis)
  return vectors / jnp.where(lengths > 0, lengths, 1)


def expand(array: jax.Array, other: jax.Array) -> jax.Array:
  """Return an array with as many axes as another.

  JAX adds them by itself unless `jax_numpy_rank_promotion` forbids it.
  """
  return jnp.expand_dims(array, tuple(range(other.ndim - array.ndim)))


def per_class(values: jax.typing.ArrayLike, logits: jax.Array) -> jax.Array:
  """Return one number a class, `[K]`, with the rank and in the type of logits `[..., K]`."""
  return expand(jnp.asarray(values, logits.dtype), logits)


def check_per_class(name: str, values: Any, num_classes: int):
  """Raise a ValueError unless there is one number for each class, `[K]`."""
  if np.shape(values) != (num_classes,):
    raise ValueError(
      f"Got {name} of shape {np.shape(values)} for {num_classes} classes; it must have shape "
      f"({num_classes},), one number for each class."
    )


def as_labels(labels: jax.typing.ArrayLike) -> jax.Array:
  """Return labels as an array; those that JAX would wrap from 64 bits to 32 stay out of range."""
  if isinstance(labels, np.ndarray | np.integer) and labels.dtype.name in ("int64", "uint64"):
    least = -(2**31) if labels.dtype.kind == "i" else 0
    labels = np.clip(labels, least, 2**31 - 1)
  return jnp.asarray(labels)


def as_index(labels: jax.Array) -> jax.Array:
  """Widen small integers: numbers of 1000 classes wrap in the uint8 that image labels have."""
  return labels.astype(jnp.int32) if labels.dtype.itemsize < 4 else labels


def look_up(table: jax.typing.ArrayLike, indices: jax.Array) -> jax.Array:
  """Take entries along the last axis of a table `[..., K]`, sharded as the indices are.

  The indices are clipped to the table; their axes take the place of its last one.
  """
  table, indices, sharding = jnp.asarray(table), as_index(indices), None
  if has_explicit_mesh(indices):
    given = jax.typeof(indices).sharding
    spec = jax.sharding.PartitionSpec(*[None] * (table.ndim - 1), *given.spec)
    sharding = jax.sharding.NamedSharding(given.mesh, spec)
  entries = table.at[..., indices]
  return entries.get(mode="clip", wrap_negative_indices=False, out_sharding=sharding)


def evaluate(function: Callable[..., Any], *arguments: np.ndarray) -> Any:
  """Return what a function makes of known arrays, as NumPy's; also while a program is traced.

  As one program: of its single operations JAX leaves those with a rule of differentiation of their
  own, as `jax.nn.relu`, to a trace of `jax.vmap`.
  """
  with jax.ensure_compile_time_eval(), jax.debug_nans(False):
    return jax.tree.map(np.asarray, jax.jit(function)(*arguments))


def has_explicit_mesh(array: jax.Array) -> bool:
  """Tell whether an array lives on a mesh with Explicit axes, where shardings are part of types."""
  mesh = jax.typeof(array).sharding.mesh
  return not mesh.empty and bool(mesh.explicit_axes)


def varying_axes(*trees: Any) -> frozenset[str]:
  """Return the axes over which any of some arrays varies; none outside of `jax.shard_map`."""
  return frozenset().union(
    *(jax.typeof(leaf).manual_axis_type.varying for leaf in jax.tree.leaves(trees))
  )


def vary(tree: Any, axes: frozenset[str]) -> Any:
  """Return arrays whose type says that they may vary over some axes, as a loop's state must."""

  def cast(leaf):
    missing = tuple(sorted(axes - varying_axes(leaf)))
    return jax.lax.pcast(leaf, missing, to="varying") if missing else leaf

  return jax.tree.map(cast, tree)


def match_gradient(gradient: jax.Array, value: jax.Array) -> jax.Array:
  """Return the gradient of a value that may be the same on several devices.

  Each of them has the gradient of its own part of the loss; the value's is their sum.
  """
  shared = tuple(sorted(varying_axes(gradient) - varying_axes(value)))
  gradient = jax.lax.psum(gradient, shared) if shared else gradient
  return vary(gradient, varying_axes(value))
