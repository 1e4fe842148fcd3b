"""Published plot: errors here against the errors that papers published."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from softmax_research.reporting import figure_style, statistics


class Point(NamedTuple):
  """Hold a method in a setting: the group it belongs to, its published error and its seeds'.

  Errors are percentages. A number that was recalled and read nowhere is not `verified`.
  """

  group: str
  published: float
  values: Sequence[float]
  verified: bool = True


def published_plot(points: Sequence[Point]) -> Figure | None:
  """Plot mean errors with their 95% t intervals against published ones, both axes logarithmic.

  On the dashed line a table comes to what its paper says; above it the errors here are larger.
  Marks of numbers that are not verified are open.

  Args:
    points: those without a positive mean, or a positive published error, are left out.

  Returns:
    The figure, or None when no point is left.
  """
  summaries = [(point, statistics.summarise(point.values)) for point in points]
  summaries = [(p, s) for p, s in summaries if p.published > 0 and s.mean > 0]
  if not summaries:
    return None
  groups = list(dict.fromkeys(point.group for point, _ in summaries))
  with figure_style.style_context():
    figure = Figure(figsize=(0.75 * figure_style.WIDTH, 4.2), layout="constrained")
    axes = figure.subplots()
    for point, summary in summaries:
      colour = figure_style.head_style(1 + groups.index(point.group))["color"]
      if math.isfinite(summary.low):
        ends = [max(summary.low, 1e-3), summary.high]
        axes.plot([point.published] * 2, ends, color=colour, linewidth=1.2)
      face = colour if point.verified else figure_style.PAPER
      axes.plot(point.published, summary.mean, "o", color=colour, markerfacecolor=face)
    every = [p.published for p, _ in summaries] + [s.mean for _, s in summaries]
    ends = [min(every) / 1.5, max(every) * 1.5]
    axes.plot(ends, ends, color=figure_style.MUTED, linestyle=(0, (4, 3)), linewidth=0.9, zorder=1)
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
    axes.set_xlabel("test error in the paper, %")
    axes.set_ylabel("test error here, %")
    for axis in (axes.xaxis, axes.yaxis):
      axis.set_major_formatter("{x:g}")
      axis.set_minor_formatter("")
    for number, group in enumerate(groups):
      colour = figure_style.head_style(1 + number)["color"]
      axes.text(1.02, 0.97 - 0.06 * number, group, transform=axes.transAxes, color=colour)
  return figure
