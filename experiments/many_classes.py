"""Compare output layers of many classes at equal training time, on images or on text.

    python -m experiments.many_classes --config=configs/many_classes_words.py --workdir=runs/words
    python -m experiments.many_classes --config=configs/many_classes_words.py --workdir=runs/mine \\
        --config.text=FILE --config.unit=bytes
    python -m experiments.many_classes --config=configs/many_classes_images.py --workdir=runs/images

Words: next-token prediction, judged by perplexity. Images: each training image is a class of its
own, and the features are judged by the true class of the nearest neighbour. Every finished (head,
seed) is appended at once to results.jsonl; the same command run again makes only what is missing.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from ml_collections import ConfigDict

from configs import many_classes_images, many_classes_words
from experiments import assembly
from experiments.many import equal_time, instances, next_token, report
from softmax_research import heads, study, training
from softmax_research.functional.arrays import check_integer
from softmax_research.study import command

#: For each task what makes it, and the file of the configuration whose keys it has.
_TASKS = {
  "images": (instances.make, many_classes_images),
  "text": (next_token.make, many_classes_words),
}


def check(config: ConfigDict) -> None:
  """Raise a ValueError for a configuration that is none, before data are loaded."""
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
  if not config.seconds > 0:
    raise ValueError(f"Got seconds={config.seconds!r}; it must be a number above 0.")
  _make_optimizer(config)


def cells(config: ConfigDict) -> list[dict[str, Any]]:
  """Return a cell a head."""
  return [{"head": head} for head in heads.split(config.heads)]


def prepare(config: ConfigDict, left: Sequence[dict[str, Any]]) -> tuple[equal_time.Task, Any]:
  """Make the task, and by name what trains the heads that are left."""
  task = _TASKS[config.task][0](config)
  print(f"{task.name}: {len(task.class_counts):,} classes")
  optimizer, size = _make_optimizer(config), config.batch_size
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
  """Train a head for equal time; yield the records of its seeds."""
  (task, trainers), settings = context.prepared, context.settings
  if message := changes(context.finished, task):
    command.fail(message)
  for seed in context.seeds:
    began = time.perf_counter()
    train = trainers[cell["head"]]
    curves, diverged, num_parameters = train(seed, settings.seconds, settings.looks)
    measured = {"num_parameters": num_parameters, "dataset": task.describe()}
    test = {k: v[-1] for k, v in curves.items() if k not in ("seconds", "steps")}
    lost = diverged is not None
    yield context.record(
      seed,
      seconds=time.perf_counter() - began,
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


def _make_optimizer(config: ConfigDict):
  return training.make_optimizer(config.optimizer, num_steps=1)


STUDY = study.Study(
  many_classes_words.get_config,
  cells,
  run,
  report.blocks,
  name="many_classes",
  check=check,
  prepare=prepare,
  selects=("heads", "seeds"),
  estimate=estimate,
  seed_by_seed=True,
)

if __name__ == "__main__":
  study.main(STUDY, default_config="configs/many_classes_words.py")
