"""Convolution: the library's, or products of matrices with the batch last, where these are faster.

On CPU the library's form trains a small net at 0.35 times PyTorch's speed, and in a loop ten times
slower still, products at 1.0 to 2.1 times. The maps of all seeds at once leave the caches, so `map`
is faster than `vmap` there; small products of matrices, as an MLP's, gain from being many. For what
was measured on a GPU see docs/devices.rst.
"""

import contextvars
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from softmax_research.nn import cpu

#: Whether convolutions that are traced now are to be products on every backend.
PRODUCTS = contextvars.ContextVar("products", default=False)
_NHWC = ("NHWC", "HWIO", "NHWC")


def takes_products() -> bool:
  """Say whether a convolution that is traced now is to be computed as products."""
  return PRODUCTS.get() or jax.default_backend() == "cpu"


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
  `nnx.Conv(..., conv_general_dilated=conv)` works. On CPU, and where `in_form` asks for it, a
  two-dimensional convolution in `("NHWC", "HWIO", "NHWC")` with neither dilation nor groups becomes
  products of matrices, with a gradient of its own and none in forward mode; on CPU a 3 by 3 kernel
  of many channels in float32 or float64 becomes a quarter of them (`conv_3x3`). Everything else
  takes the library's form.
  """
  plain = (
    lhs.ndim == 4
    and len(lhs) > 0
    and {*(lhs_dilation or ()), *(rhs_dilation or ())} <= {1}
    and feature_group_count == 1
    and all(value is None for value in options.values())
    and _is_nhwc(dimension_numbers)
  )
  if plain and takes_products():
    sizes, window, strides = lhs.shape[1:3], rhs.shape[:2], tuple(window_strides)
    if isinstance(padding, str):
      padding = lax.padtype_to_pads(sizes, window, strides, padding)
    pads = tuple((int(low), int(high)) for low, high in padding)
    if all(size + sum(p) >= w for size, p, w in zip(sizes, pads, window, strict=True)):
      return cpu.batch_first(_products(cpu.batch_last(lhs), rhs, pads, strides))
  return lax.conv_general_dilated(
    lhs,
    rhs,
    window_strides=window_strides,
    padding=padding,
    lhs_dilation=lhs_dilation,
    rhs_dilation=rhs_dilation,
    dimension_numbers=dimension_numbers,
    feature_group_count=feature_group_count,
    **options,
  )


def convolve_batch_last(layer: nnx.Conv, maps: jax.Array) -> jax.Array:
  """Return the maps `[F, H', W', B]` that a convolution without bias makes of `[C, H, W, B]`."""
  kernel, pads = layer.kernel[...].astype(maps.dtype), layer.padding
  if isinstance(pads, str):
    pads = lax.padtype_to_pads(maps.shape[1:3], kernel.shape[:2], layer.strides, pads)
  return _products(maps, kernel, tuple(pads), layer.strides)


def in_fastest_layout(layers: Iterable[Callable[..., Any]], images: jax.Array, **options: Any):
  """Return the maps that layers make, the batch being last where convolutions are products."""
  batch_last = takes_products() and len(images) > 0
  maps = cpu.batch_last(images) if batch_last else images
  for layer in layers:
    maps = layer(maps, batch_last=batch_last, **options)
  return cpu.batch_first(maps) if batch_last else maps


def _products(
  images: jax.Array, kernel: jax.Array, padding: cpu.Padding, strides: tuple[int, int]
) -> jax.Array:
  """Convolve images `[C, H, W, B]`, in tiles where these save time."""
  if strides != (1, 1):
    images, kernel = cpu.fold_strides(images, kernel, padding, strides)
    padding = ((0, 0), (0, 0))
  # Tiles were measured on CPU, where products are dear and memory is near.
  tiled = (
    jax.default_backend() == "cpu"
    and images.dtype == kernel.dtype
    and images.dtype in (jnp.float32, jnp.float64)
    and cpu.saves_products(images.shape, kernel.shape, padding)
  )
  return (cpu.conv_3x3 if tiled else cpu.convolve)(images, kernel, padding)


def _is_nhwc(dimension_numbers: Any) -> bool:
  if isinstance(dimension_numbers, lax.ConvDimensionNumbers):
    return dimension_numbers == lax.conv_dimension_numbers((1,) * 4, (1,) * 4, _NHWC)
  return dimension_numbers == _NHWC
