"""Convolution: the library's, and on CPU products between gathered and scattered shifts."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from softmax_research.nn.winograd import conv_3x3, saves_products

BATCH_LAST = ("CHWN", "HWIO", "CHWN")
_NHWC = ("NHWC", "HWIO", "NHWC")
_Padding = tuple[tuple[int, int], tuple[int, int]]
_Pads = list[tuple[int, int]]


def conv(
  lhs: jax.Array,
  rhs: jax.Array,
  window_strides: Sequence[int],
  padding: str | Sequence[tuple[int, int]],
  lhs_dilation: Sequence[int] | None = None,
  rhs_dilation: Sequence[int] | None = None,
  dimension_numbers: Any = None,
  feature_group_count: int = 1,
  **options: Any,
) -> jax.Array:
  r"""Convolve, in the form that trains fastest on the backend at hand.

  .. math:: y_{b,i,j,f} = \sum_{u,v,c} x_{b,\,i+u,\,j+v,\,c}\; k_{u,v,c,f}

  The signature is that of `jax.lax.conv_general_dilated`, so that
  `nnx.Conv(..., conv_general_dilated=conv)` works. On CPU, a two-dimensional convolution with
  stride 1 and neither dilation nor groups becomes matrix products, with a gradient of its own; a
  3 by 3 kernel of many channels in float32 or float64 becomes a quarter of them (`conv_3x3`).
  Everything else, and every other backend, takes the library's form. Of the two layouts,
  `("CHWN", "HWIO", "CHWN")` is the faster: the other is transposed to it and back.

  The fast forms have derivatives in reverse mode, of any order, but none in forward mode: JAX
  cannot attach both to one function without giving up the faster gradient.

  Args:
    lhs: images `[B, H, W, C]` or `[C, H, W, B]`.
    rhs: kernel `[U, V, C, F]`.
    window_strides: strides of the two spatial axes.
    padding: `"SAME"`, `"VALID"` or a pair (low, high) for each spatial axis.
    lhs_dilation: dilation of the images.
    rhs_dilation: dilation of the kernel.
    dimension_numbers: the layout; see above for those of the fast form.
    feature_group_count: number of groups of channels.
    **options: further options of `jax.lax.conv_general_dilated`.

  Returns:
    Images `[B, H', W', F]` or `[F, H', W', B]`.

  Example:
    >>> images, kernel = jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 1, 2))
    >>> y = conv(images, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    >>> y[0, 0, 0].tolist(), y[0, 1, 1].tolist()
    ([4.0, 4.0], [9.0, 9.0])
  """
  library = functools.partial(
    lax.conv_general_dilated,
    window_strides=window_strides,
    padding=padding,
    lhs_dilation=lhs_dilation,
    rhs_dilation=rhs_dilation,
    dimension_numbers=dimension_numbers,
    feature_group_count=feature_group_count,
    **options,
  )
  plain = (
    lhs.ndim == 4
    and {*window_strides, *(lhs_dilation or ()), *(rhs_dilation or ())} == {1}
    and feature_group_count == 1
    and all(value is None for value in options.values())
  )
  batch_last = plain and _is_layout(dimension_numbers, BATCH_LAST)
  if not (batch_last or (plain and _is_layout(dimension_numbers, _NHWC))):
    return library(lhs, rhs)
  if isinstance(padding, str):
    padding = lax.padtype_to_pads(lhs.shape[1:3], rhs.shape[:2], (1, 1), padding)
  pads = tuple((int(low), int(high)) for low, high in padding)
  if any(s + sum(p) < k for s, p, k in zip(lhs.shape[1:3], pads, rhs.shape[:2], strict=True)):
    return library(lhs, rhs)  # Nothing is left of the images.

  def products(images, kernel):
    images = images if batch_last else images.transpose(3, 1, 2, 0)
    wide = images.dtype == kernel.dtype and images.dtype in (jnp.float32, jnp.float64)
    tiled = wide and saves_products(images.shape, kernel.shape, pads)
    outputs = (conv_3x3 if tiled else _conv)(images, kernel, pads)
    return outputs if batch_last else outputs.transpose(3, 1, 2, 0)

  return lax.platform_dependent(lhs, rhs, cpu=products, default=library)


def _is_layout(dimension_numbers: Any, layout: tuple[str, str, str]) -> bool:
  if isinstance(dimension_numbers, lax.ConvDimensionNumbers):
    return dimension_numbers == lax.conv_dimension_numbers((1,) * 4, (1,) * 4, layout)
  return dimension_numbers == layout


# What follows was measured on two AVX-512 cores, in training steps inside `lax.scan`:
# - With the batch last, the innermost loops run over 128 numbers whatever the shape of the maps,
#   the gradient for the kernel is a product at full speed (in NHWC at half), and pooling, bias
#   and batch norm are long rows.
# - Gathering all nine shifts moves 9C + F numbers a position through memory; gathering along one
#   axis, multiplying, and adding shifts along the other moves 3C + 3F. The products are the same.
# - Letting JAX differentiate either form takes twice the time of a whole hand-written step: it
#   contracts over three axes at once, for which XLA first transposes the gathered images.


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv(images: jax.Array, kernel: jax.Array, padding: _Padding) -> jax.Array:
  """Convolve images `[C, H, W, B]` to `[F, H', W', B]`."""
  outputs = _product(_matrix(kernel), _gather(images, kernel, padding))
  if _scatters(kernel):
    outputs = _sum_shifts(outputs, 2, _crops(2, kernel, padding))
  return outputs.astype(images.dtype)


def _forward(images, kernel, padding):
  return _conv(images, kernel, padding), (images, kernel)


def _backward(padding, residuals, cotangents):
  images, kernel = residuals
  rows, columns = (_negated(_crops(axis, kernel, padding)) for axis in (1, 2))
  if _scatters(kernel):
    cotangents = _stack_shifts(cotangents, 2, columns)
  gathered = _gather(images, kernel, padding)  # The compiler keeps the one of the forward pass.
  # Flat on purpose: a contraction over three axes would transpose the gathered images first.
  d_matrix = _product(_flat(cotangents), _flat(gathered).T)
  d_gathered = _product(_matrix(kernel).T, cotangents)
  if not _scatters(kernel):
    d_gathered = _sum_shifts(d_gathered, 2, columns)
  d_images = _sum_shifts(d_gathered, 1, rows)
  return d_images.astype(images.dtype), _unmatrix(d_matrix, kernel).astype(kernel.dtype)


_conv.defvjp(_forward, _backward)


def _scatters(kernel: jax.Array) -> bool:
  """Say whether shifts along the columns are added after the product, not gathered before it."""
  rows, columns, channels, filters = kernel.shape
  return rows * channels + columns * filters < rows * columns * channels + filters


def _gather(images: jax.Array, kernel: jax.Array, padding: _Padding) -> jax.Array:
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
  sums = jnp.matmul(
    matrix, _flat(arrays), preferred_element_type=jnp.promote_types(arrays.dtype, jnp.float32)
  )
  return sums.reshape(-1, *arrays.shape[1:])


def _flat(arrays: jax.Array) -> jax.Array:
  return arrays.reshape(arrays.shape[0], -1)


def _crops(axis: int, kernel: jax.Array, padding: _Padding) -> _Pads:
  """Return, for each position in the kernel, the padding (or cropping) that brings it to zero."""
  taps, (low, high) = kernel.shape[axis - 1], padding[axis - 1]
  return [(low - tap, high + tap - taps + 1) for tap in range(taps)]


def _negated(crops: _Pads) -> _Pads:
  """Return the crops of the transposed map."""
  return [(-low, -high) for low, high in crops]


def _shift(arrays: jax.Array, axis: int, crop: tuple[int, int]) -> jax.Array:
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
  return jnp.concatenate([_shift(arrays, axis, crop) for crop in crops])


def _sum_shifts(arrays: jax.Array, axis: int, crops: _Pads) -> jax.Array:
  """Return `[C, ...]`, the sum of the shifts of `[T * C, ...]`: `_stack_shifts` transposed."""
  parts = jnp.split(arrays, len(crops))
  return sum(_shift(part, axis, crop) for part, crop in zip(parts, crops, strict=True))
