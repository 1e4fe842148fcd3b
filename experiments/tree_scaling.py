"""How does a step of training grow with the number of classes, for trees and for the dense layer?

    python -m experiments.tree_scaling --workdir=runs/tree_scaling

A step is the loss, its gradients and Adam's update; the cases are those of
`experiments.benchmark classes`. The report has the exponents a of the fits time = c x^a, by least
squares on logarithms, x being the tree's depth or the number of classes.
"""

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.benchmarks import classes, pairs, row
from softmax_research import study

_SIDES = {"tree": "tree_ms", classes.DENSE: "dense_ms"}


class Settings(NamedTuple):
  """Hold the study's settings.

  Attributes:
    classes: numbers of classes.
    repeats: how often each side is timed.
    seconds: the least time of a repeat.
    threads: cores of each side.
  """

  classes: tuple[int, ...] = classes.TREE_CLASSES
  repeats: int = 5
  seconds: float = 0.5
  threads: int = 2


def check(settings: Settings) -> None:
  """Raise a ValueError for settings that are none."""
  for name, least in (("repeats", 1), ("seconds", 0), ("threads", 1)):
    study.check_numbers(name, getattr(settings, name), least)
  if not settings.classes or not set(settings.classes) <= set(classes.TREE_CLASSES):
    known = ", ".join(map(str, classes.TREE_CLASSES))
    raise ValueError(f"Got --classes={','.join(map(str, settings.classes))}; there are {known}.")


def cells(settings: Settings) -> list[dict[str, Any]]:
  """Return a cell for each number of classes."""
  return [{"classes": size} for size in settings.classes]


def run(cell: dict[str, Any], context: study.Context) -> Iterator[study.Record]:
  """Time a step with the tree, and one with the dense layer where that is not too large."""
  settings, began = context.settings, time.perf_counter()
  name = classes.tree_name(cell["classes"])
  options = row.Options(name, "", settings.repeats, settings.seconds, settings.threads)
  (timed,) = pairs.measure("classes", classes.cases(), options)
  measured = {"tree_ms": timed["ours_ms"], "tree_ms_range": timed["ours_ms_range"]}
  if timed["peer"] == classes.DENSE:
    measured |= {"dense_ms": timed["peer_ms"], "dense_ms_range": timed["peer_ms_range"]}
  yield context.record(None, seconds=time.perf_counter() - began, measured=measured)


def exponent(places: Sequence[float], times: Sequence[float]) -> tuple[float, float]:
  """Fit time = c x^a; return a and its standard error, NaN for fewer than three points."""
  x, y = np.log(places), np.log(times)
  if len(x) < 3:
    return math.nan, math.nan
  design = np.stack([x, np.ones_like(x)], axis=1)
  fit, *_ = np.linalg.lstsq(design, y, rcond=None)
  spread = np.sum((y - design @ fit) ** 2) / (len(x) - 2)
  return float(fit[0]), float(np.sqrt(spread / np.sum((x - x.mean()) ** 2)))


def report(records: Sequence[study.Record], settings: Settings) -> Iterator[study.Block]:
  """Yield the blocks of the report."""
  yield "# Time of a training step by the number of classes"
  records = [record for record in records if record["status"] == "finished"]
  found = {record["cell"]["classes"]: record["measured"] for record in records}
  sides = {
    side: {size: times for size, times in found.items() if key in times}
    for side, key in _SIDES.items()
  }
  yield (
    "A step is the loss, its gradients and Adam's update, for {} examples of {} features. "
    "Time = c x^a, with a ± its standard error:".format(*classes.TREE)
  )
  depths = {size: _depth(size) for size in found}
  fits = [("tree, x the depth", list(depths.values()), sides["tree"], "tree_ms")]
  fits += [
    (f"{side}, x the number of classes", list(of_side), of_side, _SIDES[side])
    for side, of_side in sides.items()
  ]
  lines = []
  for what, places, of_side, key in fits:
    power, error = exponent(places, [times[key] for times in of_side.values()])
    decimals = 3 if what.startswith("tree, x the number") else 2
    lines.append(f"- {what}: a = {power:.{decimals}f} ± {error:.{decimals}f}")
  yield "\n".join(lines)
  yield _plot(sides)
  rows = tuple(study.Row(f"{size:,}", _cells(size, times)) for size, times in found.items())
  columns = ("depth", "tree, ms", "dense, ms", "dense / tree")
  yield study.Table(columns, rows, name_column="classes", name="times")


def _depth(size: int) -> int:
  return math.ceil(math.log2(size))


def _cells(size: int, times: dict[str, Any]) -> tuple[study.Cell, ...]:
  tree, dense = times["tree_ms"], times.get("dense_ms")
  texts = ("–", "–") if dense is None else (f"{dense:.1f}", f"{dense / tree:.0f}")
  return tuple(map(study.Cell, (str(_depth(size)), f"{tree:.2f}", *texts)))


def _plot(sides: dict[str, dict[int, dict[str, Any]]]) -> study.Plot:
  from softmax_research.study import line_plot  # noqa: PLC0415  # Matplotlib takes long to import.

  lines = []
  for side, of_side in sides.items():
    key = _SIDES[side]
    if of_side:
      ranges = tuple(zip(*(times[f"{key}_range"] for times in of_side.values()), strict=True))
      values = [times[key] for times in of_side.values()]
      lines.append(line_plot.Line(side, list(of_side), values, ranges))
  panel = line_plot.Panel("ms a step", "classes", lines, ("log", "log"))
  caption = "Medians, with the range of the repeats as a band."
  return study.Plot("scaling", "Time of a step", caption, line_plot.line_plot([panel]))


STUDY = study.Study(
  Settings,
  cells,
  run,
  report,
  name="tree_scaling",
  check=check,
  selects=("classes",),
  seeds=lambda settings, cell: (None,),
)

if __name__ == "__main__":
  study.main(STUDY)
