"""Table plots: a row's seeds, mean and interval beside the published number, in panels."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from softmax_research.reporting import figure_style, statistics
from softmax_research.reporting.measures import Measure

# A row that lies this many times farther out than the middle one would squeeze all the others; so
# would published numbers that lie this many times our rows' range beyond it.
_OUTLYING = 6
_REACH = 2
_PUBLISHED = figure_style.head_style(2)["color"]


class Entry(NamedTuple):
  """Hold a row: its seeds' finite values, and the published number where there is one.

  A number that was recalled and read nowhere is not `verified`.
  """

  name: str
  values: Sequence[float]
  published: float | None = None
  verified: bool = True


class Panel(NamedTuple):
  """Hold a panel: a title and its rows from the top."""

  title: str
  entries: Sequence[Entry]


def table_plot(panels: Sequence[Panel], measure: Measure) -> Figure:
  """Plot means of seeds with their 95% t intervals, and published numbers.

  A dot is a seed, a diamond the mean, a square the published number, which is open where it is not
  verified. What lies far outside is an arrow in the margin with its number.

  Args:
    panels: at least one, each with at least one value of a seed.
    measure: what is plotted; the values are scaled to its unit already.

  Returns:
    The figure.
  """
  most = max(len(panel.entries) for panel in panels)
  with figure_style.style_context():
    figure, axes = figure_style.grid_of_axes(
      [panel.title for panel in panels], columns=2, height=0.85 + 0.24 * most
    )
    for place, panel in zip(axes, panels, strict=True):
      _draw(place, panel.entries, measure)
      place.set_xlabel(f"{measure.label}, {measure.unit}" if measure.unit else measure.label)
  return figure


def _draw(axes: Axes, entries: Sequence[Entry], measure: Measure) -> None:
  summaries = [statistics.summarise(entry.values) for entry in entries]
  low, high = _limits(entries, summaries)
  for row, (entry, summary) in enumerate(zip(entries, summaries, strict=True)):
    if math.isfinite(summary.mean):
      _draw_mean(axes, row, entry, summary, measure, (low, high))
    if entry.published is not None:
      face = _PUBLISHED if entry.verified else figure_style.PAPER
      style = {"color": _PUBLISHED, "markerfacecolor": face}
      if low <= entry.published <= high:
        axes.plot(entry.published, row, "s", markersize=4.5, zorder=3, **style)
      else:
        _mark_outside(axes, row, entry.published, measure, (low, high), _PUBLISHED)
  axes.set_yticks(range(len(entries)), [entry.name for entry in entries])
  axes.set_ylim(len(entries) - 0.4, -0.6)
  axes.set_xlim(low, high)
  axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
  axes.tick_params(axis="y", length=0, labelcolor=figure_style.INK)
  axes.spines["left"].set_visible(False)
  axes.grid(axis="y", visible=False)


def _draw_mean(axes, row, entry, summary, measure, limits) -> None:
  if not limits[0] <= summary.mean <= limits[1]:
    _mark_outside(axes, row, summary.mean, measure, limits, figure_style.INK)
    return
  values = entry.values
  # Seeds stand one above the other within their row, so that equal values stay visible.
  heights = row + (np.linspace(-0.2, 0.2, len(values)) if len(values) > 1 else np.zeros(1))
  colour = figure_style.head_style(1)["color"]
  axes.scatter(values, heights, s=9, color=colour, alpha=0.6, linewidth=0, zorder=2)
  if math.isfinite(summary.low):
    ends = [summary.low, summary.high]
    axes.plot(ends, [row, row], color=figure_style.INK, linewidth=1.4, zorder=4)
  axes.plot(summary.mean, row, "D", markersize=4.5, color=figure_style.INK, zorder=5)


def _mark_outside(axes, row, value, measure, limits, colour) -> None:
  """Write a value that lies beyond an edge in the right margin, with an arrow to its side."""
  text = f"{'→' if value > limits[1] else '←'} {measure.format(value / measure.scale)}"
  place = axes.get_yaxis_transform()
  axes.text(1.01, row, text, transform=place, va="center", color=colour, fontsize=7.5)


def _limits(entries, summaries) -> tuple[float, float]:
  """Return the ends of an axis that all but outlying numbers fit in."""
  means = [summary.mean for summary in summaries if math.isfinite(summary.mean)]
  middle = float(np.median(means))
  distances = sorted(abs(mean - middle) for mean in means if mean != middle)
  # With few rows there is no saying which of them lies outside.
  far = _OUTLYING * distances[(len(distances) - 1) // 2] if len(distances) > 3 else math.inf
  shown = [
    value
    for entry, summary in zip(entries, summaries, strict=True)
    if abs(summary.mean - middle) <= far
    for value in (*entry.values, summary.low, summary.high)
    if math.isfinite(value)
  ]
  low, high = min(shown), max(shown)
  reach = _REACH * (high - low)
  published = [entry.published for entry in entries if entry.published is not None]
  if all(low - reach <= value <= high + reach for value in published):
    shown += published
  low, high = min(shown), max(shown)
  room = 0.08 * (high - low) or 0.01 * max(abs(high), 1.0)
  return low - room, high + room
