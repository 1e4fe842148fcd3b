"""Compare heads where some classes are rare, and say which claims about priors hold.

    python -m experiments.imbalance --config=configs/imbalance_mnist.py --workdir=runs/mnist
    python -m experiments.imbalance --config=configs/imbalance_cifar10.py \\
        --workdir=runs/cifar10 --config.settings=step:largest=1000:ratio=50

All seeds of a head train at once. Predictions are judged with every class weighing the same and
with classes weighing as in training, as they are and moved to that prior. Every finished (setting,
head, seed) is appended at once to results.jsonl; the same command goes on after an interruption,
and takes more settings, heads or seeds. report.md has the claims, tables and figures.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from configs import imbalance_mnist
from experiments import assembly, classifiers, imbalanced
from experiments.ledger import study_claims
from softmax_research import study
from softmax_research.study import measures, tables
from softmax_research.study.blocks import table_of

_MICRO = study.measure_of("accuracy")._replace(label="micro accuracy")
_MEASURES = (_MICRO, *map(study.measure_of, ("macro_accuracy", "nll", "ece")))
_MOVED = ", moved"

_METHOD = (
  f"{tables.COMPARED} A row *head, moved* holds the same "
  "runs' predictions, moved by Bayes' rule from the prior that they were made under to the one "
  "that they are judged under; there is such a row for {baseline} and for heads with the prior in "
  "their loss, where it changes anything. A judgement's prior also weighs the examples: class k "
  "has weight π(k) in all. NLL is in nats, ECE has 15 bins. Micro accuracy is the share of right "
  "predictions under that prior, macro accuracy the mean over classes."
)
_EACH_CLASS = (
  "On the test split: mean ± standard deviation over the seeds, whose numbers are in the tables "
  "below; behind each class are its training examples."
)


def cells(config: ConfigDict) -> list[dict[str, Any]]:
  return [
    {"setting": name, "head": head}
    for name in imbalanced.names(config)
    for head in imbalanced.heads_of(config, name)
  ]


def prepare(config: ConfigDict, left: Sequence[dict[str, Any]]) -> dict[str, imbalanced.Setting]:
  made = imbalanced.make_settings(config, list(dict.fromkeys(cell["setting"] for cell in left)))
  for cell in left:
    splits = made[cell["setting"]].splits
    assembly.make_programs(config, splits, cell["head"])
  return made


def run(cell: dict[str, Any], context: study.Context) -> Iterator[list[study.Record]]:
  setting = context.prepared[cell["setting"]]
  trained = classifiers.train(context, context.settings, setting.splits, cell["head"])
  for of in trained:
    of.record["measured"]["dataset"] = setting.describe()
    if of.predictions is not None:
      of.record["metrics"] = imbalanced.judge(setting, cell["head"], *of.predictions)
  yield [of.record for of in trained]


def report(records: Sequence[study.Record], config: ConfigDict) -> Iterator[study.Block]:
  every: dict[str, list[study.Record]] = {}
  for made in records:
    if made["status"] != "failed":
      every.setdefault(made["cell"]["setting"], []).append(made)
  by_setting = {k: of for k, of in every.items() if any(r["status"] == "finished" for r in of)}
  names = list(dict.fromkeys(r["cell"]["head"] for of in by_setting.values() for r in of))
  yield f"# {len(names)} heads on imbalanced {study.escape(config.dataset)}"
  yield (
    f"Each head trained for {config.num_epochs} epochs with batches of {config.batch_size}, with "
    "one set of hyperparameters for all; nothing was chosen on a test set, and the last epoch's "
    "parameters are judged."
  )
  yield _settings_table(by_setting)
  uneven = {n: of for n, of in by_setting.items() if not imbalanced.is_control(config, n)}
  if uneven:
    yield "## Accuracy by class frequency"
    yield _by_frequency(uneven)
    yield "## Accuracy of each class"
    yield _EACH_CLASS
    for name, of in uneven.items():
      yield f"**{study.escape(name)}**: accuracy, %."
      yield _each_class(name, of)
  yield "## Tables"
  yield _METHOD.format(baseline=study.escape(names[0]))
  for name, of in by_setting.items():
    for judgement, meaning in imbalanced.JUDGEMENTS.items():
      if any(judgement in r["metrics"] for r in of):
        yield f"**{study.escape(name)}**, {judgement}: {meaning}."
        yield _table(judged(of, judgement), f"{name}_{judgement}", judgement)


def judged(records: Sequence[study.Record], judgement: str) -> list[study.Record]:
  """Return what a judgement says of each head, as records whose test split it is.

  Moved are the first head, with which the others are compared, and the heads whose loss has the
  prior inside; but where moving changes nothing there is no such row.
  """
  found = []
  first = records[0]["cell"]["head"]
  for head in dict.fromkeys(r["cell"]["head"] for r in records):
    own = [r for r in records if r["cell"]["head"] == head and r["status"] == "finished"]
    found += [_as_test(r, judgement, "as_is", head) for r in own]
    moves = head == first or _has_prior_inside(head)
    if moves and any(_differ(*r["metrics"][judgement].values()) for r in own):
      found += [_as_test(r, judgement, "moved", head + _MOVED) for r in own]
  return found


def _as_test(record, judgement: str, way: str, head: str) -> study.Record:
  metrics = {"test": record["metrics"][judgement][way]}
  return record | {"metrics": metrics, "cell": {"head": head}}


def _has_prior_inside(head: str) -> bool:
  uneven = np.array([0.75, 0.25])
  return not np.allclose(imbalanced.prior_of_predictions(head, uneven), uneven)


def _differ(one: dict[str, Any], other: dict[str, Any]) -> bool:
  pair = one["nll"], other["nll"]
  # Infinite likelihoods are None; moving rounds in float32.
  return pair[0] != pair[1] and (None in pair or not math.isclose(*pair, rel_tol=1e-4))


def _settings_table(by_setting) -> study.Table:
  rows = []
  for name, of in by_setting.items():
    dataset = of[0]["measured"]["dataset"]
    counts = dataset["class_counts"]
    cells = {
      "training examples": f"{sum(counts):,}",
      "of each class": ", ".join(map(str, counts)),
      "test split": f"{dataset['num_test']:,}",
      "capped test set": f"{dataset['num_capped']:,}"
      if dataset["num_capped"]
      else measures.MISSING,
    }
    rows.append((name, cells))
  return table_of(rows, "setting", "settings")


def _table(records, name: str, judgement: str) -> study.Table:
  # With equal weights micro and macro accuracy are one.
  shown = [m for m in _MEASURES if not (m is _MICRO and judgement == "balanced")]
  return study.compared(study.group(records, "head"), measure=shown, name=name)


def _each_class(name: str, records) -> study.Table:
  dataset, accuracy = records[0]["measured"]["dataset"], study.measure_of("accuracy")
  rows = []
  for of in study.group(judged(records, "balanced"), "head"):
    found = [r["metrics"]["test"]["per_class_accuracy"] for r in of.finished.values()]
    cells = [
      tables.mean_cell(values, accuracy, interval=False) for values in zip(*found, strict=True)
    ]
    rows.append(study.Row(of.name, tuple(cells)))
  classes = zip(dataset["class_names"], dataset["class_counts"], strict=True)
  columns = tuple(f"{label} ({count})" for label, count in classes)
  return study.Table(columns, tuple(rows), "head", f"classes_{name}")


def _by_frequency(by_setting) -> study.Plot:
  from softmax_research.study import line_plot  # noqa: PLC0415  # Matplotlib takes long to import.

  panels = []
  for name, of in by_setting.items():
    counts = np.array(of[0]["measured"]["dataset"]["class_counts"])
    places = np.unique(counts)
    lines = []
    for head in study.group(judged(of, "balanced"), "head"):
      accuracies = np.array(
        [r["metrics"]["test"]["per_class_accuracy"] for r in head.finished.values()], float
      )
      values = 100 * np.array([accuracies[:, counts == place].mean() for place in places])
      lines.append(line_plot.Line(head.name, places, values))
    title, axis = f"{name}: accuracy, %", "training examples of the class"
    panels.append(line_plot.Panel(title, axis, lines, ("log", "linear")))
  return study.Plot(
    "by_frequency",
    "Accuracy of the classes by their training examples",
    "On the test split, means over the seeds; classes with equally many training examples are "
    "averaged. In a long tail each place is one class, whose own difficulty shows too: compare "
    "the heads at a place, not the places.",
    line_plot.line_plot(panels),
  )


STUDY = study.Study(
  imbalance_mnist.get_config,
  cells,
  run,
  report,
  name="imbalance",
  check=imbalanced.check_config,
  prepare=prepare,
  selects=("settings", "heads", "control_heads", "seeds"),
  estimate=lambda cell, of: classifiers.estimate(
    of, of.settings, of.prepared[cell["setting"]].splits, cell["head"]
  ),
  claims=lambda config: (
    study_claims.OF_PRIORS
    if config.test_range
    else study_claims.but_for("capped", study_claims.OF_PRIORS)
  ),
)

if __name__ == "__main__":
  classifiers.main(STUDY, default_config="configs/imbalance_mnist.py")
