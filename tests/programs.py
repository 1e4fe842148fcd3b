"""Functions as programs: outside of `jax.jit` every operation is compiled alone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np


def program(function):
  """Returns a function that computes the same, each call as one program.

  Arrays are its arguments. Numbers and all else are what they are without it.
  """

  @functools.wraps(function)
  def call(*arguments, **options):
    leaves, tree = jax.tree.flatten((arguments, options))
    is_array = [isinstance(leaf, np.ndarray | jax.Array) for leaf in leaves]
    arrays = [leaf if given else None for leaf, given in zip(leaves, is_array, strict=True)]
    # With their types, as 0 equals 0.0.
    others = tuple(
      None if given else (leaf, type(leaf)) for leaf, given in zip(leaves, is_array, strict=True)
    )
    return _run(function, tree, others, arrays)

  return call


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _run(function, tree, others, arrays):
  leaves = [
    array if other is None else other[0] for array, other in zip(arrays, others, strict=True)
  ]
  arguments, options = tree.unflatten(leaves)
  return function(*arguments, **options)


def values_and_gradient(function, array):
  """Returns a function's values and the gradient of their sum, of one program."""

  @jax.jit
  def run(array):
    values, pull_back = jax.vjp(function, array)
    return values, pull_back(jnp.ones_like(values))[0]

  return jax.device_get(run(array))
