"""The report of heads trained for equal time: metrics, paired differences, curves over time."""

import statistics
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from softmax_research import study

_SHOWN = ("accuracy", "top_5_accuracy", "nll", "perplexity", "rank")
_INFINITE = (
  "Where a test label had probability 0, the NLL and the perplexity are infinite: their means show "
  "as ∞ or –, differences as –, and lines have gaps."
)
_UNTRAINED = (
  "What training changed: the same nets at second 0, with the weights that they began with, and "
  "the difference, paired over seeds with its 95% interval. A head that does not gain here has "
  "taught the features nothing that this measure sees."
)


def blocks(records: Sequence[dict[str, Any]], config: ConfigDict) -> Iterator[study.Block]:
  runs, groups = [r for r in records if r["status"] == "finished"], study.group(records, "head")
  if not runs:
    yield f"# {len(groups)} heads at equal time"
    yield "No run finished; a lower `optimizer.learning_rate` may help."
    return
  dataset = runs[-1]["measured"]["dataset"]
  yield f"# {len(groups)} heads at equal time on {study.escape(dataset['name'])}"
  shown = [study.measure_of(name) for name in _SHOWN if name in runs[0]["metrics"]["test"]]
  compared, split = study.measure_of(dataset["measure"]), config.get("split", "test")
  left_out = "ordering the classes, their first vectors, " if config.get("imprint") else ""
  yield (
    f"{dataset['num_classes']:,} classes; each run trained for {config.seconds:g} s, {left_out}"
    "compiling and judging left out. Mean ± standard deviation over n seeds on "
    f"{dataset['num_test']:,} examples of the {split} split."
  )
  yield _summary(records, groups, shown)
  if len(groups) > 1:
    yield (
      f"{split.capitalize()} {compared.label}: difference from {study.escape(groups[0].name)}, "
      "paired over seeds."
    )
    yield study.differences(records, measure=compared, rows="head")
  if compared.key == "accuracy":  # Of features, which random weights make too.
    yield _UNTRAINED
    yield _gains(groups, compared)
  if any(None in run["curves"].get("nll", ()) for run in runs):
    yield _INFINITE
  # The perplexity says the same as the NLL.
  drawn = {
    f"{split.capitalize()} {of.title}": (of.key, lambda values, of=of: of.scale * values)
    for of in shown
    if of.key not in ("nll", "rank")
  }
  yield study.curves(
    [_with_places(record, config) for record in records],
    panels=drawn,
    by="head",
    x="seconds",
    name="by_time",
    heading=f"{split.capitalize()} metrics over time",
  )


def _summary(records, groups, shown) -> study.Table:
  """Tabulate the metrics, steps a second and parameters."""
  table = study.table(records, measure=shown, rows="head", interval=False)
  more = {}
  for of in groups:
    runs = list(of.finished.values())
    steps = [run["curves"]["steps"][-1] / run["curves"]["seconds"][-1] for run in runs]
    more[of.name] = (
      study.Cell(f"{statistics.median(steps):,.0f}" if runs else "–"),
      study.Cell(f"{runs[0]['measured']['num_parameters']:,}" if runs else "–"),
    )
  rows = tuple(row._replace(cells=row.cells + more[row.name]) for row in table.rows)
  return table._replace(columns=(*table.columns, "steps/s", "parameters"), rows=rows)


def _gains(groups: Sequence[study.Group], measure: study.Measure) -> study.Table:
  """Tabulate each head's measure before training, and what training added."""
  found = []
  for of in groups:
    curves = [run["curves"] for run in of.finished.values()]
    values = [curve[measure.key] for curve in curves if curve["seconds"][0] == 0]
    if values:
      before, after = [value[0] for value in values], [value[-1] for value in values]
      found.append((of.name, study.summarise(before), study.paired_difference(after, before)))
  corrected = study.holm([paired.p_value for _, _, paired in found])
  rows = []
  for (name, before, paired), p in zip(found, corrected, strict=True):
    cells = (
      study.Cell(str(paired.n)),
      study.Cell(measure.format(before.mean), f"± {measure.format(before.std)}"),
      study.Cell(
        measure.format(paired.mean, signed=True),
        detail=measure.format_interval(paired.low, paired.high, signed=True),
      ),
      study.Cell(study.measures.format_p_value(float(p))),
    )
    rows.append(study.Row(name, cells))
  columns = ("n", f"before training, {measure.unit}", "training adds, points", "p (Holm)")
  return study.Table(columns, tuple(rows), name="gains")


def _with_places(record: dict[str, Any], config: ConfigDict) -> dict[str, Any]:
  """Return a record whose looks are where they were to be, so that seeds have them in common.

  Records of an earlier version lack the look before training.
  """
  curves = record["curves"]
  places = np.linspace(0, config.seconds, config.looks + 1)
  count = len(curves.get("seconds", ()))
  if record["status"] == "finished":
    places = places[len(places) - count :]
  return record | {"curves": curves | {"seconds": places[:count].tolist()}}
