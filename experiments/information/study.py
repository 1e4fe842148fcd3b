"""Study: what the script needs to know of a study of mutual information."""

import pathlib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from scipy import stats


class Study(NamedTuple):
  """Hold a study.

  Attributes:
    settings: a NamedTuple with a default for each field, and a docstring that says what it does.
    check: raises a ValueError for settings that are none; `(settings)`.
    cells: `(settings)` to the cells, each a dictionary that JSON can hold; one program trains all
      seeds of a cell.
    measure: `(settings, cell)` to the cell's runs: dictionaries, one for each estimator and seed.
    report: `(workdir, settings, runs, facts)` to the path of the report; a run also has what its
      cell has.
  """

  settings: type
  check: Callable[[Any], None]
  cells: Callable[[Any], list[dict[str, Any]]]
  measure: Callable[[Any, dict[str, Any]], list[dict[str, Any]]]
  report: Callable[[pathlib.Path, Any, list[dict[str, Any]], dict[str, Any]], pathlib.Path]


def make_settings(name: str, settings: type, given: dict[str, Any]) -> Any:
  """Make settings from what was given; all else is the study's own.

  Raises:
    ValueError: the study has no such setting, or a value stands twice in a list.

  Example:
    >>> class Settings(NamedTuple):
    ...   seeds: int = 5
    >>> make_settings("mine", Settings, {"seeds": 2})
    Settings(seeds=2)
  """
  if unknown := sorted(set(given) - set(settings._fields)):
    raise ValueError(
      f"Got --{unknown[0]}, which the study {name!r} has no use for; it takes "
      f"{', '.join('--' + field for field in settings._fields)}."
    )
  for field, values in given.items():
    if isinstance(values, tuple) and len(set(values)) < len(values):
      once = dict.fromkeys(values)
      raise ValueError(
        f"Got --{field}={_listed(values)}; each value may stand there once, or its seeds would be "
        f"run and counted again. Pass --{field}={_listed(once)}."
      )
  return settings(**given)


def _listed(values: Iterable[Any]) -> str:
  return ",".join(map(str, values))


def check_numbers(name: str, values: Iterable[float], low: float, high: float = np.inf) -> None:
  """Raise a ValueError unless there is a number and all lie within bounds.

  Example:
    >>> check_numbers("seeds", [5], 2)
  """
  values = list(values)
  bounds = f"at least {low}" if high == np.inf else f"in [{low}, {high}]"
  if not values:
    raise ValueError(f"Got no --{name}; pass one number {bounds} or more, with commas between.")
  for value in values:
    if not low <= value <= high:
      raise ValueError(f"Got --{name}={value}; it must be {bounds}.")


def estimate(terms: np.ndarray) -> dict[str, float | None]:
  """Return the estimate that is a mean of terms, with half the width of its 95% t interval.

  Example:
    >>> estimate(np.array([1.0, 2.0, 3.0]))["estimate"]
    2.0
  """
  terms = np.asarray(terms, np.float64)
  if not np.all(np.isfinite(terms)):  # JSON has no such numbers.
    return {"estimate": None, "half_width": None}
  count = len(terms)
  half = stats.t.isf(0.025, count - 1) * np.std(terms, ddof=1) / np.sqrt(count)
  return {"estimate": float(np.mean(terms)), "half_width": float(half)}
