"""Published errors: test errors of the committed tables beside those of their papers."""

import json
import math
import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from softmax_research.study import Plot, figure_style, look_up, papers, record, summarise

_WIDTH, _HEIGHT = 0.75 * figure_style.WIDTH, 4.2


class Point(NamedTuple):
  """Hold a method in a setting, its errors as shares.

  Attributes:
    table: the directory of its table.
    published: the paper's error.
    values: of the seeds.
    verified: whether the paper's number was read; one that was recalled is drawn open.
  """

  table: str
  published: float
  values: Sequence[float]
  verified: bool = True


def points(directory: pathlib.Path) -> list[Point]:
  """Collect the methods of all tables whose paper has a test error or an accuracy of them.

  Args:
    directory: of the results, with a directory a table.

  Returns:
    A point for each method and setting with a finished seed; none where there is no table.
  """
  found = []
  for path in sorted(directory.glob("*/config.json")):
    config = json.loads(path.read_text(encoding="utf-8"))
    if config["study"] == "reproduce":
      found += _points(path.parent, config["settings"])
  return found


def errors_plot(found: Sequence[Point], *, name: str = "errors") -> Plot | None:
  """Plot mean errors with their 95% t intervals against published ones, both axes logarithmic.

  Args:
    found: points; those without a positive mean, or a positive published error, are left out.
    name: of the plot's files.

  Returns:
    The plot, or None where no point is left.
  """
  drawn = [(point, summarise(point.values)) for point in found]
  drawn = [(point, of) for point, of in drawn if point.published > 0 and of.mean > 0]
  if not drawn:
    return None
  tables = list(dict.fromkeys(point.table for point, _ in drawn))
  with figure_style.style_context():
    figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
    axes = figure.subplots()
    for point, of in drawn:
      colour = figure_style.head_style(1 + tables.index(point.table))["color"]
      place = 100 * point.published
      if math.isfinite(of.low):
        ends = [100 * max(of.low, 1e-5), 100 * of.high]
        axes.plot([place] * 2, ends, color=colour, linewidth=1.2)
      face = colour if point.verified else figure_style.PAPER
      axes.plot(place, 100 * of.mean, "o", color=colour, markerfacecolor=face)
    across = [100 * point.published for point, _ in drawn]
    up = [100 * of.mean for _, of in drawn]
    limits = [(min(of) / 1.5, 1.5 * max(of)) for of in (across, up)]
    ends = [min(limits[0][0], limits[1][0]), max(limits[0][1], limits[1][1])]
    axes.plot(ends, ends, color=figure_style.MUTED, linestyle=(0, (4, 3)), linewidth=0.9, zorder=1)
    axes.set(xscale="log", yscale="log", xlim=limits[0], ylim=limits[1])
    axes.set_xlabel("test error in the paper, %")
    axes.set_ylabel("test error here, %")
    for axis in (axes.xaxis, axes.yaxis):
      axis.set_major_formatter("{x:g}")
      axis.set_minor_formatter("")
    for number, table in enumerate(tables):
      colour = figure_style.head_style(1 + number)["color"]
      axes.text(1.02, 0.97 - 0.06 * number, table, transform=axes.transAxes, color=colour)
  caption = (
    "Means over the seeds with 95% t intervals. On the dashed line a table comes to what its paper "
    "says; above it the errors here are larger, as those of cpu variants, whose nets and data are "
    "cut down, are. Open marks are of numbers that were read nowhere."
  )
  return Plot(name, "Test errors here and in the papers", caption, figure)


def _points(directory: pathlib.Path, settings: dict) -> Iterator[Point]:
  paper = papers.load(settings["paper"])
  made = record.unique(record.read(directory / "results.jsonl"))
  cells = {json.dumps(of["cell"], sort_keys=True): of["cell"] for of in made}
  for cell in cells.values():
    if "trial" in cell:
      continue
    published = settings["settings"][cell["setting"]]["published"] or cell["setting"]
    number = _published(paper, published, cell["method"])
    errors = [
      look_up(of, "error")
      for of in made
      if of["cell"] == cell and of["status"] == "finished" and not math.isnan(look_up(of, "error"))
    ]
    if errors and number is not None:
      yield Point(directory.name, number[0], errors, number[1])


def _published(paper: papers.Paper, setting: str, method: str) -> tuple[float, bool] | None:
  """Return the published error, or what an accuracy leaves, and whether it was read."""
  for metric in ("error", "accuracy"):
    number = paper.find(setting, method, metric)
    if number.value is not None:
      return number.raw if metric == "error" else 1 - number.raw, number.verified
  return None
