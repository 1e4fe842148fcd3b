"""Convolution as products of matrices: shifts gathered before them and added after."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from softmax_research.functional.arrays import match_gradient, wide_type

Padding = tuple[tuple[int, int], tuple[int, int]]
_Pads = list[tuple[int, int]]


# What follows was measured on two AVX-512 cores, in training steps inside `lax.scan`:
# - With the batch last, the innermost loops run over 128 numbers whatever the shape of the maps,
#   the gradient for the kernel is a product at full speed (in NHWC at half), and pooling, bias
#   and batch norm are long rows.
# - Gathering all nine shifts moves 9C + F numbers a position through memory; gathering along one
#   axis, multiplying, and adding shifts along the other moves 3C + 3F. The products are the same.
# - Letting JAX differentiate either form takes twice the time of a whole hand-written step: it
#   contracts over three axes at once, for which XLA first transposes the gathered images.


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolve(images: jax.Array, kernel: jax.Array, padding: Padding) -> jax.Array:
  r"""Convolve images `[C, H, W, B]` with a kernel `[U, V, C, F]`, with stride 1, as products.

  .. math:: y_{f,i,j,b} = \sum_{u,v,c} x_{c,\,i+u,\,j+v,\,b}\; k_{u,v,c,f}

  There are derivatives in reverse mode, of any order, but none in forward mode: JAX cannot attach
  both to one function without giving up the faster gradient. Sums are in float32 at least; in
  bfloat16 elsewhere than on CPU the sum for each column of the kernel is rounded before they are
  added. The padding must leave at least one position.
  """
  outputs = _product(_matrix(kernel), _gather(images, kernel, padding))
  if _scatters(kernel):
    outputs = _sum_shifts(outputs, 2, _crops(2, kernel, padding))
  return outputs.astype(images.dtype)


def _forward(images, kernel, padding):
  return convolve(images, kernel, padding), (images, kernel)


def _backward(padding, residuals, cotangents):
  images, kernel = residuals
  # Those of the transposed map.
  rows, columns = (
    [(-low, -high) for low, high in _crops(axis, kernel, padding)] for axis in (1, 2)
  )
  if _scatters(kernel):
    cotangents = _stack_shifts(cotangents, 2, columns)
  gathered = _gather(images, kernel, padding)  # The compiler keeps the one of the forward pass.
  # Flat on purpose: a contraction over three axes would transpose the gathered images first.
  d_matrix = _product(_flat(cotangents), _flat(gathered).T)
  d_gathered = _product(_matrix(kernel).T, cotangents)
  if not _scatters(kernel):
    d_gathered = _sum_shifts(d_gathered, 2, columns)
  d_images = _sum_shifts(d_gathered, 1, rows)
  d_kernel = _unmatrix(d_matrix, kernel).astype(kernel.dtype)
  return match_gradient(d_images.astype(images.dtype), images), match_gradient(d_kernel, kernel)


convolve.defvjp(_forward, _backward)


def fold_strides(
  images: jax.Array, kernel: jax.Array, padding: Padding, strides: tuple[int, int]
) -> tuple[jax.Array, jax.Array]:
  """Return images and kernel whose convolution without strides or padding is the one with them.

  Positions of the images that a step passes over become channels.
  """
  channels, batch, filters = images.shape[0], images.shape[-1], kernel.shape[-1]
  taps, inner = [], []
  for axis, (stride, (low, high)) in enumerate(zip(strides, padding, strict=True), start=1):
    size, window = images.shape[axis], kernel.shape[axis - 1]
    taps.append(-(-window // stride))
    inner.append(min(window, stride))
    length = ((size + low + high - window) // stride + taps[-1]) * stride
    images = shift(images, axis, (low, length - size - low))
    kernel = shift(kernel, axis - 1, (0, taps[-1] * inner[-1] - window))
  (s, t), (m, n), (u, v) = strides, inner, taps
  rows, columns = images.shape[1] // s, images.shape[2] // t
  images = images.reshape(channels, rows, s, columns, t, batch)[:, :, :m, :, :n]
  images = images.transpose(2, 4, 0, 1, 3, 5).reshape(-1, rows, columns, batch)
  kernel = kernel.reshape(u, m, v, n, channels, filters).transpose(0, 2, 1, 3, 4, 5)
  return images, kernel.reshape(u, v, -1, filters)


def _scatters(kernel: jax.Array) -> bool:
  """Say whether shifts along the columns are added after the product, not gathered before it."""
  rows, columns, channels, filters = kernel.shape
  return rows * channels + columns * filters < rows * columns * channels + filters


def _gather(images: jax.Array, kernel: jax.Array, padding: Padding) -> jax.Array:
  """Return `[U * C, H', W, B]`, or `[V * U * C, H', W', B]` when nothing is scattered."""
  gathered = _stack_shifts(images, 1, _crops(1, kernel, padding))
  if _scatters(kernel):
    return gathered
  return _stack_shifts(gathered, 2, _crops(2, kernel, padding))


def _matrix(kernel: jax.Array) -> jax.Array:
  """Return `[V * F, U * C]`, or `[F, V * U * C]` when nothing is scattered."""
  rows, columns, channels, filters = kernel.shape
  if _scatters(kernel):
    return kernel.transpose(1, 3, 0, 2).reshape(columns * filters, rows * channels)
  return kernel.transpose(3, 1, 0, 2).reshape(filters, columns * rows * channels)


def _unmatrix(matrix: jax.Array, kernel: jax.Array) -> jax.Array:
  """Return the matrix as a kernel `[U, V, C, F]`."""
  rows, columns, channels, filters = kernel.shape
  if _scatters(kernel):
    return matrix.reshape(columns, filters, rows, channels).transpose(2, 0, 3, 1)
  return matrix.reshape(filters, columns, rows, channels).transpose(2, 1, 3, 0)


def _product(matrix: jax.Array, arrays: jax.Array) -> jax.Array:
  """Return `[M, ...]` from `[M, K]` and `[K, ...]`, summed in float32 at least."""
  dtype = wide_type(arrays)
  # A GPU waits for its memory here: that a sum over all channels leaves the product in bfloat16 is
  # worth a seventh of the step. The sums of a kernel's columns are still added up in float32.
  if arrays.dtype == jnp.bfloat16 and jax.default_backend() != "cpu":
    dtype = arrays.dtype
  sums = jnp.matmul(matrix, _flat(arrays), preferred_element_type=dtype)
  return sums.reshape(-1, *arrays.shape[1:])


def _flat(arrays: jax.Array) -> jax.Array:
  return arrays.reshape(arrays.shape[0], -1)


def _crops(axis: int, kernel: jax.Array, padding: Padding) -> _Pads:
  """Return, for each position in the kernel, the padding (or cropping) that brings it to zero."""
  taps, (low, high) = kernel.shape[axis - 1], padding[axis - 1]
  return [(low - tap, high + tap - taps + 1) for tap in range(taps)]


def shift(arrays: jax.Array, axis: int, crop: tuple[int, int]) -> jax.Array:
  """Return the arrays padded along the axis, or cropped where the numbers are negative."""
  (low, high), size = crop, arrays.shape[axis]
  if min(low, high) <= -size:
    shape = list(arrays.shape)
    shape[axis] = size + low + high
    return jnp.zeros(shape, arrays.dtype)
  # Cropped first: of a negative padding, the compiler makes a padded copy and then a slice of it.
  arrays = lax.slice_in_dim(arrays, max(-low, 0), size - max(-high, 0), axis=axis)
  config = [(0, 0, 0)] * arrays.ndim
  config[axis] = (max(low, 0), max(high, 0), 0)
  return lax.pad(arrays, jnp.zeros((), arrays.dtype), config)


def _stack_shifts(arrays: jax.Array, axis: int, crops: _Pads) -> jax.Array:
  """Return the shifts `[T * C, ...]` of arrays `[C, ...]`."""
  return jnp.concatenate([shift(arrays, axis, crop) for crop in crops])


def _sum_shifts(arrays: jax.Array, axis: int, crops: _Pads) -> jax.Array:
  """Return `[C, ...]`, the sum of the shifts of `[T * C, ...]`: `_stack_shifts` transposed."""
  parts = jnp.split(arrays.astype(wide_type(arrays)), len(crops))
  return sum(shift(part, axis, crop) for part, crop in zip(parts, crops, strict=True))
