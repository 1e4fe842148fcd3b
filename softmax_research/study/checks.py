"""Checks of settings that several studies have."""

import math
from collections.abc import Iterable


def check_numbers(
  name: str, values: float | Iterable[float], low: float, high: float = math.inf
) -> None:
  """Check that a setting has a number, and that all its numbers lie within bounds.

  Args:
    name: of the setting.
    values: its number, or several.
    low: the least that is allowed.
    high: the most that is allowed.

  Raises:
    ValueError: there is none, or one lies beyond the bounds.

  Example:
    >>> check_numbers("seeds", 5, 2)
  """
  values = list(values) if isinstance(values, Iterable) else [values]
  bounds = f"at least {low}" if high == math.inf else f"in [{low}, {high}]"
  if not values:
    raise ValueError(f"Got no --{name}; pass one number {bounds} or more, with commas between.")
  for value in values:
    if not low <= value <= high:
      raise ValueError(f"Got --{name}={value}; it must be {bounds}.")
