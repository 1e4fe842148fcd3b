"""Tables that several reports share, made from records: means, differences, cost, failures."""

import math
import statistics as medians
from collections.abc import Sequence

from softmax_research.study import record
from softmax_research.study.blocks import Cell, Row, Table, table_of
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
  text_of,
  title_of,
)
from softmax_research.study.measures import (
  MISSING,
  Measure,
  as_measure,
  as_measures,
  format_number,
  format_p_value,
)
from softmax_research.study.statistics import summarise

#: What the table of `differences` shows, in words.
METHOD = (
  "Paired t-tests over the seeds that both rows finished. p (Holm) is corrected for the number of "
  "tests in its table and bold below 0.05; intervals are not corrected. Effect size: "
  "mean over standard deviation of the differences. Detectable: the true difference that these "
  "pairs would find with 80% power at 0.05 over the number of tests, given their spread."
)
#: What a cell of `compared` shows, in words, which leave the first row's name open.
COMPARED = (
  "Each cell: mean ± standard deviation over n seeds and, in brackets, the mean difference from "
  "{baseline} over the same seeds with the p-value of a paired t-test, corrected by Holm's method "
  "for the rows of its column; bold where it is below 0.05."
)


def table(
  records: Records,
  *,
  measure: str | Measure | Sequence[str | Measure],
  rows: By = None,
  columns: str | None = None,
  baseline: str | None = None,
  interval: bool = True,
  name: str = "summary",
) -> Table:
  """Tabulate means over the seeds with their standard deviations and 95% t intervals.

  Args:
    records: of a study; without `columns` they can be groups, whose order is kept.
    measure: what is shown, a column each; of a table with `columns`, one.
    rows: what makes a row; see `groups.By`.
    columns: name of an item of the cells whose values are the columns.
    baseline: the row that stands first; by default the first one. More than eight rows are sorted
      by the first measure, the best first.
    interval: whether the interval is shown.
    name: of the table's files.

  Returns:
    The table. A row's ensemble, where there is one, stands below it.

  Example:
    >>> made = [{"cell": {"sampler": "uniform"}, "seed": seed, "status": "finished",
    ...   "metrics": {}, "measured": {"bias": bias}} for seed, bias in enumerate([0.5, 0.7])]
    >>> table(made, measure="bias").rows[0].cells[1].value
    '0.6000'
  """
  measures = as_measures(measure)
  check_measures(records, measures)
  if columns is not None:
    return _crossed(records, measures[0], rows, columns, interval, name)
  found = []
  for of in as_groups(records, rows, sort_by=measures[0], baseline=baseline):
    cells = [mean_cell(list(of.values(m).values()), m, interval=interval) for m in measures]
    found.append(Row(of.name, (Cell(str(len(of.finished))), *cells)))
    if of.ensemble is not None:
      members = of.ensemble["cell"]["ensemble"]
      cells = [Cell(m.format(record.look_up(of.ensemble, m.key))) for m in measures]
      found.append(Row(f"ensemble of {len(members)}", (Cell(""), *cells), subordinate=True))
  titles = (m.title for m in measures)
  return Table(("n", *titles), tuple(found), title_of(records, rows), name)


def differences(
  records: Records,
  *,
  measure: str | Measure,
  rows: By = None,
  baseline: str | None = None,
  name: str | None = None,
) -> Table:
  """Tabulate paired differences from one row, with their tests; `METHOD` says what they are.

  Args:
    records: of a study; or groups, whose order is kept.
    measure: what is compared.
    rows: what makes a row; see `groups.By`.
    baseline: the row that the others are compared with; by default the first.
    name: of the table's files; by default made from the measure.
  """
  measure = as_measure(measure)
  check_measures(records, [measure])
  groups = as_groups(records, rows, sort_by=measure, baseline=baseline)
  unit = f", {measure.difference_unit}" if measure.difference_unit else ""
  found = []
  for of in compare(groups, measure):
    paired = of.paired
    cells = {
      "pairs": str(paired.n),
      f"difference{unit}": measure.format(paired.mean, signed=True),
      "95% interval": measure.format_interval(paired.low, paired.high, signed=True),
      "p": format_p_value(paired.p_value),
      "p (Holm)": Cell(format_p_value(of.p_corrected), strong=of.significant),
      "effect size": format_number(paired.effect_size, 2, signed=True),
      f"detectable{unit}": measure.format_detectable(of.detectable),
    }
    found.append((of.name, cells))
  return table_of(found, title_of(records, rows), name or f"differences_{measure.key}")


