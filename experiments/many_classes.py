"""Compare output layers of many classes at equal training time, on images or on text.

    python -m experiments.many_classes --config=configs/many_classes_words.py --workdir=runs/words
    python -m experiments.many_classes --config=configs/many_classes_words.py --workdir=runs/mine \\
        --config.text=FILE --config.unit=bytes
    python -m experiments.many_classes --config=configs/many_classes_images.py --workdir=runs/images

Words: next-token prediction, judged by perplexity. Images: each training image is a class of its
own, and the features are judged by the true class of the nearest neighbour. Every finished (head,
seed) is appended at once to results.jsonl; the same command run again makes only what is missing.
"""

import shlex
import sys

from ml_collections import ConfigDict

from configs import many_classes_images, many_classes_words
from experiments import command, runs
from experiments.many import equal_time, instances, next_token, report, task
from softmax_research import heads, training
from softmax_research.training import results

_CONFIG = command.define_config()
_WORKDIR = command.define_workdir()

#: For each task what makes it, and the configuration whose keys it has.
_TASKS = {
  "images": (instances.make, many_classes_images.get_config),
  "text": (next_token.make, many_classes_words.get_config),
}


def check_config(config: ConfigDict) -> None:
  """Check a configuration before data are loaded.

  Raises:
    ValueError: a key is missing, unknown or has a bad value.
  """
  if config.get("task") not in _TASKS:
    raise ValueError(
      "Got a configuration without a task of many classes; give "
      "--config=configs/many_classes_words.py or --config=configs/many_classes_images.py."
    )
  known = _TASKS[config.task][1]()
  if wrong := sorted(set(config) ^ set(known)):
    raise ValueError(
      f"The configuration has {', '.join(wrong)} too many or too few; its keys are "
      f"{', '.join(sorted(known))}."
    )
  for key in ("seeds", "looks", "batch_size", "num_test"):
    if not isinstance(config[key], int) or config[key] < 1:
      raise ValueError(f"Got {key}={config[key]!r}; it must be an integer of at least 1.")
  if not config.seconds > 0:
    raise ValueError(f"Got seconds={config.seconds!r}; it must be a number above 0.")


def main() -> None:
  """Train what is missing and write the report."""
  config = _CONFIG.value
  with command.errors_explained():
    check_config(config)
    optimizer = training.make_optimizer(**config.optimizer.to_dict(), num_steps=1)
    workdir = command.prepare_workdir(_WORKDIR.value)
    path, plain = workdir / "results.jsonl", config.to_dict()
    for place in ("data_dir", "cache_dir"):  # Where data lie is not part of a result.
      plain.pop(place, None)
    made = _TASKS[config.task][0](config)
    layers = {name: equal_time.make_output_layer(name, made) for name in heads.split(config.heads)}
    # Kept only now: what was refused above can be mended and run in the same directory.
    results.check_config(workdir, plain, may_change=("heads", "seeds"))
    records = results.read(path)
    finished = {(record["head"], record["seed"]) for record in records}
    task.check_same(workdir, records, made)
  print(f"{made.name}: {made.num_classes:,} classes")
  # Seed by seed, so that whatever else slows the machine slows all heads.
  for seed in range(config.seeds):
    for name, layer in layers.items():
      if (name, seed) in finished:
        continue
      outcome = equal_time.train(
        made,
        layer,
        optimizer,
        seed=seed,
        seconds=config.seconds,
        batch_size=config.batch_size,
        num_looks=config.looks,
      )
      record = _record(name, seed, outcome, plain, made)
      results.append(path, record)
      print(f"{name}, seed {seed}: {record['metrics'] or 'diverged'}")
  line = shlex.join(["python", "-m", "experiments.many_classes", *sys.argv[1:]])
  try:
    print(f"Report: {report.write(workdir, command=line)}")
  except ValueError as error:
    command.fail(str(error))


def _record(name, seed, outcome, config, made) -> dict:
  test = {k: v[-1] for k, v in outcome.curves.items() if k not in ("seconds", "steps")}
  diverged = outcome.diverged is not None
  record = {
    "kind": "run",
    "head": name,
    "seed": seed,
    "status": "diverged" if diverged else "finished",
    "metrics": None if diverged else {"test": test},
    "curves": outcome.curves,
    "config": config,
    "dataset": task.describe(made),
    "num_parameters": outcome.num_parameters,
  }
  return record | ({"diverged": {"step": outcome.diverged}} if diverged else {}) | runs.provenance()


if __name__ == "__main__":
  command.run(main)
