"""Paired differences: a dot for each seed, with the mean and its interval, for every head."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from softmax_research.reporting import figure_style
from softmax_research.reporting.comparisons import Comparison
from softmax_research.reporting.measures import Measure

# A head that lies this many times farther out than the middle one would squeeze all the others.
_OUTLYING = 6


def difference_plot(
  baseline: str, comparisons: list[tuple[Measure, list[Comparison]]]
) -> Figure | None:
  """Plot the paired differences from the first head.

  Args:
    baseline: Name of the first head.
    comparisons: For each measure, the comparison of every other head.

  Returns:
    A figure of one panel for each measure, or None when there is no pair at all.
  """
  names = [comparison.head for comparison in comparisons[0][1]]
  if not any(comparison.seeds for _, ones in comparisons for comparison in ones):
    return None
  with figure_style.style_context():
    figure = Figure(figsize=(figure_style.WIDTH, 1.1 + 0.36 * len(names)), layout="constrained")
    axes = figure.subplots(1, len(comparisons), sharey=True, squeeze=False)[0]
    for panel, (measure, ones) in zip(axes, comparisons, strict=True):
      _draw(panel, measure, ones)
      unit = f", {measure.difference_unit}" if measure.difference_unit else ""
      panel.set_title(f"Test {measure.label} minus that of {baseline}{unit}")
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_ylim(len(names) - 0.45, -0.55)
    axes[0].tick_params(axis="y", labelcolor=figure_style.INK)
  return figure


def _draw(axes: Axes, measure: Measure, comparisons: list[Comparison]) -> None:
  """Draw the rows of one measure."""
  limit = _limit([_extent(comparison) * measure.scale for comparison in comparisons])
  axes.axvline(0, color=figure_style.INK, linewidth=0.9)
  for row, comparison in enumerate(comparisons):
    colour = figure_style.head_style(row + 1)["color"]
    mean = comparison.paired.mean * measure.scale
    if math.isnan(mean):
      continue
    if abs(mean) > limit:
      _mark_outside(axes, row, math.copysign(limit, mean), measure.format(mean / measure.scale))
      continue
    count = len(comparison.differences)
    # Seeds stand one above the other within their row, so that equal values stay visible.
    heights = row + (np.linspace(-0.2, 0.2, count) if count > 1 else np.zeros(1))
    values = np.array(comparison.differences) * measure.scale
    axes.scatter(values, heights, s=13, color=colour, alpha=0.85, linewidth=0, zorder=2)
    if not math.isnan(comparison.paired.low):
      ends = [comparison.paired.low * measure.scale, comparison.paired.high * measure.scale]
      axes.plot(ends, [row, row], color=figure_style.INK, linewidth=1.4, zorder=3)
    face = figure_style.INK if comparison.significant else figure_style.PAPER
    axes.plot(
      mean, row, marker="D", markersize=5.5, color=figure_style.INK, markerfacecolor=face, zorder=4
    )
  axes.set_xlim(-limit, limit)
  axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
  axes.tick_params(axis="y", length=0)
  axes.spines["left"].set_visible(False)
  axes.grid(axis="y", visible=False)
  left, right = ("worse", "better") if measure.higher_is_better else ("better", "worse")
  axes.set_xlabel(f"← {left}\u2003\u2003{right} →")  # wide spaces, which SVG does not collapse


def _extent(comparison: Comparison) -> float:
  """Return how far the dots and the interval of a row lie from zero."""
  ends = [*comparison.differences, comparison.paired.low, comparison.paired.high]
  return max((abs(end) for end in ends if math.isfinite(end)), default=0.0)


def _limit(extents: list[float]) -> float:
  """Return the end of a symmetric axis that all but outlying rows fit in."""
  positive = sorted(extent for extent in extents if extent > 0)
  if not positive:
    return 1.0
  if len(positive) < 4:  # too few to say which of them lies outside
    return 1.08 * positive[-1]
  middle = positive[(len(positive) - 1) // 2]
  return 1.08 * max(extent for extent in positive if extent <= _OUTLYING * middle)


def _mark_outside(axes: Axes, row: int, edge: float, text: str) -> None:
  """Point beyond the edge to a row that lies outside, with its mean in words."""
  arrow, side = (f"{text} →", "right") if edge > 0 else (f"← {text}", "left")
  axes.text(edge * 0.98, row, arrow, ha=side, va="center", color=figure_style.INK)
