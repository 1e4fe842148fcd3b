"""Convolution: the library's, and on CPU one matrix product over patches."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

_NHWC = ("NHWC", "HWIO", "NHWC")
_NHWC_NUMBERS = lax.conv_dimension_numbers((1, 1, 1, 1), (1, 1, 1, 1), _NHWC)


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
  `nnx.Conv(..., conv_general_dilated=conv)` works. On CPU, a two-dimensional convolution of
  layout NHWC with stride 1 and neither dilation nor groups is one matrix product over patches;
  everything else, and every other backend, takes the library's form.

  Args:
    lhs: images `[B, H, W, C]`.
    rhs: kernel `[U, V, C, F]`.
    window_strides: strides of the two spatial axes.
    padding: `"SAME"`, `"VALID"` or a pair (low, high) for each spatial axis.
    lhs_dilation: dilation of the images.
    rhs_dilation: dilation of the kernel.
    dimension_numbers: the layout; `("NHWC", "HWIO", "NHWC")` for the fast form.
    feature_group_count: number of groups of channels.
    **options: further options of `jax.lax.conv_general_dilated`.

  Returns:
    Images `[B, H', W', F]`.

  Example:
    >>> images, kernel = jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 1, 2))
    >>> y = conv(images, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    >>> y[0, 0, 0].tolist(), y[0, 1, 1].tolist()
    ([4.0, 4.0], [9.0, 9.0])
  """

  def library(images, kernel):
    return lax.conv_general_dilated(
      images,
      kernel,
      window_strides,
      padding,
      lhs_dilation=lhs_dilation,
      rhs_dilation=rhs_dilation,
      dimension_numbers=dimension_numbers,
      feature_group_count=feature_group_count,
      **options,
    )

  plain = (
    lhs.ndim == 4
    and set((*window_strides, *(lhs_dilation or ()), *(rhs_dilation or ()))) == {1}
    and feature_group_count == 1
    and _is_nhwc(dimension_numbers)
    and all(value is None for value in options.values())
  )
  if not plain:
    return library(lhs, rhs)
  if isinstance(padding, str):
    padding = lax.padtype_to_pads(lhs.shape[1:3], rhs.shape[:2], (1, 1), padding)

  def patches(images, kernel):
    return _patches(images, kernel.shape, padding) @ kernel.reshape(-1, kernel.shape[-1])

  return lax.platform_dependent(lhs, rhs, cpu=patches, default=library)


def _is_nhwc(dimension_numbers: Any) -> bool:
  if isinstance(dimension_numbers, lax.ConvDimensionNumbers):
    return dimension_numbers == _NHWC_NUMBERS
  return dimension_numbers == _NHWC


def _patches(images, kernel_shape, padding) -> jax.Array:
  """Return `[B, H', W', U * V * C]`: beside each position, its neighbours."""
  rows, columns = kernel_shape[:2]
  padded = jnp.pad(images, ((0, 0), *padding, (0, 0)))
  height, width = padded.shape[1] - rows + 1, padded.shape[2] - columns + 1
  shifts = [
    padded[:, row : row + height, column : column + width]
    for row in range(rows)
    for column in range(columns)
  ]
  return shifts[0] if len(shifts) == 1 else jnp.concatenate(shifts, axis=-1)
