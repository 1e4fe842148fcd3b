"""Compare output layers of many classes at equal training time, on images or on text.

    python -m experiments.many_classes --config=configs/many_classes_words.py --workdir=runs/words
    python -m experiments.many_classes --config=configs/many_classes_words.py --workdir=runs/mine \\
        --config.text=FILE --config.unit=bytes
    python -m experiments.many_classes --config=configs/many_classes_images.py --workdir=runs/images

Words: next-token prediction, judged by perplexity. Images: each training image is a class of its
own, and the features are judged by the true class of the nearest neighbour. Every finished (head,
seed) is appended at once to results.jsonl; the same command run again makes only what is missing.
"""

import math
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from configs import many_classes_images, many_classes_words
from experiments import assembly
from experiments.many import equal_time, tasks
from softmax_research import heads, study, training
from softmax_research.functional.arrays import check_integer
from softmax_research.study import command, tables
from softmax_research.study.blocks import table_of

#: For each task what makes it, and the file of the configuration whose keys it has.
_TASKS = {
  "images": (tasks.instances, many_classes_images),
  "text": (tasks.next_token, many_classes_words),
}
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


def check(config: ConfigDict) -> None:
  if config.get("task") not in _TASKS:
    raise ValueError(
      "Got a configuration without a task of many classes; give "
      "--config=configs/many_classes_words.py or --config=configs/many_classes_images.py."
    )
  start = _TASKS[config.task][1]
  # Of texts the rank can be asked for; configurations that do not lack the key.
  asked = {"rank_of"} & set(config) if config.task == "text" else set()
  known = asked | set(start.get_config())
  assembly.check_keys(config, known, start.__name__.rpartition(".")[2])
  for key in ("seeds", "looks", "batch_size", "num_test"):
    check_integer(key, config[key])
  if config.task == "images":
    check_integer("num_reference", config.num_reference)
    check_integer("num_images", config.num_images, 0, remedy="Pass 0 for all.")
  if not 0 < config.seconds < math.inf:
    raise ValueError(f"Got seconds={config.seconds!r}; it must be a finite number above 0.")
  training.make_optimizer(config.optimizer, num_steps=1)


def cells(config: ConfigDict) -> list[dict[str, Any]]:
  return [{"head": head} for head in heads.split(config.heads)]


def prepare(config: ConfigDict, left: Sequence[dict[str, Any]]) -> tuple[equal_time.Task, Any]:
  task = _TASKS[config.task][0](config)
  print(f"{task.name}: {len(task.class_counts):,} classes")
  optimizer, size = training.make_optimizer(config.optimizer, num_steps=1), config.batch_size
  names = [cell["head"] for cell in left]
  return task, {n: equal_time.make_trainer(n, task, optimizer, size) for n in names}


def changes(records: Sequence[study.Record], task: equal_time.Task) -> str:
  """Say how results so far are of another task; empty where they are not.

  A text can change under its name. Records of an earlier version have no fingerprint, and are
  compared by the rest.
  """
  now = task.describe()
  for record in records:
    before = record["measured"].get("dataset", {})
    if found := [key for key in now if key in before and before[key] != now[key]]:
      lines = [f"  {key}: {before[key]!r} -> {now[key]!r}\n" for key in found]
      return (
        f"The results there are of {before['name']!r}, and this run is of {now['name']!r}:\n"
        f"{''.join(lines)}Give another --workdir, or the former data; pydoc and stdlib are those "
        "of the Python that runs."
      )
  return ""


def run(cell: dict[str, Any], context: study.Context) -> Iterator[study.Record]:
  (task, trainers), settings = context.prepared, context.settings
  if message := changes(context.finished, task):
    command.fail(message)
  for seed in context.seeds:
    train = trainers[cell["head"]]
    curves, diverged, num_parameters = train(seed, settings.seconds, settings.looks)
    measured = {"num_parameters": num_parameters, "dataset": task.describe()}
    test = {k: v[-1] for k, v in curves.items() if k not in ("seconds", "steps")}
    lost = diverged is not None
    yield context.record(
      seed,
      status="diverged" if lost else "finished",
      metrics={} if lost else {"test": test},
      curves=curves,
      measured=measured | ({"diverged": {"step": diverged}} if lost else {}),
    )


def estimate(cell: dict[str, Any], context: study.Context) -> float:
  """Estimate the seconds of a cell: those of training, and those of compiling and judging."""
  began, settings = time.perf_counter(), context.settings
  _, trainers = context.prepared
  trainers[cell["head"]](context.seeds[0], 0.0, settings.looks)
  return len(context.seeds) * (settings.seconds + time.perf_counter() - began)


def report(records: Sequence[dict[str, Any]], config: ConfigDict) -> Iterator[study.Block]:
  runs, groups = [r for r in records if r["status"] == "finished"], study.group(records, "head")
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
  found = []
  for of in groups:
    curves = [run["curves"] for run in of.finished.values()]
    before, after = ([curve[measure.key][place] for curve in curves] for place in (0, -1))
    if curves:
      start = tables.mean_cell(before, measure, interval=False)
      found.append((of.name, start, study.paired_difference(after, before)))
  corrected = study.holm([paired.p_value for _, _, paired in found])
  rows = []
  for (name, start, paired), p in zip(found, corrected, strict=True):
    interval = measure.format_interval(paired.low, paired.high, signed=True)
    cells = {
      "n": str(paired.n),
      f"before training, {measure.unit}": start,
      "training adds, points": study.Cell(measure.format(paired.mean, signed=True), "", interval),
      "p (Holm)": study.measures.format_p_value(float(p)),
    }
    rows.append((name, cells))
  return table_of(rows, "head", "gains")


def _with_places(record: dict[str, Any], config: ConfigDict) -> dict[str, Any]:
  """Return a record whose looks are where they were to be, so that seeds have them in common."""
  curves = record["curves"]
  places = np.linspace(0, config.seconds, config.looks + 1)[: len(curves.get("seconds", ()))]
  return record | {"curves": curves | {"seconds": places.tolist()}}


STUDY = study.Study(
  many_classes_words.get_config,
  cells,
  run,
  report,
  name="many_classes",
  check=check,
  prepare=prepare,
  selects=("heads", "seeds"),
  estimate=estimate,
  seed_by_seed=True,
)

if __name__ == "__main__":
  study.main(STUDY, default_config="configs/many_classes_words.py")
