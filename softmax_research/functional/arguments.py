"""Checks of arguments: they name the value, the rule and the remedy."""

from typing import Any

import jax
import numpy as np


def check_at_least(name: str, value: Any, bound: float, remedy: str, *, strict: bool = False):
  """Raise a ValueError unless the value is finite and at least (or above) the bound.

  A traced value has no number yet and passes: whoever traces a hyperparameter, to learn or to
  batch it, keeps it in range.

  Args:
    name: the argument's name, for the message.
    value: a number or an array of numbers, or a tracer.
    bound: the smallest allowed value.
    remedy: a sentence that says what to pass instead.
    strict: exclude the bound itself.

  Raises:
    ValueError: the value is below the bound, infinite or NaN.

  Example:
    >>> check_at_least("margin", 0.6, 0, "Pass 0 for plain softmax.")
  """
  if isinstance(value, jax.core.Tracer):
    return
  number = np.asarray(value, dtype=np.float64)
  holds = (number > bound) if strict else (number >= bound)
  if not np.all(holds & np.isfinite(number)):
    relation = ">" if strict else ">="
    raise ValueError(f"Got {name}={value}; it must be finite and {relation} {bound:g}. {remedy}")


def check_fraction(name: str, value: Any, *, or_one: bool = False):
  """Raise a ValueError unless 0 <= value < 1, or <= 1 if that is allowed (a tracer passes).

  Example:
    >>> check_fraction("label_smoothing", 1.0, or_one=True)
  """
  if isinstance(value, jax.core.Tracer):
    return
  number = np.asarray(value, dtype=np.float64)
  if not np.all((number >= 0) & ((number <= 1) if or_one else (number < 1))):
    interval = "[0, 1]" if or_one else "[0, 1)"
    raise ValueError(f"Got {name}={value}; it must lie in {interval}. Pass 0 to switch it off.")


def check_num_classes(num_classes: Any):
  """Raise a ValueError unless the number of classes is a positive integer that int32 can hold.

  Example:
    >>> check_num_classes(10)
  """
  integer = isinstance(num_classes, int | np.integer) and not isinstance(num_classes, bool)
  if not integer or not 1 <= num_classes < 2**31:
    raise ValueError(
      f"Got num_classes={num_classes!r}; it must be an integer of at least 1, below 2^31."
    )


def check_class_axis(values: jax.Array, axis: Any = -1):
  """Raise an error unless the values have the axis, and it is a single one.

  Raises:
    ValueError: the values are a scalar, or have no such axis.
    TypeError: the axis is not one integer.

  Example:
    >>> check_class_axis(np.zeros((2, 3)), 0)
  """
  if values.ndim == 0:
    raise ValueError("Got a scalar where classes are expected; pass an array of shape [..., K].")
  if isinstance(axis, bool) or not isinstance(axis, int | np.integer):
    raise TypeError(
      f"Got axis={axis!r}; it must be one integer. Classes that lie along several axes can be "
      "put along one with jnp.reshape."
    )
  if not -values.ndim <= axis < values.ndim:
    raise ValueError(
      f"Got axis={axis} for values of shape {values.shape}; it must be between {-values.ndim} and "
      f"{values.ndim - 1}."
    )


def broadcasts_to(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
  """Tell whether an array of one shape broadcasts to another without enlarging it.

  Example:
    >>> broadcasts_to((3,), (2, 3)), broadcasts_to((2, 3), (3,))
    (True, False)
  """
  sizes = zip(shape[::-1], target[::-1], strict=False)
  return len(shape) <= len(target) and all(size in (1, full) for size, full in sizes)


def check_epsilon(epsilon: Any, *, typical: float):
  """Raise a ValueError unless epsilon is positive and not lost in float32 (a tracer passes).

  Example:
    >>> check_epsilon(1e-7, typical=1e-7)
  """
  smallest = float(np.finfo(np.float32).tiny)
  check_at_least("epsilon", epsilon, smallest, f"Pass {typical:g} or so.")
