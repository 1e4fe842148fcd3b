"""How does a step of training grow with the number of classes, for trees and for the dense layer?

    python -m experiments.tree_scaling --workdir=runs/tree_scaling

A step is the loss, its gradients and Adam's update; the cases are those of
`experiments.benchmark classes`. The report has the exponents a of the fits time = c x^a, by least
squares on logarithms, x being the tree's depth or the number of classes.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.benchmarks import classes, timing
from softmax_research import study
from softmax_research.study.blocks import table_of


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
  study.check_numbers(settings, repeats=1, seconds=0, threads=1)
  if not settings.classes or not set(settings.classes) <= set(classes.TREE_CLASSES):
    known = ", ".join(map(str, classes.TREE_CLASSES))
    raise ValueError(f"Got --classes={','.join(map(str, settings.classes))}; there are {known}.")


def cells(settings: Settings) -> list[dict[str, Any]]:
  return [{"classes": size} for size in settings.classes]


def run(cell: dict[str, Any], context: study.Context) -> Iterator[study.Record]:
  settings = context.settings
  name = classes.tree_name(cell["classes"])
  options = timing.Options(name, "", settings.repeats, settings.seconds, settings.threads)
  (timed,) = timing.measure("classes", classes.cases(), options)
  measured = {"tree_ms": timed["ours_ms"], "tree_ms_range": timed["ours_ms_range"]}
  if timed["peer"] == classes.DENSE:
    measured |= {"dense_ms": timed["peer_ms"], "dense_ms_range": timed["peer_ms_range"]}
  yield context.record(None, measured=measured)


def exponent(places: Sequence[float], times: Sequence[float]) -> tuple[float, float]:
  """Fit time = c x^a; return a and its standard error, NaN for fewer than three points."""
  if len(places) < 3:
    return math.nan, math.nan
  (power, _), covariance = np.polyfit(np.log(places), np.log(times), 1, cov=True)
  return float(power), float(np.sqrt(covariance[0, 0]))


def report(records: Sequence[study.Record], settings: Settings) -> Iterator[study.Block]:
  yield "# Time of a training step by the number of classes"
  found = {r["cell"]["classes"]: r["measured"] for r in records if r["status"] == "finished"}
  dense = {size: times for size, times in found.items() if "dense_ms" in times}
  yield (
    "A step is the loss, its gradients and Adam's update, for {} examples of {} features. "
    "Time = c x^a, with a ± its standard error:".format(*classes.TREE)
  )
  lines = []
  for what, places, of_side, key, decimals in (
    ("tree, x the depth", map(_depth, found), found, "tree_ms", 2),
    ("tree, x the number of classes", found, found, "tree_ms", 3),
    (f"{classes.DENSE}, x the number of classes", dense, dense, "dense_ms", 2),
  ):
    power, error = exponent(list(places), [times[key] for times in of_side.values()])
    found_a = f"a = {power:.{decimals}f} ± {error:.{decimals}f}"
    lines.append(f"- {what}: {'too few sizes' if math.isnan(power) else found_a}")
  yield "\n".join(lines)
  yield _plot({"tree": (found, "tree_ms"), classes.DENSE: (dense, "dense_ms")})
  rows = []
  for size, times in found.items():
    ratio = times["dense_ms"] / times["tree_ms"] if size in dense else None
    cells = {
      "depth": str(_depth(size)),
      "tree, ms": f"{times['tree_ms']:.2f}",
      "dense, ms": "–" if ratio is None else f"{times['dense_ms']:.1f}",
      "dense / tree": "–" if ratio is None else f"{ratio:.0f}",
    }
    rows.append((f"{size:,}", cells))
  yield table_of(rows, "classes", "times")


def _depth(size: int) -> int:
  return math.ceil(math.log2(size))


def _plot(sides: dict[str, tuple[dict[int, dict[str, Any]], str]]) -> study.Plot:
  from softmax_research.study import line_plot  # noqa: PLC0415  # Matplotlib takes long to import.

  lines = []
  for side, (found, key) in sides.items():
    if found:
      ranges = tuple(zip(*(times[f"{key}_range"] for times in found.values()), strict=True))
      values = [times[key] for times in found.values()]
      lines.append(line_plot.Line(side, list(found), values, ranges))
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
