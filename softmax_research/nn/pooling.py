"""Max pooling over windows that do not overlap."""

import functools

import jax
import jax.numpy as jnp


def max_pool(images: jax.Array, window: int) -> jax.Array:
  r"""Keep the largest value of every window of `window` by `window` positions.

  .. math:: y_{b,i,j,c} = \max_{u,v < w} x_{b,\,wi+u,\,wj+v,\,c}

  Rows and columns left over at the far edges are dropped, as 7 becomes 3. Among equal values the
  gradient goes to the first in row-major order, as in the library's `reduce_window`.

  Args:
    images: `[B, H, W, C]`.
    window: w, the window's size and stride.

  Returns:
    Images `[B, H // w, W // w, C]`.

  Example:
    >>> max_pool(jnp.arange(9.0).reshape(1, 3, 3, 1), 2).tolist()
    [[[[4.0]]]]
  """
  batch, height, width, channels = images.shape
  rows, columns = height // window, width // window
  images = images[:, : rows * window, : columns * window]
  blocks = images.reshape(batch, rows, window, columns, window, channels)
  positions = [blocks[:, :, u, :, v] for u in range(window) for v in range(window)]
  # `select` sends the whole gradient to one side, where `maximum` would halve it between equals.
  return functools.reduce(_larger, positions)


def _larger(best, new):
  return jnp.where((new > best) | jnp.isnan(new), new, best)
