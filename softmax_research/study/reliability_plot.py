"""Reliability diagrams: accuracy against confidence, in bins that are pooled over the seeds."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from softmax_research.study import figure_style
from softmax_research.study.groups import Group
from softmax_research.study.measures import measure_of
from softmax_research.study.statistics import summarise

LEAST_COUNT = 5  # a bin with fewer examples a seed says next to nothing
_ECE = measure_of("ece")


def reliability_plot(groups: Sequence[Group]) -> Figure | None:
  """Plot a reliability diagram for every group on the test split.

  Args:
    groups: with `metrics/test/reliability`: `count`, `confidence` and `accuracy` of each bin.

  Returns:
    A figure of one panel for each group, or None when no record has a reliability diagram.
  """
  pooled = [(of, bins) for of in groups if (bins := _pool(of)) is not None]
  if not pooled:
    return None
  with figure_style.style_context():
    columns = 3 if len(pooled) < 4 else 4 if len(pooled) < 13 else 6
    height = 1.17 * figure_style.WIDTH / columns
    names = [of.name for of, _ in pooled]
    figure, axes = figure_style.grid_of_axes(names, columns=columns, height=height)
    for panel, (of, bins) in zip(axes, pooled, strict=True):
      _draw(panel, figure_style.head_style(min(groups.index(of), 1))["color"], *bins)
      ece = summarise(list(of.values("ece").values())).mean
      panel.set_title(panel.get_title(loc="left"), pad=19)
      text = f"ECE {_ECE.format(ece)}%"
      panel.text(0, 1.045, text, transform=panel.transAxes, color=figure_style.MUTED)
    figure.supxlabel("confidence", fontsize=8, color=figure_style.MUTED)
    figure.supylabel("accuracy", fontsize=8, color=figure_style.MUTED)
  return figure


def _draw(
  axes: Axes, colour: str, count: np.ndarray, confidence: np.ndarray, accuracy: np.ndarray
) -> None:
  """Draw one diagram: the bins' share of the examples as bars, and their accuracy as dots."""
  edges = np.linspace(0, 1, count.size + 1)
  share = 0.25 * count / count.max()
  axes.bar(
    edges[:-1], share, width=np.diff(edges), align="edge", color=colour, alpha=0.22, linewidth=0
  )
  axes.plot([0, 1], [0, 1], color=figure_style.MUTED, linewidth=0.8, linestyle=(0, (3, 2)))
  few = (count > 0) & (count < LEAST_COUNT)
  axes.scatter(confidence[few], accuracy[few], s=9, color=colour, alpha=0.35, linewidth=0)
  enough = count >= LEAST_COUNT
  x, y = confidence[enough], accuracy[enough]
  # Two standard errors of a proportion: a bin with few examples scatters by chance.
  error = 2 * np.sqrt(np.maximum(y * (1 - y), 0) / count[enough])
  axes.vlines(x, np.maximum(y - error, 0), np.minimum(y + error, 1), color=colour, linewidth=0.8)
  axes.plot(x, y, color=colour, linewidth=1.1)
  axes.scatter(x, y, s=14, color=colour, linewidth=0, zorder=3)
  axes.set_xlim(0, 1)
  axes.set_ylim(0, 1.02)
  axes.set_aspect("equal")
  for axis in (axes.xaxis, axes.yaxis):
    axis.set_major_locator(FixedLocator([0, 0.5, 1]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _pool(of: Group) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
  """Return counts, confidences and accuracies `[bins]` over all seeds; an empty bin has NaN.

  The counts are means over the seeds, because the seeds predict the same images: five seeds do
  not make five times as many independent examples.
  """
  found = [made["metrics"].get("test", {}).get("reliability") for made in of.finished.values()]
  diagrams = [diagram for diagram in found if diagram]
  counts = np.array([diagram["count"] for diagram in diagrams], np.float64)
  if not counts.any():
    return None
  total = counts.sum(axis=0)

  def mean(name: str) -> np.ndarray:
    values = np.array(
      [[math.nan if v is None else v for v in diagram[name]] for diagram in diagrams], np.float64
    )
    sums = np.where(counts > 0, counts * values, 0.0).sum(axis=0)
    return np.divide(sums, total, out=np.full_like(sums, np.nan), where=total > 0)

  return total / len(diagrams), mean("confidence"), mean("accuracy")
