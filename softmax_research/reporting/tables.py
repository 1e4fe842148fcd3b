"""Tables of a report as plain cells, which the page and the Markdown both render."""

import math
from typing import NamedTuple

from softmax_research.reporting import measures, statistics
from softmax_research.reporting.comparisons import Comparison
from softmax_research.reporting.measures import Measure
from softmax_research.reporting.records import HeadRecords, as_float, metric_value


class Cell(NamedTuple):
  """Hold one cell: a value, its spread beside it, a detail in smaller print, and its weight."""

  value: str
  spread: str = ""
  detail: str = ""
  strong: bool = False


class Row(NamedTuple):
  """Hold one row: its name, its cells and whether it belongs to the row above."""

  name: str
  cells: tuple[Cell, ...]
  subordinate: bool = False


class Table(NamedTuple):
  """Hold a table; `columns` leaves out the column of the rows' names."""

  columns: tuple[str, ...]
  rows: tuple[Row, ...]
  name_column: str = "head"


def summary_table(heads: list[HeadRecords]) -> Table:
  """Tabulate every measure on the test split: mean, spread and interval, and the ensemble."""
  columns = ("n", *(_with_unit(m.label, m.unit) for m in measures.SUMMARISED))
  rows = []
  for head in heads:
    cells = [_summary_cell(m, list(head.values(m.key).values())) for m in measures.SUMMARISED]
    rows.append(Row(head.name, (Cell(str(len(head.finished))), *cells)))
    if has_ensemble(head):
      cells = [Cell(m.format(metric_value(head.ensemble, m.key))) for m in measures.SUMMARISED]
      name = f"ensemble of {len(head.ensemble['seeds'])}"
      rows.append(Row(name, (Cell(""), *cells), subordinate=True))
  return Table(columns, tuple(rows))


def has_ensemble(head: HeadRecords) -> bool:
  """Return whether a head has an ensemble of several seeds; one of a single seed is that run."""
  return bool(head.ensemble and head.ensemble["metrics"] and len(head.ensemble["seeds"]) > 1)


def comparison_table(comparisons: list[Comparison], measure: Measure) -> Table:
  """Tabulate paired differences from the first head, with their tests."""
  unit = measure.difference_unit
  columns = (
    "pairs",
    _with_unit("difference", unit),
    "95% interval",
    "p",
    "p (Holm)",
    "effect size",
    _with_unit("detectable", unit),
  )
  rows = []
  for comparison in comparisons:
    paired = comparison.paired
    cells = (
      Cell(str(paired.n)),
      Cell(measure.format(paired.mean, signed=True)),
      Cell(_interval(measure, paired.low, paired.high, signed=True)),
      Cell(measures.format_p_value(paired.p_value)),
      Cell(measures.format_p_value(comparison.p_corrected), strong=comparison.significant),
      Cell(measures.format_number(paired.effect_size, 2, signed=True)),
      Cell(measure.format_detectable(comparison.detectable)),
    )
    rows.append(Row(comparison.head, cells))
  return Table(columns, tuple(rows))


def cost_table(heads: list[HeadRecords]) -> Table:
  """Tabulate size and speed: parameters, and medians over the finished seeds."""
  rows = []
  for head in heads:
    runs = list(head.finished.values())
    parameters = runs[0].get("num_parameters") if runs else None
    cells = (
      Cell(measures.MISSING if parameters is None else f"{parameters:,}"),
      Cell(_median(runs, "images_per_second", "{:,.0f}")),
      Cell(_median(runs, "wall_seconds", "{:.1f}")),
    )
    rows.append(Row(head.name, cells))
  return Table(("parameters", "images/s", "seconds a run"), tuple(rows))


def diverged_table(heads: list[HeadRecords]) -> Table | None:
  """Tabulate the diverged runs, or return None when there is none."""
  rows = []
  for head in heads:
    for seed, run in head.diverged.items():
      where = run.get("diverged") or {}
      cells = (
        Cell(str(seed)),
        Cell(str(where.get("step", measures.MISSING))),
        Cell(measures.format_number(as_float(where.get("last_finite_loss")), 4)),
      )
      rows.append(Row(head.name, cells))
  return Table(("seed", "step", "last finite loss"), tuple(rows)) if rows else None


def _summary_cell(measure: Measure, values: list[float]) -> Cell:
  """Return mean, standard deviation and interval of one measure."""
  summary = statistics.summarise(values)
  interval = "" if math.isnan(summary.low) else _interval(measure, summary.low, summary.high)
  return Cell(measure.format(summary.mean), f"± {measure.format(summary.std)}", interval)


def _interval(measure: Measure, low: float, high: float, *, signed: bool = False) -> str:
  """Return an interval in brackets, or a dash when it is undefined."""
  if math.isnan(low):
    return measures.MISSING
  return f"[{measure.format(low, signed=signed)}, {measure.format(high, signed=signed)}]"


def _with_unit(label: str, unit: str) -> str:
  """Return a column's title with its unit behind a comma."""
  return f"{label}, {unit}" if unit else label


def _median(runs: list[dict], key: str, form: str) -> str:
  """Return the median of a field of the runs that have it."""
  values = sorted(run[key] for run in runs if run.get(key) is not None)
  if not values:
    return measures.MISSING
  middle = len(values) // 2
  median = values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2
  return form.format(median)