def compared(
  records: Records,
  *,
  measure: str | Measure | Sequence[str | Measure],
  rows: By = None,
  name: str = "compared",
) -> Table:
  """Tabulate means with, in brackets, their paired differences from the first row's.

  Args:
    records: of a study; or groups, whose order is kept.
    measure: what is shown, a column each; the p-values of a column are corrected by Holm's method.
    rows: what makes a row; see `groups.By`.
    name: of the table's files.
  """
  measures = as_measures(measure)
  groups = as_groups(records, rows, sort_by=measures[0])
  plain = table(groups, measure=measures, interval=False, name=name)
  found = {row.name: list(row.cells) for row in plain.rows}
  for column, of in enumerate(measures, 1):
    for difference in compare(groups, of):
      mean = of.format(difference.paired.mean, signed=True)
      p_value = format_p_value(difference.p_corrected)
      equals = "" if p_value.startswith("<") else "= "
      cells = found[difference.name]
      cells[column] = cells[column]._replace(
        detail=f"({mean}, p {equals}{p_value})", strong=difference.significant
      )
  return plain._replace(rows=tuple(Row(*row) for row in found.items()))


def cost(records: Records, *, rows: By = None) -> Table:
  """Tabulate size and speed: parameters, and medians over the finished seeds."""

  def median(of: Group, path: str, form: str) -> str:
    values = [value for value in of.values(path).values() if not math.isnan(value)]
    return form.format(medians.median(values)) if values else MISSING

  found = []
  for of in as_groups(records, rows):
    cells = {
      "parameters": median(of, "num_parameters", "{:,.0f}"),
      "images/s": median(of, "images_per_second", "{:,.0f}"),
      "seconds a run": median(of, "time/seconds", "{:.1f}"),
    }
    found.append((of.name, cells))
  return table_of(found, title_of(records, rows), "cost")


def unfinished(records: Records, *, rows: By = None) -> Table | None:
  """Tabulate the runs that diverged or failed, or return None where all finished."""
  found = []
  for of in group(records, rows):
    for made in of.unfinished:
      where = made["measured"].get("diverged") or {}
      loss = where.get("last_finite_loss")
      cells = {
        "seed": text_of(made["seed"]),
        "status": made["status"],
        "step": text_of(where.get("step")),
        "last finite loss": format_number(math.nan if loss is None else loss, 4),
        "error": text_of(made["measured"].get("error")),
      }
      found.append((of.name, cells))
  used = {title for _, cells in found for title, text in cells.items() if text != MISSING}
  shown = [(name, {t: text for t, text in cells.items() if t in used}) for name, cells in found]
  return table_of(shown, title_of(records, rows), "unfinished") if found else None


def mean_cell(values: Sequence[float], measure: Measure, *, interval: bool = True) -> Cell:
  """Return the mean of a sample with its standard deviation and its 95% t interval."""
  summary = summarise(values)
  shown = interval and not math.isnan(summary.low)
  return Cell(
    measure.format(summary.mean),
    f"± {measure.format(summary.std)}",
    measure.format_interval(summary.low, summary.high) if shown else "",
  )


def _crossed(records, measure, rows, columns, interval, name) -> Table:
  check_items(records, [columns])
  values = list(dict.fromkeys(text_of(made["cell"].get(columns)) for made in records))
  if rows is None:
    rows = tuple(item for item in differing(records) if item != columns)
  by_column = []
  for value in values:
    members = [made for made in records if text_of(made["cell"].get(columns)) == value]
    by_column.append({of.name: of for of in group(members, rows)})
  found = []
  for row in dict.fromkeys(of for groups in by_column for of in groups):
    cells = []
    for groups in by_column:
      seeds = list(groups[row].values(measure).values()) if row in groups else []
      cells.append(mean_cell(seeds, measure, interval=interval) if seeds else Cell(MISSING))
    found.append(Row(row, tuple(cells)))
  title = columns.replace("_", " ")
  return Table(tuple(f"{title} {v}" for v in values), tuple(found), title_of(records, rows), name)
