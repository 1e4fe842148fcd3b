"""The report of a study of imbalance: claims with their verdicts, tables and figures."""

import pathlib
from typing import Any

import numpy as np

from experiments.imbalanced import claims, rows
from experiments.imbalanced.judging import JUDGEMENTS
from softmax_research import heads, reporting
from softmax_research.reporting import (
  comparisons,
  line_plot,
  measures,
  note,
  provenance,
  statistics,
  tables,
)
from softmax_research.training import results

_MICRO = measures.ACCURACY._replace(label="micro accuracy")
_MEASURES = (_MICRO, measures.MACRO_ACCURACY, measures.NLL, measures.ECE)

_METHOD = (
  "Each cell: mean ± standard deviation over n seeds and, in brackets, the mean difference from "
  "{baseline} over the same seeds with the p-value of a paired t-test, corrected by Holm's method "
  "for the rows of its column; bold where it is below 0.05. A row *head, moved* holds the same "
  "runs' predictions, moved by Bayes' rule from the prior that they were made under to the one "
  "that they are judged under; there is such a row for {baseline} and for heads with the prior in "
  "their loss, where it changes anything. A judgement's prior also weighs the examples: class k "
  "has weight π(k) in all. NLL is in nats, ECE has 15 bins. Micro accuracy is the share of right "
  "predictions under that prior, macro accuracy the mean over classes."
)
_RULES = (
  "That PC-softmax raises macro accuracy is Qin et al.'s claim (2019); the others are asked here. "
  "A claimed difference **holds** if it is significant in that direction (corrected p below 0.05); "
  "it **does not hold** if it is significant in the other direction, or its 95% interval lies "
  "within ± the margin. A claim of no difference **holds** if the interval lies within ± the "
  "margin, and **does not hold** if a difference is significant. All else is **undecided** at "
  "this n. The margin is half a point, but at most a tenth of the errors of the row compared with. "
  "p is corrected by Holm's method over this table; intervals are not."
)

_EACH_CLASS = (
  "On the test split: mean ± standard deviation over the seeds, whose numbers are in the tables "
  "below; behind each class are its training examples."
)


def write(workdir: pathlib.Path, config: dict[str, Any], *, command: str) -> pathlib.Path:
  """Write the report of the results in a working directory.

  Args:
    workdir: the directory.
    config: says which settings and heads are shown, and in which order.
    command: the command that made the results.

  Returns:
    The path of the Markdown file.

  Raises:
    ValueError: no run is finished.
  """
  names = heads.split(config["heads"])
  records = results.read(workdir / "results.jsonl")
  everything = {
    name: [r for r in records if r["setting"] == name and r["head"] in names]
    for name in heads.split(config["settings"], kind="setting")
  }
  settings = {
    name: runs
    for name, runs in everything.items()
    if any(run["status"] == "finished" for run in runs)
  }
  if not settings:
    raise ValueError(f"All runs in {workdir} diverged; lower optimizer.learning_rate.")
  told = [run for runs in everything.values() for run in runs]
  blocks: list[Any] = [
    f"Each head trained for {config['num_epochs']} epochs with batches of {config['batch_size']}, "
    "with one set of hyperparameters for all; nothing was chosen on a test set, and the last "
    "epoch's parameters are judged.",
    _settings_table(settings),
  ]
  rulings = claims.rule(settings, names)
  if rulings:
    blocks += ["## Claims", _claims_table(rulings), _RULES]
  uneven = {name: runs for name, runs in settings.items() if not rows.is_control(runs)}
  if uneven:
    blocks += ["## Accuracy by class frequency", _plot(uneven, names)]
    blocks += ["## Accuracy of each class", _EACH_CLASS]
    for name, runs in uneven.items():
      blocks += [f"**{name}**: accuracy, %.", _each_class(runs, names)]
  blocks += ["## Tables", _METHOD.format(baseline=names[0])]
  for name, runs in settings.items():
    for judgement, meaning in JUDGEMENTS.items():
      if rows.has(runs, judgement):
        blocks += [
          f"**{name}**, {judgement}: {meaning}.",
          _table(rows.heads_of(runs, names, judgement), judgement),
        ]
  diverged = [
    f"{run['head']}, seed {run['seed']}, in {run['setting']}"
    for run in told
    if run["status"] == "diverged"
  ]
  if diverged:
    blocks.append(f"Diverged, and in no mean and no test: {'; '.join(diverged)}.")
  seconds = sum(run["wall_seconds"] for run in told)
  facts = {
    "command": f"`{command}`",
    "validation": f"{told[-1]['dataset']['num_validation']:,} examples",
    "training time": f"{seconds:,.0f} s",
    "configuration": results.flatten(config),
  }
  return note.write_note(
    workdir,
    title=f"{len(names)} heads on imbalanced {config['dataset']}",
    blocks=blocks,
    facts=facts | provenance.made_with(told),
  )


