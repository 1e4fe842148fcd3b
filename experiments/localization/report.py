"""The report of a localisation study: claims decided, tables of shares, maps with their boxes."""

import pathlib
from typing import Any

import numpy as np

from experiments.localization import claims, evaluation, example_plot, scores
from experiments.localization.maps import KINDS, SMOOTHINGS
from softmax_research import reporting
from softmax_research.reporting import line_plot, measures, note, provenance, statistics, tables
from softmax_research.training.results import flatten

_RULES = {"chosen": "of validation", "paper": "0.2"}
_SHARE = measures.Measure("share", "share", "%", 100.0, 1, True)


def write(workdir: pathlib.Path, *, command: str) -> pathlib.Path:
  """Write the report of the results in a working directory."""
  records = reporting.read_records(workdir / "results.jsonl")
  heads = reporting.group_by_head(records)
  heads = [head for head in heads if head.finished]
  if not heads:
    raise ValueError(f"All runs in {workdir} diverged; lower optimizer.learning_rate.")
  last = list(heads[-1].finished.values())[-1]
  blocks: list[Any] = [
    "Nets learn the classes of scenes alone. A box bounds the largest region in which the map of "
    "the true class is at least a threshold times its maximum: the paper's 0.2, or what finds most "
    "boxes on validation scenes, for each overlap. Smoothed maps are averaged over the paper's "
    "4 by 4 positions. A box is found if its intersection over union with the true one reaches "
    "the overlap; with class means that the scene is classified right too. All numbers are of test "
    "scenes; all seeds have the same scenes, so intervals are of training seeds alone.",
    _accuracy(heads),
    _fixed_box(last),
    "## Claims",
    "Differences in percentage points, paired over seeds, with 95% t intervals; p-values are "
    "corrected by Holm's method over each table. Boxes are found from an overlap of 0.5.",
    _claims_table(claims.of_maps(heads)),
  ]
  if len(heads) > 1:
    here = "the training scenes are as imbalanced as the configuration says, the test scenes not"
    if last["config"]["folder"]:
      here = "the classes are as frequent as in the folder"
    blocks += [
      f"With equal classes PC-softmax's loss is softmax's less a constant; here {here}.",
      _claims_table(claims.of_heads(heads, KINDS)),
    ]
  blocks += ["## Boxes found", "Means over seeds ± standard deviation, in percent."]
  for head in heads:
    blocks += [f"**{head.name}**", _shares(head), _by_size(head)]
  blocks.append(_thresholds(heads))
  for number, head in enumerate(heads):
    path = evaluation.example_path(workdir, head.name, min(head.finished))
    if path.exists():
      blocks.append(_examples(path, head, number))
  return note.write_note(
    workdir,
    title=f"Class activation maps on {last['dataset']['name']}",
    blocks=blocks,
    facts={
      "command": f"`{command}`",
      "scenes": ", ".join(
        f"{last['dataset'][f'num_{split}']:,} {word}"
        for split, word in (("train", "training"), ("validation", "validation"), ("test", "test"))
      ),
      "seeds": ", ".join(map(str, sorted({seed for head in heads for seed in head.finished}))),
      "training time": f"{sum(record['wall_seconds'] for record in records):,.0f} s",
      "configuration": flatten(last["config"]),
    }
    | provenance.made_with(records),
  )


def _accuracy(heads) -> tables.Table:
  rows = []
  for head in heads:
    accuracy = statistics.summarise(list(head.values("accuracy").values()))
    runs = head.finished.values()
    share = np.mean([run["localisation"]["mean_share"] for run in runs])
    seconds = np.median([run["wall_seconds"] for run in runs])
    cells = (
      tables.Cell(str(accuracy.n)),
      tables.Cell(_SHARE.format(accuracy.mean), f"± {_SHARE.format(accuracy.std)}"),
      tables.Cell(f"{share:.3f}"),
      tables.Cell(f"{seconds:.0f}"),
    )
    rows.append(tables.Row(head.name, cells))
  columns = ("n", "accuracy, %", "mean kernel", "seconds a run, median")
  return tables.Table(columns, tuple(rows))


