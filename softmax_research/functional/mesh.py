"""Meshes of devices: whether an array's sharding is part of its type."""

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
