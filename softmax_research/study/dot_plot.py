"""Dot plots: a row's seeds, their mean and its interval, beside published numbers or about zero."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from softmax_research.study import figure_style
from softmax_research.study.measures import Measure
from softmax_research.study.statistics import Summary, summarise

# A row that lies this many times farther out than the middle one would squeeze all the others; so
# would published numbers that lie this many times our rows' range beyond it.
_OUTLYING = 6
_REACH = 2
_PUBLISHED = figure_style.head_style(2)["color"]


class Entry(NamedTuple):
  """Hold a row: values of seeds as records hold them, a published number as it is printed.

  Values that are not finite are left out, and counted beside the name. A number that nobody read
  (`verified`) is drawn open, and so is a mean that is not `filled`.
  """

  name: str
  values: Sequence[float]
  published: float | None = None
  verified: bool = True
  filled: bool = True


class Panel(NamedTuple):
  """Hold a panel: a title, its rows from the top, what is measured, and a title of the axis.

  Where the values are `differences`, zero is marked.
  """

  title: str
  entries: Sequence[Entry]
  measure: Measure
  axis: str = ""
  differences: bool = False


def dot_plot(panels: Sequence[Panel]) -> Figure:
  """Plot means of seeds with their 95% t intervals, and published numbers.

  A dot is a seed, a diamond the mean, a square the published number, which is open where it is not
  verified. What lies far outside is an arrow in the margin with its number.
  """
  most = max(len(panel.entries) for panel in panels)
  with figure_style.style_context():
    figure, axes = figure_style.grid_of_axes(
      [panel.title for panel in panels], columns=2, height=0.85 + 0.24 * most
    )
    for place, panel in zip(axes, panels, strict=True):
      _draw(place, panel)
  return figure


def _draw(axes: Axes, panel: Panel) -> None:
  measure, entries = panel.measure, panel.entries
  values = [
    measure.scale * np.array([v for v in entry.values if math.isfinite(v)]) for entry in entries
  ]
  summaries = [summarise(of) for of in values]
  low, high = _limits(panel, values, summaries)
  if panel.differences:
    axes.axvline(0, color=figure_style.INK, linewidth=0.9)
  for row, (entry, of, summary) in enumerate(zip(entries, values, summaries, strict=True)):
    if low <= summary.mean <= high:
      _draw_mean(axes, row, of, summary, filled=entry.filled)
    elif summary.n:
      _mark_outside(axes, row, summary.mean, panel, (low, high), figure_style.INK)
    if entry.published is not None:
      face = _PUBLISHED if entry.verified else figure_style.PAPER
      style = {"color": _PUBLISHED, "markerfacecolor": face}
      if low <= entry.published <= high:
        axes.plot(entry.published, row, "s", markersize=4.5, zorder=3, **style)
      else:
        _mark_outside(axes, row, entry.published, panel, (low, high), _PUBLISHED)
  figure_style.label_rows(axes, [_label(e, len(of)) for e, of in zip(entries, values, strict=True)])
  axes.set_xlim(low, high)
  axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
  axes.set_xlabel(panel.axis or measure.title)


def _label(entry: Entry, num_shown: int) -> str:
  left_out = len(entry.values) - num_shown
  name = figure_style.shorten(entry.name, figure_style.LONGEST_LABEL)
  return f"{name} ({left_out} not finite)" if left_out else name


def _draw_mean(axes: Axes, row: int, values: np.ndarray, summary: Summary, *, filled: bool) -> None:
  # Seeds stand one above the other within their row, so that equal values stay visible.
  heights = row + (np.linspace(-0.2, 0.2, len(values)) if len(values) > 1 else np.zeros(1))
  colour = figure_style.head_style(1)["color"]
  axes.scatter(values, heights, s=9, color=colour, alpha=0.6, linewidth=0, zorder=2)
  if math.isfinite(summary.low):
    ends = [summary.low, summary.high]
    axes.plot(ends, [row, row], color=figure_style.INK, linewidth=1.4, zorder=4)
  face = figure_style.INK if filled else figure_style.PAPER
  style = {"color": figure_style.INK, "markerfacecolor": face}
  axes.plot(summary.mean, row, "D", markersize=4.5, zorder=5, **style)


def _mark_outside(axes: Axes, row: int, value: float, panel: Panel, limits, colour: str) -> None:
  number = panel.measure.format(value / panel.measure.scale, signed=panel.differences)
  text = f"{'→' if value > limits[1] else '←'} {number}"
  place = axes.get_yaxis_transform()
  axes.text(1.01, row, text, transform=place, va="center", color=colour, fontsize=7.5)


def _limits(panel: Panel, values, summaries) -> tuple[float, float]:
  """Return the ends of an axis that all but outlying numbers fit in."""
  means = [summary.mean for summary in summaries if summary.n]
  middle = 0.0 if panel.differences else float(np.median(means))
  distances = sorted(abs(mean - middle) for mean in means if mean != middle)
  # With few rows there is no saying which of them lies outside.
  far = _OUTLYING * distances[(len(distances) - 1) // 2] if len(distances) > 4 else math.inf
  shown = [
    value
    for of, summary in zip(values, summaries, strict=True)
    if abs(summary.mean - middle) <= far
    for value in (*of, summary.low, summary.high)
    if math.isfinite(value)
  ]
  if panel.differences:
    shown.append(0.0)
  low, high = min(shown), max(shown)
  reach = _REACH * (high - low)
  published = [entry.published for entry in panel.entries if entry.published is not None]
  if all(low - reach <= value <= high + reach for value in published):
    shown += published
  low, high = min(shown), max(shown)
  room = 0.08 * (high - low) or 0.01 * max(abs(high), 1.0)
  return low - room, high + room