def _fixed_box(record) -> str:
  shares = record["localisation"]["fixed_box"]
  text = ", ".join(
    f"{100 * share:.1f}% at {level}" for share, level in zip(shares, scores.LEVELS, strict=True)
  )
  return (
    "Mean kernel: the length of the kernel's mean column over the columns' mean length; at 0 "
    f"infoCAM bounds CAM's boxes. Validation's mean box, which looks at no image, finds {text}."
  )


def _claims_table(decided) -> tables.Table:
  rows = []
  for claim in decided:
    mean, low, high = (
      _SHARE.format(number, signed=True)
      for number in (claim.paired.mean, claim.paired.low, claim.paired.high)
    )
    cells = (
      tables.Cell(str(claim.paired.n)),
      tables.Cell(mean, "", f"[{low}, {high}]"),
      tables.Cell(measures.format_p_value(claim.p_corrected)),
      tables.Cell(claim.verdict, strong=claim.verdict == "holds"),
    )
    rows.append(tables.Row(claim.text, cells))
  columns = ("n", "difference, points", "p (Holm)", "verdict")
  return tables.Table(columns, tuple(rows), name_column="claim: higher")


def _shares(head) -> tables.Table:
  rows = []
  for kind in KINDS:
    for smoothing in SMOOTHINGS:
      for rule, words in _RULES.items():
        found = [
          run["localisation"]["maps"][kind][smoothing][rule] for run in head.finished.values()
        ]
        cells = [
          _mean([one[measure][i] for one in found])
          for measure in ("known", "top_1")
          for i in range(len(scores.LEVELS))
        ]
        thresholds = sorted({one["thresholds"][scores.LEVELS.index(0.5)] for one in found})
        cells.append(tables.Cell(", ".join(map(str, thresholds))))
        rows.append(tables.Row(f"{kind}, {smoothing}, threshold {words}", tuple(cells)))
  columns = (
    *(f"found at {level}" for level in scores.LEVELS),
    *(f"with class at {level}" for level in scores.LEVELS),
    "thresholds at 0.5",
  )
  return tables.Table(columns, tuple(rows), name_column="maps")


def _by_size(head) -> tables.Table:
  rows = []
  for kind in KINDS:
    parts = [
      run["localisation"]["maps"][kind]["plain"]["chosen"]["by_size"]
      for run in head.finished.values()
    ]
    cells = [
      _mean(shares) if None not in shares else tables.Cell(measures.MISSING)
      for shares in zip(*parts, strict=True)
    ]
    rows.append(tables.Row(kind, tuple(cells)))
  columns = ("smallest third", "middle", "largest")
  return tables.Table(columns, tuple(rows), name_column="found at 0.5 by the box's area")


def _mean(values) -> tables.Cell:
  summary = statistics.summarise(values)
  return tables.Cell(_SHARE.format(summary.mean), f"± {_SHARE.format(summary.std)}")


def _thresholds(heads):
  level = scores.LEVELS.index(0.5)
  panels = []
  for head in heads:
    lines = []
    for kind in KINDS:
      for smoothing in SMOOTHINGS:
        curves = 100 * np.array(
          [
            run["localisation"]["maps"][kind][smoothing]["validation_curve"][level]
            for run in head.finished.values()
          ]
        )
        ranges = (curves.min(0), curves.max(0)) if len(curves) > 1 else None
        lines.append(
          line_plot.Line(f"{kind}, {smoothing}", scores.THRESHOLDS, curves.mean(0), ranges)
        )
    panels.append(
      line_plot.Panel(f"Validation boxes found at 0.5, {head.name}, %", "threshold", lines)
    )
  return note.make_plot(
    "thresholds",
    "Boxes found by threshold",
    "Thresholds are fractions of a map's maximum. Lines are means over seeds, bands their range.",
    line_plot.line_plot(panels),
  )


def _examples(path, head, number):
  with np.load(path) as file:
    examples = dict(file)
  seed = min(head.finished)
  return note.make_plot(
    f"examples_{number}",
    f"Maps and boxes, {head.name}",
    f"The first test scenes, {head.name}, seed {seed}: white the true box, dashed orange the found "
    "one; above each scene its class, and what was predicted where that is wrong.",
    example_plot.example_plot(examples, KINDS),
  )
