"""Measures: what is measured on trained models beside their accuracy, by name."""

from collections.abc import Callable, Sequence
from typing import Any

from experiments import assembly, runs
from experiments.reproduction import calibration


def check_names(names: Sequence[str]) -> None:
  """Raise a ValueError unless there are such measures."""
  for name in names:
    if name not in MEASURES:
      raise ValueError(f"Got the measure {name!r}; the measures are {', '.join(MEASURES)}.")


def measure(
  names: Sequence[str], predictions: runs.Predictions, splits: assembly.Splits
) -> dict[str, Any]:
  """Measure one model.

  Args:
    names: keys of `MEASURES`.
    predictions: the model's.
    splits: the data.

  Returns:
    What each measure found, in one dictionary.
  """
  found = {}
  for name in names:
    found |= MEASURES[name](predictions, splits)
  return found


#: Functions of a model's predictions and the data, by name.
MEASURES: dict[str, Callable[..., dict[str, Any]]] = {"calibration": calibration.calibrations}
