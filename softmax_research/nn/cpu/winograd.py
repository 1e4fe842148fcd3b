"""Winograd's 3 by 3 convolution: a quarter of the multiplications, for some more additions."""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from softmax_research.functional.arrays import match_gradient
from softmax_research.nn.cpu.convolution import Padding, shift

# Along one axis, four outputs come from six inputs, a tile, and three weights by six products:
# outputs = _OUTPUT @ ((_KERNEL @ weights) * (_INPUT @ inputs)). Lavin and Gray, section 4.3.
_TILE, _REACH = 4, 6
_INPUT = np.array(
  [
    [4, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
  ]
)
_KERNEL = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
_OUTPUT = np.array(
  [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]
)


def saves_products(
  image_shape: Sequence[int], kernel_shape: Sequence[int], padding: Padding
) -> bool:
  """Say whether tiles save at least half of the multiplications, and enough of them to matter.

  The arguments are as of `conv_3x3`, shapes `[C, H, W, B]` and `[U, V, C, F]`.
  """
  # A transformed number serves as many products as there are channels on the other side.
  if tuple(kernel_shape[:2]) != (3, 3) or min(kernel_shape[2:]) < 16:
    return False
  sizes = _output_sizes(image_shape, padding)
  products = math.prod(_REACH * _num_tiles(size) for size in sizes)
  return 2 * products <= 9 * math.prod(sizes)


# Measured on two AVX-512 cores, forward and gradient of one layer, batch 128, against the shifts of
# `convolve`: 32 to 64 channels on 14 by 14, 1.9 times as fast; 32 to 32 on 32 by 32, 1.5; 64 to
# 64 on 16 by 16, 2.0; 128 to 128 on 8 by 8, 1.9.
# - Six products of six matrices: one of all 36 waits for a copy of all tiles into one array, and 36
#   of one each pay for a call each.
# - The stack of tiles stands by itself: as a part of the product's flat operand, the compiler would
#   divide for the place of every number, and the transforms would take twice as long. It keeps no
#   tiles of the forward pass by itself then, so they are residuals.
# - The gradient for the images is the forward map transposed, step by step. As another convolution,
#   of the cotangents, it would need tiles that the gradient for the kernel has no use for.
@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv_3x3(images: jax.Array, kernel: jax.Array, padding: Padding) -> jax.Array:
  r"""Convolve images `[C, H, W, B]` with a kernel `[3, 3, C, F]` in tiles of 4 by 4 outputs.

  .. math:: Y = A^T \Big[ \sum_c (G\, k_{c,f}\, G^T) \odot (B^T x_c\, B) \Big] A

  Every tile takes 36 products a pair of channels in place of 144. The result is rounded about ten
  times as much as that of a plain convolution, to some 1e-5 of its largest value in float32, and an
  infinite or missing pixel spoils its whole tile. There are derivatives in reverse mode, of any
  order, but none in forward mode. F(4x4, 3x3) of Lavin and Gray 2016, "Fast Algorithms for
  Convolutional Neural Networks" (arXiv 1509.09308).
  """
  return _forward(images, kernel, padding)[0]


def _forward(images, kernel, padding):
  height, width = _output_sizes(images.shape, padding)
  rows = _take_inputs(images, 1, padding[0])
  tiles = [_flatten(_take_inputs(row, 2, padding[1])) for row in rows]
  weights = _spread_kernel(kernel)
  products = [
    _unflatten(_multiply(w, t), height, width) for w, t in zip(weights, tiles, strict=True)
  ]
  columns = [_gather_outputs(list(p), 2, width) for p in products]
  return _gather_outputs(columns, 1, height), (tiles, kernel)


def _backward(padding, residuals, cotangents):
  tiles, kernel = residuals
  height, width = cotangents.shape[1:3]
  d_products = [
    _flatten(_gather_outputs_transposed(row, 2))
    for row in _gather_outputs_transposed(cotangents, 1)
  ]
  d_weights = [
    lax.dot_general(d, t, (((2,), (2,)), ((0,), (0,))))
    for d, t in zip(d_products, tiles, strict=True)
  ]
  # The barrier keeps the transposition, of a small array, out of the product, which is faster so.
  transposed = lax.optimization_barrier(_spread_kernel(kernel).swapaxes(2, 3))
  d_tiles = [
    _unflatten(_multiply(w, d), height, width) for w, d in zip(transposed, d_products, strict=True)
  ]
  row_padding, column_padding = padding
  sizes = [size + 2 - sum(pads) for size, pads in zip((height, width), padding, strict=True)]
  columns = [_take_inputs_transposed(list(d), 2, sizes[1], column_padding) for d in d_tiles]
  d_images = _take_inputs_transposed(columns, 1, sizes[0], row_padding)
  factors = jnp.asarray(_KERNEL, kernel.dtype)
  d_kernel = jnp.einsum("abfc,au,bv->uvcf", jnp.stack(d_weights), factors, factors)
  return match_gradient(d_images, tiles), match_gradient(d_kernel, kernel)


conv_3x3.defvjp(_forward, _backward)


def _num_tiles(size: int) -> int:
  return -(-size // _TILE)


def _output_sizes(image_shape: Sequence[int], padding: Padding) -> list[int]:
  return [size + sum(pads) - 2 for size, pads in zip(image_shape[1:3], padding, strict=True)]


def _spread_kernel(kernel: jax.Array) -> jax.Array:
  """Return the transformed kernel `[6, 6, F, C]`."""
  factors = jnp.asarray(_KERNEL, kernel.dtype)
  return jnp.einsum("au,bv,uvcf->abfc", factors, factors, kernel)


def _multiply(matrices: jax.Array, arrays: jax.Array) -> jax.Array:
  """Return six products of matrices."""
  return lax.dot_general(matrices, arrays, (((2,), (1,)), ((0,), (0,))))


def _flatten(arrays: Sequence[jax.Array]) -> jax.Array:
  """Stack six arrays `[C, T, T', B]` to `[6, C, T * T' * B]`."""
  stacked = lax.optimization_barrier(jnp.stack(arrays))
  return stacked.reshape(*stacked.shape[:2], -1)


def _unflatten(arrays: jax.Array, height: int, width: int) -> jax.Array:
  return arrays.reshape(*arrays.shape[:2], _num_tiles(height), _num_tiles(width), -1)


def _combine(factors: np.ndarray, arrays: Sequence[jax.Array]) -> jax.Array:
  """Add up the arrays times their factors, which are small integers and often 0 or 1."""
  terms = [a if f == 1 else a * int(f) for f, a in zip(factors, arrays, strict=True) if f]
  return sum(terms[1:], terms[0])


def _take_inputs(arrays: jax.Array, axis: int, padding: tuple[int, int]) -> list[jax.Array]:
  """Transform every tile along an axis: six arrays with the tiles in its place."""
  size = arrays.shape[axis]
  tiles = _num_tiles(size + sum(padding) - 2)
  # The last tile may need more zeros than there are, or fewer.
  arrays = shift(arrays, axis, (padding[0], _TILE * tiles + 2 - padding[0] - size))
  starts = range(_REACH)
  inputs = [lax.slice_in_dim(arrays, s, s + _TILE * (tiles - 1) + 1, _TILE, axis) for s in starts]
  return [_combine(row, inputs) for row in _INPUT]


def _take_inputs_transposed(
  tiles: Sequence[jax.Array], axis: int, size: int, padding: tuple[int, int]
) -> jax.Array:
  """Add up the six arrays where their tiles overlap, by two of six places."""
  inputs = [_combine(column, tiles) for column in _INPUT.T]
  here, before = (
    [shift(i, axis, (0, 1)) for i in inputs[:4]],
    [shift(i, axis, (1, 0)) for i in inputs[4:]],
  )
  rows = [here[0] + before[0], here[1] + before[1], here[2], here[3]]
  return _crop(_interleave(rows, axis), axis, padding[0], size)


def _gather_outputs(products: Sequence[jax.Array], axis: int, size: int) -> jax.Array:
  """Return the outputs along an axis from six arrays of tiles."""
  return _crop(_interleave([_combine(row, products) for row in _OUTPUT], axis), axis, 0, size)


def _gather_outputs_transposed(arrays: jax.Array, axis: int) -> list[jax.Array]:
  size = arrays.shape[axis]
  arrays = shift(arrays, axis, (0, _TILE * _num_tiles(size) - size))
  outputs = [lax.slice_in_dim(arrays, s, arrays.shape[axis], _TILE, axis) for s in range(_TILE)]
  return [_combine(column, outputs) for column in _OUTPUT.T]


def _interleave(arrays: Sequence[jax.Array], axis: int) -> jax.Array:
  """Lay the arrays' entries along the axis by turns."""
  stacked = jnp.stack(arrays, axis + 1)
  return stacked.reshape(*stacked.shape[:axis], -1, *stacked.shape[axis + 2 :])


def _crop(arrays: jax.Array, axis: int, start: int, size: int) -> jax.Array:
  """Return entries along the axis; what lies outside the array is zero."""
  return shift(arrays, axis, (-start, start + size - arrays.shape[axis]))
