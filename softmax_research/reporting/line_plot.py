"""Line plots: one or more panels of lines with their ranges as bands, named at their right ends."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from softmax_research.reporting import figure_style


class Line(NamedTuple):
  """Hold a line: `ranges` holds the lowest and the highest value at each place, or is None."""

  name: str
  places: Sequence[float]
  values: Sequence[float]
  ranges: tuple[Sequence[float], Sequence[float]] | None = None


class Panel(NamedTuple):
  """Hold a panel; `scales` are Matplotlib's of the horizontal and the vertical axis.

  What lies beyond the `limits` of the vertical axis is cut off; None shows all there is.
  """

  title: str
  axis: str
  lines: Sequence[Line]
  scales: tuple[str, str] = ("linear", "linear")
  limits: tuple[float, float] | None = None


def line_plot(panels: Sequence[Panel]) -> Figure:
  """Plot lines in panels below each other; a name has the same style in all of them.

  Args:
    panels: At least one panel of at least one line.

  Returns:
    The figure.
  """
  names = list(dict.fromkeys(line.name for panel in panels for line in panel.lines))
  with figure_style.style_context():
    figure = Figure(figsize=(figure_style.WIDTH, 2.9 * len(panels)))
    figure.subplots_adjust(
      left=0.07,
      right=1 - 0.06 - 0.0075 * max(map(len, names)),
      top=1 - 0.1 / len(panels),
      bottom=0.17 / len(panels),
      hspace=0.42,
    )
    axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for place, panel in zip(axes, panels, strict=True):
      ends = []
      for line in panel.lines:
        style = figure_style.head_style(names.index(line.name))
        place.plot(line.places, line.values, marker="o", markersize=3, **style)
        if line.ranges is not None:
          place.fill_between(
            line.places, *line.ranges, color=style["color"], alpha=0.15, linewidth=0
          )
        finite = [value for value in line.values if np.isfinite(value)]
        ends.append((line.name, finite[-1] if finite else np.nan, style))
      place.set_title(panel.title)
      place.set_xlabel(panel.axis)
      place.set_xscale(panel.scales[0])
      place.set_yscale(panel.scales[1])
      if panel.limits is not None:
        place.set_ylim(panel.limits)
        ends = [(name, np.clip(value, *panel.limits), style) for name, value, style in ends]
      figure_style.label_line_ends(place, ends)
  return figure
