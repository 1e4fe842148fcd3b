"""Meshes of devices: what an array's type says of its sharding.

On a mesh with Explicit axes a type says how the array is sharded. Inside `jax.shard_map` it says
over which axes the array varies, that is, differs between devices.
"""

from typing import Any

import jax


def has_explicit_mesh(array: jax.Array) -> bool:
  """Tell whether an array lives on a mesh with Explicit axes, where shardings are part of types.

  Example:
    >>> import jax.numpy as jnp
    >>> has_explicit_mesh(jnp.zeros(3))
    False
  """
  mesh = jax.typeof(array).sharding.mesh
  return not mesh.empty and bool(mesh.explicit_axes)


def varying_axes(*trees: Any) -> frozenset[str]:
  """Return the axes over which any of some arrays varies; none outside of `jax.shard_map`.

  Example:
    >>> import jax.numpy as jnp
    >>> varying_axes(jnp.zeros(3))
    frozenset()
  """
  return frozenset().union(
    *(jax.typeof(leaf).manual_axis_type.varying for leaf in jax.tree.leaves(trees))
  )


def vary(tree: Any, axes: frozenset[str]) -> Any:
  """Return arrays whose type says that they may vary over some axes, as a loop's state must.

  Example:
    >>> import jax.numpy as jnp
    >>> vary(jnp.zeros(1), frozenset())
    Array([0.], dtype=float32)
  """

  def cast(leaf):
    missing = tuple(sorted(axes - varying_axes(leaf)))
    return jax.lax.pcast(leaf, missing, to="varying") if missing else leaf

  return jax.tree.map(cast, tree)


def match_gradient(gradient: jax.Array, value: jax.Array) -> jax.Array:
  """Return the gradient of a value that may be the same on several devices.

  Each of them has the gradient of its own part of the loss; the value's is their sum.

  Example:
    >>> import jax.numpy as jnp
    >>> match_gradient(jnp.ones(1), jnp.zeros(1))
    Array([1.], dtype=float32)
  """
  shared = tuple(sorted(varying_axes(gradient) - varying_axes(value)))
  gradient = jax.lax.psum(gradient, shared) if shared else gradient
  return vary(gradient, varying_axes(value))
