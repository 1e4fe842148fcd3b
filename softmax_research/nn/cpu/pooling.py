"""Max pooling over windows that do not overlap."""

import functools

import jax
import jax.numpy as jnp

from softmax_research.functional.arrays import check_integer


def max_pool(images: jax.Array, window: int) -> jax.Array:
  r"""Keep the largest value of every window of `window` by `window` positions.

  .. math:: y_{b,i,j,c} = \max_{u,v < w} x_{b,\,wi+u,\,wj+v,\,c}

  Rows and columns left over at the far edges are dropped, as 7 becomes 3. Among equal values the
  gradient goes to the first in row-major order, as in the library's `reduce_window`. There are
  derivatives in reverse mode, of any order, but none in forward mode: the gradient is
  hand-written.

  Args:
    images: `[B, H, W, C]`, or any other layout with the positions in the two middle axes.
    window: w, the window's size and stride.

  Returns:
    Images `[B, H // w, W // w, C]`.

  Raises:
    ValueError: the window is no integer of at least 1.

  Example:
    >>> max_pool(jnp.arange(9.0).reshape(1, 3, 3, 1), 2).tolist()
    [[[[4.0]]]]
  """
  check_integer("window", window)
  outer, height, width, inner = images.shape
  rows, columns = height // window, width // window
  images = images[:, : rows * window, : columns * window]
  return _pool(images.reshape(outer, rows, window, columns, window, inner), window)


# By itself, JAX shares the gradient among equals, and the compiler for CPU computes the comparisons
# again for every user: that was the slowest part of a training step.
@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _pool(blocks: jax.Array, window: int) -> jax.Array:
  """Reduce axes 2 and 4 of `[outer, rows, window, columns, window, inner]`."""
  return jnp.max(blocks, axis=(2, 4))


def _forward(blocks, window):
  # The winner's place in its window takes a byte, so the images need not be kept. It is not found
  # by equality with the largest value: the compiler may compute the blocks twice, and round them
  # otherwise, so that none would be equal and the window would lose its gradient.
  rivals = jax.lax.stop_gradient(blocks)
  best, places = rivals[:, :, 0, :, 0], _places(window)
  winner = jnp.zeros(best.shape, places.dtype)
  for place in range(1, window**2):
    rival = rivals[:, :, place // window, :, place % window]
    winner = jnp.where(rival > best, places.ravel()[place], winner)
    best = jnp.maximum(best, rival)
  return _pool(blocks, window), winner


def _backward(window, winner, cotangents):
  return (jnp.where(_spread(winner) == _places(window), _spread(cotangents), 0),)


_pool.defvjp(_forward, _backward)


def _places(window: int) -> jax.Array:
  """Return the place of each position of a window in row-major order, `[1, 1, w, 1, w, 1]`."""
  dtype = jnp.uint8 if window**2 < 256 else jnp.int32
  return jnp.arange(window**2, dtype=dtype).reshape(1, 1, window, 1, window, 1)


def _spread(pooled: jax.Array) -> jax.Array:
  return pooled[:, :, None, :, None]
