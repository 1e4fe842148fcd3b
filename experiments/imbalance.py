"""Compare heads where some classes are rare, and say which claims about priors hold.

    python -m experiments.imbalance --config=configs/imbalance_mnist.py --workdir=runs/mnist
    python -m experiments.imbalance --config=configs/imbalance_cifar10.py \\
        --workdir=runs/cifar10 --config.settings=step:largest=1000:ratio=50

All seeds of a head train at once. Predictions are judged with every class weighing the same and
with classes weighing as in training, as they are and moved to that prior. Every finished (setting,
head, seed) is appended at once to results.jsonl; the same command goes on after an interruption,
and takes more settings, heads or seeds. report.md has the claims, tables and figures.
"""

import pathlib
import shlex
import shutil
import sys

from experiments import command, devices, resumable, runs
from experiments.imbalanced import judging, report, settings
from softmax_research.study.interruption import interruptible
from softmax_research import training
from softmax_research.training import results

_CONFIG = command.define_config()
_DEVICES = devices.define_devices()
_WORKDIR = command.define_workdir()
_SECONDS_BETWEEN_SAVES = 10.0


def main() -> None:
  """Train what is missing and report."""
  config, options = _CONFIG.value, _DEVICES.value
  workdir = pathlib.Path(_WORKDIR.value)
  with command.errors_explained():
    if "settings" not in config:
      raise ValueError(
        "Got a configuration without settings of imbalance; give "
        "--config=configs/imbalance_mnist.py or --config=configs/imbalance_cifar10.py."
      )
    devices.prepare(options, config.seeds)
    settings.check_config(config)
    records = command.open_workdir(
      workdir, runs.to_json(config), may_change=("settings", "heads", "control_heads", "seeds")
    )
    chosen = settings.make_settings(config)
    finished = {(r["setting"], r["head"], r["seed"]) for r in records}
    num_wanted = config.seeds * sum(len(settings.heads_of(config, s)) for s in chosen)
    if not num_wanted:
      raise ValueError(
        f"Got heads={config.heads!r} and control_heads={config.control_heads!r}, which leave the "
        "only settings, controls, without a head. Name a head in both."
      )
    todo = []
    for setting in chosen:
      training.check_batch_size(config.batch_size, len(setting.splits.train.labels))
      wanted = [(h, s) for h in settings.heads_of(config, setting) for s in range(config.seeds)]
      missing = [run for run in wanted if (setting.name, *run) not in finished]
      todo += [(setting, *one) for one in resumable.plan(config, options, setting.splits, missing)]
  with command.storage_errors_explained(workdir):
    train(config, workdir, todo, num_wanted)
    line = shlex.join(["python", "-m", "experiments.imbalance", *sys.argv[1:]])
    try:
      print(f"Report: {report.write(workdir, runs.to_json(config), command=line)}")
    except ValueError as error:
      command.fail(str(error))


def train(config, workdir, todo, num_wanted) -> None:
  """Train the groups of runs in `todo` and append their records."""
  num_finished = num_wanted - sum(len(seeds) for _, _, seeds, _ in todo)
  with training.display() as show, interruptible() as interruption:
    while todo:
      setting, head, seeds, programs = todo.pop(0)  # What is finished can be freed.
      show.start(f"{setting.name}, {runs.name(head, seeds)}", num_finished, num_wanted)
      directory = workdir / "checkpoints" / runs.file_name(setting.name)
      directory /= runs.directory_name(head, seeds)
      outcomes = resumable.train(
        config,
        setting.splits,
        programs,
        head,
        seeds,
        directory=directory,
        interruption=interruption,
        on_progress=show.update,
        seconds_between_saves=_SECONDS_BETWEEN_SAVES,
      )
      for record, predictions in outcomes:
        record |= {"setting": setting.name, "dataset": setting.describe()}
        if predictions is not None:
          record["metrics"] = judging.judge(setting, head, *predictions)
      results.append(workdir / "results.jsonl", *(record for record, _ in outcomes))
      for record, _ in outcomes:
        num_finished += 1
        name = runs.name(head, [record["seed"]])
        show.finish(f"{setting.name}, {name}", summarise(record))
      shutil.rmtree(directory)
  shutil.rmtree(workdir / "checkpoints", ignore_errors=True)


def summarise(record) -> str:
  """Say in a line how a run ended."""
  if record["status"] == "diverged":
    return runs.summarise(record)
  accuracy = record["metrics"]["balanced"]["as_is"]["macro_accuracy"]
  return (
    f"macro accuracy {accuracy:.2%}, {record['wall_seconds']:.1f} s, "
    f"{record['images_per_second']:,.0f} images/s"
  )


if __name__ == "__main__":
  command.run(main)
