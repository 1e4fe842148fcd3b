"""Line plots: panels of lines with their ranges as bands, named at their ends or in panels each."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
  FixedLocator,
  FuncFormatter,
  Locator,
  MaxNLocator,
  NullFormatter,
  NullLocator,
)

from softmax_research.study import figure_style

# More lines than these cannot be told apart in one panel.
MOST_TOGETHER = 8
_COLUMNS = 6
_MOST_MARKED = 12  # places of a line that are marked by dots
# A logarithmic axis over a smaller ratio than this has too few powers of ten for ticks.
_LEAST_DECADES = 100
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
# Inches: what stands above and below a panel's lines, and how high these are.
_TOP, _BOTTOM, _HEIGHT = 0.32, 0.45, 2.1
_SMALL_TOP, _SMALL_HEIGHT = 0.3, 0.85


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

  More than eight lines have a small panel each, beside the first line, which is black; what few of
  them have far from the others is cut off.
  """
  names = list(dict.fromkeys(line.name for panel in panels for line in panel.lines))
  with figure_style.style_context():
    if len(names) > MOST_TOGETHER:
      return _small_panels(panels, names)
    height = (_TOP + _HEIGHT + _BOTTOM) * len(panels)
    figure = Figure(figsize=(figure_style.WIDTH, height))
    longest = min(max(map(len, names)), figure_style.LONGEST_LABEL)
    grid = figure.add_gridspec(
      len(panels), 1, left=0.07, right=1 - 0.06 - 0.0075 * longest, top=1 - _TOP / height,
      bottom=_BOTTOM / height, hspace=(_TOP + _BOTTOM) / _HEIGHT,
    )  # fmt: skip
    for place, panel in zip(grid.subplots(squeeze=False)[:, 0], panels, strict=True):
      ends = []
      for line in panel.lines:
        style = figure_style.head_style(names.index(line.name))
        _draw(place, line, style)
        finite = [value for value in line.values if np.isfinite(value)]
        ends.append((line.name, finite[-1] if finite else np.nan, style))
      place.set_title(panel.title)
      place.set_xlabel(panel.axis)
      _set_axes(place, panel)
      if panel.limits is not None:
        ends = [(name, np.clip(value, *panel.limits), style) for name, value, style in ends]
      figure_style.label_line_ends(place, ends)
  return figure


def _small_panels(panels: Sequence[Panel], names: Sequence[str]) -> Figure:
  rows = -(-(len(names) - 1) // _COLUMNS)
  block = _TOP + rows * (_SMALL_TOP + _SMALL_HEIGHT) + _BOTTOM
  total = block * len(panels)
  figure = Figure(figsize=(figure_style.WIDTH, total))
  for number, panel in enumerate(panels):
    top = 1 - (number * block + _TOP) / total
    figure.text(0.005, top + 0.08 / total, panel.title, fontsize=9, fontweight="bold")
    grid = figure.add_gridspec(
      rows, _COLUMNS, left=0.055, right=0.98, top=top - _SMALL_TOP / total,
      bottom=1 - ((number + 1) * block - _BOTTOM) / total, wspace=0.13,
      hspace=_SMALL_TOP / _SMALL_HEIGHT,
    )  # fmt: skip
    axes = list(grid.subplots(sharex=True, sharey=True).flat)
    by_name = {line.name: line for line in panel.lines}
    for place, name in zip(axes, names[1:], strict=False):
      _draw(place, by_name.get(names[0]), figure_style.head_style(0), band=False, marker=None)
      _draw(place, by_name.get(name), figure_style.head_style(1), marker=None)
      place.set_title(figure_style.shorten(name, 24), fontsize=7.5, fontweight="normal", pad=3)
      if panel.scales[0] == "linear":
        # The last number of a panel would stand beside the first of the next.
        place.xaxis.set_major_locator(MaxNLocator(4, prune="upper"))
      _set_axes(place, panel._replace(limits=panel.limits or _most(panel, by_name.get(names[0]))))
    for unused in axes[len(names) - 1 :]:
      unused.set_visible(False)
    for place in axes[-_COLUMNS - (len(axes) - len(names) + 1) : len(names) - 1]:
      place.tick_params(labelbottom=True)
    axes[(rows - 1) * _COLUMNS].set_xlabel(panel.axis)
  return figure


def _logarithmic(low: float, high: float) -> Locator:
  """Return ticks of a logarithmic axis: powers of ten, and more where these are few."""
  powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
  ticks = powers if high > _LEAST_DECADES * low else np.outer(powers, (1, 2, 5)).ravel()
  ticks = ticks[(low <= ticks) & (ticks <= high)]
  return FixedLocator(ticks) if len(ticks) > 1 else MaxNLocator(4)


def _plain(value: float) -> str:
  """Return a tick's number; far from one as a power of ten."""
  number, _, exponent = f"{value:,.10g}".partition("e")
  if not exponent:
    return number
  factor = "" if number == "1" else f"{number}·"
  return f"{factor}10{str(int(exponent)).translate(_SUPERSCRIPTS)}"


def _most(panel: Panel, first: Line | None) -> tuple[float, float]:
  values = np.concatenate([np.asarray(line.values, np.float64) for line in panel.lines])
  ends = np.quantile(values[np.isfinite(values)], (0.02, 0.95))
  of_first = [value for value in first.values if np.isfinite(value)] if first else []
  low, high = min([ends[0], *of_first]), max([ends[1], *of_first])
  if panel.scales[1] == "log":
    room = (high / low) ** 0.08
    return low / room, high * room
  room = 0.08 * (high - low) or 1.0
  return low - room, high + room


def _draw(axes: Axes, line: Line | None, style: dict, *, band: bool = True, marker="o") -> None:
  if line is None:
    return
  if len(line.places) == 1 or len(line.places) > _MOST_MARKED:
    marker = "o" if len(line.places) == 1 else None
  axes.plot(line.places, line.values, marker=marker, markersize=3, **style)
  if band and line.ranges is not None:
    axes.fill_between(line.places, *line.ranges, color=style["color"], alpha=0.15, linewidth=0)


def _set_axes(axes: Axes, panel: Panel) -> None:
  """Set scales and limits; ticks are plain numbers, since formulas are not read."""
  axes.set_xscale(panel.scales[0])
  axes.set_yscale(panel.scales[1])
  if panel.limits is not None:
    axes.set_ylim(panel.limits)
  for axis, scale, ends in (
    (axes.xaxis, panel.scales[0], axes.get_xlim()),
    (axes.yaxis, panel.scales[1], axes.get_ylim()),
  ):
    if scale == "log":
      axis.set_major_locator(_logarithmic(*ends))
      axis.set_major_formatter(FuncFormatter(lambda value, _: _plain(value)))
      axis.set_minor_formatter(NullFormatter())
      axis.set_minor_locator(NullLocator())
  if panel.scales[0] == "linear":
    axes.margins(x=0.01)
  if panel.axis == "epoch":
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(axis="x", visible=False)
