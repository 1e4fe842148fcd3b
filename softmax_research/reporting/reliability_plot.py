"""Reliability diagrams: accuracy against confidence, in bins that are pooled over the seeds."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from softmax_research.reporting import figure_style, measures, statistics
from softmax_research.reporting.records import HeadRecords, as_float

LEAST_COUNT = 5  # a bin with fewer examples a seed says next to nothing


def reliability_plot(heads: list[HeadRecords]) -> Figure | None:
  """Plot a reliability diagram for every head on the test split.

  Args:
    heads: Heads with their runs.

  Returns:
    A figure of one panel for each head, or None when no run has a reliability diagram.
  """
  pooled = [(i, head, _pool(head)) for i, head in enumerate(heads)]
  pooled = [(i, head, bins) for i, head, bins in pooled if bins is not None]
  if not pooled:
    return None
  with figure_style.style_context():
    names = [head.name for _, head, _ in pooled]
    columns = 4 if len(names) > 3 else 3
    height = 1.17 * figure_style.WIDTH / columns
    figure, axes = figure_style.grid_of_axes(names, columns=columns, height=height)
    for panel, (index, head, bins) in zip(axes, pooled, strict=True):
      _draw(panel, index, *bins)
      ece = statistics.summarise(list(head.values("ece").values())).mean
      panel.set_title(panel.get_title(loc="left"), pad=19)
      panel.text(
        0,
        1.045,
        f"ECE {measures.ECE.format(ece)}%",
        transform=panel.transAxes,
        color=figure_style.MUTED,
      )
    figure.supxlabel("confidence", fontsize=8, color=figure_style.MUTED)
    figure.supylabel("accuracy", fontsize=8, color=figure_style.MUTED)
  return figure


def _draw(
  axes: Axes, index: int, count: np.ndarray, confidence: np.ndarray, accuracy: np.ndarray
) -> None:
  """Draw one diagram: the bins' share of the examples as bars, and their accuracy as dots."""
  colour = figure_style.head_style(index)["color"]
  edges = np.linspace(0, 1, count.size + 1)
  share = count / count.sum()
  axes.bar(
    edges[:-1],
    0.25 * share / share.max(),
    width=np.diff(edges),
    align="edge",
    color=colour,
    alpha=0.22,
    linewidth=0,
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


def _pool(head: HeadRecords) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
  """Return counts, confidences and accuracies `[bins]` over all seeds; an empty bin has NaN.

  The counts are means over the seeds, because the seeds predict the same images: five seeds do
  not make five times as many independent examples.
  """
  diagrams = [run["metrics"]["test"].get("reliability") for run in head.finished.values()]
  diagrams = [diagram for diagram in diagrams if diagram]
  if not diagrams:
    return None
  counts = np.array([diagram["count"] for diagram in diagrams], np.float64)
  total = counts.sum(axis=0)
  if not total.any():
    return None

  def mean(name: str) -> np.ndarray:
    values = np.array([[as_float(v) for v in diagram[name]] for diagram in diagrams])
    sums = np.where(counts > 0, counts * values, 0.0).sum(axis=0)
    return np.divide(sums, total, out=np.full_like(sums, np.nan), where=total > 0)

  return total / len(diagrams), mean("confidence"), mean("accuracy")
