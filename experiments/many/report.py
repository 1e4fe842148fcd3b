"""The report of heads trained for equal time: metrics, paired differences, curves over time."""

import pathlib
from typing import Any

import numpy as np

from softmax_research import reporting
from softmax_research.reporting import (
  comparisons,
  line_plot,
  measures,
  note,
  provenance,
  statistics,
  tables,
)
from softmax_research.training.results import flatten

_MEASURES = {
  "accuracy": measures.ACCURACY,
  "nll": measures.NLL,
  "perplexity": measures.Measure("perplexity", "perplexity", "", 1.0, 1, False),
}

_INFINITE = (
  "Where a test label had probability 0, the NLL and the perplexity are infinite: their means show "
  "as ∞ or –, differences as –, and lines have gaps."
)

_UNTRAINED = (
  "What training changed: the same nets at second 0, with the weights that they began with, and "
  "the difference, paired over seeds with its 95% interval. A head that does not gain here has "
  "taught the features nothing that this measure sees."
)


def write(workdir: pathlib.Path, *, command: str) -> pathlib.Path:
  """Write the report of the results in a working directory.

  Raises:
    ValueError: no run is finished.
  """
  records = reporting.read_records(workdir / "results.jsonl")
  heads = reporting.group_by_head(records)
  runs = [run for head in heads for run in head.finished.values()]
  if not runs:
    raise ValueError(f"All runs in {workdir} diverged; lower optimizer.learning_rate.")
  last = runs[-1]
  dataset, config = last["dataset"], last["config"]
  shown = [_MEASURES[name] for name in _MEASURES if name in last["metrics"]["test"]]
  compared = _MEASURES[dataset["measure"]]
  split = config.get("split", "test")
  left_out = "compiling and judging"
  if config.get("imprint"):
    left_out = "ordering the classes, their first vectors, compiling and judging"
  blocks: list[Any] = [
    f"{dataset['num_classes']:,} classes; each run trained for {config['seconds']:g} s, {left_out} "
    f"left out. Mean ± standard deviation over n seeds on the {split} split.",
    _summary(heads, shown),
  ]
  if len(heads) > 1:
    pairs = comparisons.compare_heads(heads, compared.key)
    blocks += [
      f"{split.capitalize()} {compared.label}: difference from {heads[0].name}, paired over seeds.",
      tables.comparison_table(pairs, compared),
    ]
  if compared.key == "accuracy":  # Of features, which random weights make too.
    blocks += [_UNTRAINED, _gains(heads, compared)]
  if any(None in run["curves"].get("nll", ()) for run in runs):
    blocks.append(_INFINITE)
  blocks.append(_curves(heads, shown, split))
  return note.write_note(
    workdir,
    title=f"{len(heads)} heads at equal time on {dataset['name']}",
    blocks=blocks,
    facts={
      "command": f"`{command}`",
      split: f"{dataset['num_test']:,} examples",
      "configuration": flatten(config),
    }
    | provenance.made_with(records),
  )


def _summary(heads, shown) -> tables.Table:
  rows = []
  for head in heads:
    cells = [tables.Cell(str(len(head.finished)))]
    for measure in shown:
      summary = statistics.summarise(list(head.values(measure.key).values()))
      cells.append(tables.Cell(measure.format(summary.mean), f"± {measure.format(summary.std)}"))
    steps = [
      run["curves"]["steps"][-1] / run["curves"]["seconds"][-1] for run in head.finished.values()
    ]
    parameters = [run["num_parameters"] for run in head.finished.values()]
    cells.append(tables.Cell(f"{np.median(steps):,.0f}" if steps else measures.MISSING))
    cells.append(tables.Cell(f"{parameters[0]:,}" if parameters else measures.MISSING))
    rows.append(tables.Row(head.name, tuple(cells)))
  columns = ("n", *(f"{m.label}, {m.unit}" if m.unit else m.label for m in shown))
  return tables.Table((*columns, "steps/s", "parameters"), tuple(rows))


def _gains(heads, measure) -> tables.Table:
  """Tabulate each head's measure before training, and what training added."""
  found = []
  for head in heads:
    curves = [run["curves"] for run in head.finished.values()]
    values = [curve[measure.key] for curve in curves if curve["seconds"][0] == 0]
    if values:
      before, after = [value[0] for value in values], [value[-1] for value in values]
      paired = reporting.paired_difference(after, before)
      found.append((head.name, statistics.summarise(before), paired))
  corrected = reporting.holm([paired.p_value for _, _, paired in found])
  rows = []
  for (name, before, paired), p in zip(found, corrected, strict=True):
    low, high = (measure.format(end, signed=True) for end in (paired.low, paired.high))
    cells = (
      tables.Cell(str(paired.n)),
      tables.Cell(measure.format(before.mean), f"± {measure.format(before.std)}"),
      tables.Cell(measure.format(paired.mean, signed=True), f"[{low}, {high}]"),
      tables.Cell(measures.format_p_value(float(p))),
    )
    rows.append(tables.Row(name, cells))
  columns = ("n", f"before training, {measure.unit}", "training adds, points", "p (Holm)")
  return tables.Table(columns, tuple(rows))


def _curves(heads, shown, split):
  panels = []
  for measure in shown:
    if measure.key == "nll":
      continue  # The perplexity says the same.
    lines = []
    for head in heads:
      curves = [run["curves"] for run in head.finished.values()]
      if not curves:
        continue
      values = measure.scale * _align([curve[measure.key] for curve in curves])
      seconds = np.nanmean(_align([curve["seconds"] for curve in curves]), axis=0)
      mean, low, high = (
        _gaps(over_seeds(values, axis=0)) for over_seeds in (np.nanmean, np.nanmin, np.nanmax)
      )
      ranges = (low, high) if len(curves) > 1 else None
      lines.append(line_plot.Line(head.name, seconds, mean, ranges))
    title = f"{measure.label}, {measure.unit}" if measure.unit else measure.label
    scale = "linear" if measure.higher_is_better else "log"
    panels.append(
      line_plot.Panel(
        f"{split.capitalize()} {title}", "seconds of training", lines, ("linear", scale)
      )
    )
  return note.make_plot(
    "by_time",
    f"{split.capitalize()} metrics over time",
    "Lines are means over the seeds, bands their range.",
    line_plot.line_plot(panels),
  )


def _align(curves: list[list[float | None]]) -> np.ndarray:
  """Return curves `[seeds, looks]` by their ends, infinity for None, NaN before the first look.

  Records of an earlier version lack the look before training. The longest curve has no NaN, so
  that each look has a number.
  """
  looks = max(map(len, curves))
  return np.array(
    [
      [np.nan] * (looks - len(curve)) + [np.inf if value is None else value for value in curve]
      for curve in curves
    ]
  )


def _gaps(values: np.ndarray) -> np.ndarray:
  return np.where(np.isfinite(values), values, np.nan)