def _settings_table(settings) -> tables.Table:
  lines = []
  for name, runs in settings.items():
    dataset = runs[0]["dataset"]
    counts = np.array(dataset["class_counts"])
    cells = (
      f"{counts.sum():,}",
      ", ".join(str(count) for count in counts),
      f"{dataset['num_test']:,}",
      f"{dataset['num_capped']:,}" if dataset["num_capped"] else measures.MISSING,
    )
    lines.append(tables.Row(name, tuple(map(tables.Cell, cells))))
  columns = ("training examples", "of each class", "test split", "capped test set")
  return tables.Table(columns, tuple(lines), name_column="setting")


def _claims_table(rulings: list[claims.Ruling]) -> tables.Table:
  lines, shown = [], measures.ACCURACY
  for claim, setting, paired, p_corrected, margin, verdict in rulings:
    low, high = (shown.format(end, signed=True) for end in (paired.low, paired.high))
    cells = (
      tables.Cell(setting),
      tables.Cell(str(paired.n)),
      tables.Cell(shown.format(paired.mean, signed=True), detail=f"[{low}, {high}]"),
      tables.Cell(measures.format_p_value(p_corrected)),
      tables.Cell(shown.format(margin)),
      tables.Cell(verdict, strong=True),
    )
    lines.append(tables.Row(claim.text, cells))
  columns = ("setting", "n", "difference, points", "p (Holm)", "margin", "verdict")
  return tables.Table(columns, tuple(lines), name_column="claim")


def _table(judged: list[reporting.HeadRecords], judgement: str) -> tables.Table:
  # With equal weights micro and macro accuracy are one.
  shown = [m for m in _MEASURES if not (m is _MICRO and judgement == "balanced")]
  columns = [[tables.Cell(str(len(head.finished))) for head in judged]]
  for measure in shown:
    compared = {c.head: c for c in comparisons.compare_heads(judged, measure.key)}
    columns.append([_cell(head, measure, compared.get(head.name)) for head in judged])
  lines = [
    tables.Row(head.name, cells)
    for head, cells in zip(judged, zip(*columns, strict=True), strict=True)
  ]
  titles = (f"{m.label}, {m.unit}" for m in shown)
  return tables.Table(("n", *titles), tuple(lines))


def _cell(head, measure, comparison) -> tables.Cell:
  summary = statistics.summarise(list(head.values(measure.key).values()))
  detail = ""
  if comparison is not None:
    p_value = measures.format_p_value(comparison.p_corrected)
    equals = "" if p_value.startswith("<") else "= "
    detail = f"({measure.format(comparison.paired.mean, signed=True)}, p {equals}{p_value})"
  return tables.Cell(
    measure.format(summary.mean),
    f"± {measure.format(summary.std)}",
    detail,
    strong=comparison is not None and comparison.significant,
  )


def _each_class(runs, names) -> tables.Table:
  """Tabulate the accuracy of every class, a head a row."""
  dataset, shown = runs[0]["dataset"], measures.ACCURACY
  classes = zip(dataset["class_names"], dataset["class_counts"], strict=True)
  lines = []
  for head in rows.heads_of(runs, names, "balanced"):
    found = [run["metrics"]["test"]["per_class_accuracy"] for run in head.finished.values()]
    if not found:
      continue
    of_class = [statistics.summarise(values) for values in zip(*found, strict=True)]
    cells = [tables.Cell(shown.format(one.mean), f"± {shown.format(one.std)}") for one in of_class]
    lines.append(tables.Row(head.name, tuple(cells)))
  return tables.Table(tuple(f"{name} ({count})" for name, count in classes), tuple(lines))


def _plot(settings, names):
  panels = []
  for name, runs in settings.items():
    counts = np.array(runs[0]["dataset"]["class_counts"])
    places = np.unique(counts)
    lines = []
    for head in rows.heads_of(runs, names, "balanced"):
      accuracies = np.array(
        [run["metrics"]["test"]["per_class_accuracy"] for run in head.finished.values()], float
      )
      if len(accuracies):
        values = 100 * np.array([accuracies[:, counts == place].mean(1) for place in places])
        lines.append(line_plot.Line(head.name, places, values.mean(1)))
    panels.append(
      line_plot.Panel(
        f"{name}: accuracy, %", "training examples of the class", lines, ("log", "linear")
      )
    )
  return note.make_plot(
    "by_frequency",
    "Accuracy of the classes by their training examples",
    "On the test split, means over the seeds; classes with equally many training examples are "
    "averaged. In a long tail each place is one class, whose own difficulty shows too: compare "
    "the heads at a place, not the places.",
    line_plot.line_plot(panels),
  )
