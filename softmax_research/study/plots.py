"""Plots that several reports share, from records to the plot: lines, curves, differences.

Matplotlib takes long to import, so the figures' modules are imported where a plot is drawn.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from softmax_research.study.blocks import Plot
from softmax_research.study.groups import (
  By,
  Group,
  Records,
  as_groups,
  check_items,
  check_measures,
  compare,
  differing,
  group,
)
from softmax_research.study.measures import Measure, as_measures
from softmax_research.study.statistics import summarise

_INTERVALS = "Lines are means over the seeds, bands their 95% t intervals."
_RANGES = "Lines are means over the seeds, bands the range of the seeds."


def plot(
  records: Records,
  *,
  x: str,
  y: str | Measure | Sequence[str | Measure],
  by: By = None,
  interval: bool = True,
  scales: tuple[str, str] = ("linear", "linear"),
  limits: tuple[float, float] | None = None,
  name: str | None = None,
  heading: str | None = None,
  caption: str = "",
) -> Plot:
  """Plot means over the seeds against an item of the cells.

  Args:
    records: of a study.
    x: name of an item of the cells, a number.
    y: what is plotted, a panel each.
    by: what makes a line; by default all else in which the cells differ. More than eight lines have
      a small panel each.
    interval: whether the 95% t intervals are drawn.
    scales: `linear` or `log`, of the horizontal and the vertical axis.
    limits: of the vertical axis; what lies beyond is cut off.
    name: of the plot's files; by default made from `x` and `y`.
    heading: by default made from `x` and `y`.
    caption: stands before what the lines are.
  """
  from softmax_research.study import line_plot  # noqa: PLC0415

  measures = as_measures(y)
  check_measures(records, measures)
  check_items(records, [x])
  if by is None:
    by = tuple(item for item in differing(records) if item != x) or (lambda made: "mean")
  places = sorted({made["cell"][x] for made in records})
  groups: dict[str, dict[float, Group]] = {}  # by the line's name and the place
  for place in places:
    for of in group([made for made in records if made["cell"][x] == place], by):
      groups.setdefault(of.name, {})[place] = of
  panels = []
  for measure in measures:
    lines = []
    for line, at in groups.items():
      values = [list(at[place].values(measure).values()) if place in at else [] for place in places]
      found = [summarise(measure.scale * np.array(seeds)) for seeds in values]
      ranges = ([s.low for s in found], [s.high for s in found]) if interval else None
      lines.append(line_plot.Line(line, places, [s.mean for s in found], ranges))
    title = _capital(measure.title)
    panels.append(line_plot.Panel(title, x.replace("_", " "), lines, scales, limits))
  what = f"{', '.join(m.label for m in measures)} by {x.replace('_', ' ')}"
  said = _INTERVALS if interval else "Lines are means over the seeds."
  return Plot(
    name or f"{'_'.join(m.key for m in measures)}_by_{x}",
    heading or _capital(what),
    f"{caption} {_crowded(said, list(groups))}".strip(),
    line_plot.line_plot(panels),
  )


def curves(
  records: Records,
  *,
  panels: Mapping[str, str | tuple[str, Callable[[np.ndarray], np.ndarray]]],
  by: By = None,
  x: str = "epoch",
  name: str = "curves",
  heading: str = "Curves",
  caption: str = "",
  scales: tuple[str, str | None] = ("linear", None),
  limits: tuple[float, float] | None = None,
) -> Plot | None:
  """Plot curves of the records: means over the seeds, with the range of the seeds.

  Args:
    records: of a study; or groups, whose order is kept.
    panels: by the panel's title the name of a curve, or a pair of it and of what is done to its
      values. A panel without any values is left out.
    by: what makes a line; see `groups.By`. More than eight lines have a small panel each.
    x: name of the curve of places.
    name: of the plot's files.
    heading: of the plot.
    caption: stands behind what the lines are.
    scales: of both axes; None takes a logarithmic one where values fall, and spread fourfold.
    limits: of the vertical axis; what lies beyond is cut off.

  Returns:
    The plot, or None where no record has such a curve.
  """
  from softmax_research.study import line_plot  # noqa: PLC0415

  groups = as_groups(records, by)
  drawn = []
  for title, what in panels.items():
    key, change = (what, lambda values: values) if isinstance(what, str) else what
    lines = []
    for of in groups:
      places, values = _over_seeds(of, x, key)
      if not values.size:
        continue
      values = change(values)
      values = np.ma.masked_array(values, np.isnan(values))
      mean, low, high = (_gaps(over(axis=0)) for over in (values.mean, values.min, values.max))
      if np.isfinite(mean).any():
        lines.append(
          line_plot.Line(of.name, places, mean, (low, high) if len(values) > 1 else None)
        )
    if lines:
      scale = scales[1] or _scale(lines)
      drawn.append(line_plot.Panel(title, x, lines, (scales[0], scale), limits))
  if not drawn:
    return None
  names = dict.fromkeys(line.name for panel in drawn for line in panel.lines)
  text = f"{_crowded(_RANGES, list(names))} {caption}".strip()
  return Plot(name, heading, text, line_plot.line_plot(drawn))


def difference_plot(
  records: Records,
  *,
  measures: Sequence[str | Measure],
  rows: By = None,
) -> Plot | None:
  """Plot paired differences from the first row, a panel a measure.

  Args:
    records: of a study; or groups, whose order is kept.
    measures: what is compared; by the first of them many rows are sorted.
    rows: what makes a row; see `groups.By`.

  Returns:
    The plot, or None where no two rows have a seed in common.
  """
  from softmax_research.study import dot_plot  # noqa: PLC0415

  measures = as_measures(measures)
  check_measures(records, measures)
  groups = as_groups(records, rows, sort_by=measures[0])
  drawn = []
  for measure in measures:
    entries = [
      dot_plot.Entry(of.name, list(of.values.values()), filled=of.significant)
      for of in compare(groups, measure)
    ]
    left, right = ("worse", "better") if measure.higher_is_better else ("better", "worse")
    unit = f", {measure.difference_unit}" if measure.difference_unit else ""
    title = f"{_capital(measure.label)} minus that of {groups[0].name}{unit}"
    # Wide spaces, which SVG does not collapse.
    axis = f"← {left}\u2003\u2003{right} →"
    if any(math.isfinite(value) for entry in entries for value in entry.values):
      drawn.append(dot_plot.Panel(title, entries, measure, axis, differences=True))
  if not drawn:
    return None
  return Plot(
    "paired_differences",
    "Paired differences",
    f"Each dot is one seed: a row's value minus that of {groups[0].name} with the same seed. "
    "Diamonds are means, filled where the difference is significant at the 5% level after "
    "Holm's correction; lines are 95% intervals, not corrected. A number with an arrow is the mean "
    "of a row that lies beyond the axis.",
    dot_plot.dot_plot(drawn),
  )


def _over_seeds(of: Group, x: str, key: str) -> tuple[np.ndarray, np.ndarray]:
  """Return the places `[P]` and the values `[seeds, P]` of a curve, NaN where a seed has none.

  A value of None is infinite: a mean that left it out would be of the other seeds alone.
  """
  by_seed = []
  for made in of.finished.values():
    curves = made["curves"]
    if curves.get(key):
      numbers = [math.inf if value is None else value for value in curves[key]]
      by_seed.append(dict(zip(curves[x], numbers, strict=True)))
  places = sorted(set().union(*by_seed))
  values = [[curve.get(place, np.nan) for place in places] for curve in by_seed]
  return np.array(places), np.array(values, np.float64).reshape(len(by_seed), len(places))


def _gaps(values: np.ma.MaskedArray) -> np.ndarray:
  filled = values.filled(np.nan)
  return np.where(np.isfinite(filled), filled, np.nan)


def _scale(lines) -> str:
  """Return the scale that suits lines: losses that fall keep falling on a logarithmic one."""
  finite = [np.asarray(line.values)[np.isfinite(line.values)] for line in lines]
  low, high = min(values.min() for values in finite), max(values.max() for values in finite)
  falling = np.median([values[-1] for values in finite]) < np.median([v[0] for v in finite])
  return "log" if falling and low > 0 and high > 4 * low else "linear"


def _crowded(text: str, names: Sequence[str]) -> str:
  from softmax_research.study import line_plot  # noqa: PLC0415

  if len(names) <= line_plot.MOST_TOGETHER:
    return text
  return (
    f"{text} Each panel shows one row in blue, and {names[0]} in black; what lies far from most is "
    "cut off."
  )


def _capital(text: str) -> str:
  return text[:1].upper() + text[1:]
