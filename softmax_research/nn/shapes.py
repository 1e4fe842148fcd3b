"""Checks of what a network is built from and called with: sizes and types."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp


def check_sizes(name: str, sizes: Sequence[int]) -> tuple[int, ...]:
  """Return the sizes as a tuple, or raise a ValueError unless all are positive integers.

  Example:
    >>> check_sizes("widths", [512, 256])
    (512, 256)
  """
  if isinstance(sizes, str) or not isinstance(sizes, Sequence) or not sizes:
    raise ValueError(f"Got {name}={sizes!r}; pass at least one size, as (128,).")
  for size in sizes:
    check_size(name, size)
  return tuple(sizes)


def check_size(name: str, size: Any) -> None:
  """Raise a ValueError unless the size is a positive integer.

  Example:
    >>> check_size("kernel", 3)
  """
  if isinstance(size, bool) or not isinstance(size, int) or size < 1:
    raise ValueError(f"Got {size!r} in {name}; it must be an integer of at least 1.")


def check_floating(images: jax.Array) -> None:
  """Raise a TypeError unless the images are floats.

  Example:
    >>> check_floating(jnp.ones((2, 4)))
  """
  if not jnp.issubdtype(images.dtype, jnp.floating):
    raise TypeError(
      f"Got images of type {images.dtype}; a network takes floats. Scale them first, for instance "
      "with softmax_research.data.standardise."
    )
