"""Output layers: their features and labels checked, their products in float32 or wider."""

import jax
import jax.numpy as jnp

from softmax_research.functional.labels import as_index, check_labels
from softmax_research.functional.mesh import has_explicit_mesh
from softmax_research.functional.precision import wide_type, widen


def product(features: jax.Array, kernel: jax.Array) -> jax.Array:
  r"""Multiply features and kernel; float16 and bfloat16 are summed in float32.

  Args:
    features: `[..., D]`.
    kernel: `[D, K]`.

  Returns:
    `[..., K]`, in float32 or the wider type of the two.

  Example:
    >>> import jax.numpy as jnp
    >>> product(jnp.ones((2, 3), jnp.bfloat16), jnp.ones((3, 4), jnp.bfloat16)).dtype.name
    'float32'
  """
  return jnp.matmul(features, kernel, preferred_element_type=wide_type(features, kernel))


def norms(values: jax.Array, *, axis: int) -> jax.Array:
  r"""Compute Euclidean norms, whose gradient at zero is zero rather than NaN.

  Args:
    values: numbers of any shape; float16 and bfloat16 are squared in float32.
    axis: the axis of the vectors.

  Returns:
    The shape of the values without that axis, in float32 or wider.

  Example:
    >>> import jax.numpy as jnp
    >>> norms(jnp.array([[3.0, 4.0], [0.0, 0.0]]), axis=-1)
    Array([5., 0.], dtype=float32)
  """
  values, _ = widen(values)
  squares = jnp.sum(values**2, axis=axis)
  nonzero = squares > 0
  return jnp.where(nonzero, jnp.sqrt(jnp.where(nonzero, squares, 1)), 0)


def per_class(values: jax.typing.ArrayLike, logits: jax.Array) -> jax.Array:
  """Return one number a class, `[K]`, with the rank and in the type of logits `[..., K]`.

  JAX adds the axes by itself unless `jax_numpy_rank_promotion` forbids it.

  Example:
    >>> import jax.numpy as jnp
    >>> per_class(jnp.ones(3), jnp.ones((5, 2, 3))).shape
    (1, 1, 3)
  """
  values = jnp.asarray(values, logits.dtype)
  return jnp.expand_dims(values, tuple(range(logits.ndim - values.ndim)))


def look_up(table: jax.typing.ArrayLike, indices: jax.Array) -> jax.Array:
  r"""Take entries along the last axis of a table, sharded as the indices are.

  Args:
    table: `[..., K]`.
    indices: integers of any shape; clipped to the table.

  Returns:
    The table's shape without its last axis, then the shape of the indices.

  Example:
    >>> import jax.numpy as jnp
    >>> look_up(jnp.array([[1, 2, 3], [4, 5, 6]]), jnp.array([2, 0])).tolist()
    [[3, 1], [6, 4]]
  """
  table, indices, sharding = jnp.asarray(table), as_index(indices), None
  if has_explicit_mesh(indices):
    given = jax.typeof(indices).sharding
    spec = jax.sharding.PartitionSpec(*[None] * (table.ndim - 1), *given.spec)
    sharding = jax.sharding.NamedSharding(given.mesh, spec)
  return table.at[..., indices].get(mode="clip", out_sharding=sharding)


def check_features(features: jax.typing.ArrayLike, kernel: jax.Array) -> jax.Array:
  r"""Return features as an array after checking that they fit a kernel.

  Args:
    features: `[..., D]`.
    kernel: `[D, K]`.

  Returns:
    The features as an array.

  Raises:
    ValueError: the shapes do not fit.

  Example:
    >>> import jax.numpy as jnp
    >>> check_features([[1.0, 2.0]], jnp.zeros((2, 3))).shape
    (1, 2)
  """
  features, kernel_shape = jnp.asarray(features), jnp.shape(kernel)
  if features.ndim == 0 or len(kernel_shape) != 2 or features.shape[-1] != kernel_shape[0]:
    raise ValueError(
      f"Got features of shape {features.shape} for a kernel of shape {kernel_shape}; "
      "they must have the shapes [..., D] and [D, K]."
    )
  return features


def check_class_labels(
  labels: jax.typing.ArrayLike, features: jax.Array, num_classes: int, remedy: str
) -> jax.Array:
  r"""Return integer labels as an array after checking their type and shape.

  Args:
    labels: integers `[...]`.
    features: `[..., D]`; only the shape is used.
    num_classes: K.
    remedy: a sentence that says what to use for distributions over classes.

  Returns:
    The labels in a type that holds every class; labels out of range are left to the caller.

  Raises:
    TypeError: the labels are not integers.
    ValueError: they have another shape.

  Example:
    >>> import jax.numpy as jnp
    >>> check_class_labels([2, 0], jnp.zeros((2, 5)), 3, "Use cross_entropy.").tolist()
    [2, 0]
  """
  labels = jnp.asarray(labels)
  if not jnp.issubdtype(labels.dtype, jnp.integer):
    raise TypeError(
      f"Got labels of type {labels.dtype}; this loss takes integers (class indices). {remedy}"
    )
  values = jax.ShapeDtypeStruct((*features.shape[:-1], num_classes), jnp.float32)
  labels = check_labels(labels, values)
  return as_index(labels)
