"""Compare heads over several seeds on one data set, and write a report.

    python -m experiments.compare --config=configs/digits.py --workdir=runs/digits \\
        --config.heads=softmax,taylor:order=4,sm:margin=0.6 --config.seeds=5

All seeds of a head train at once, over the devices that there are; see docs/devices.rst.
Every finished (head, seed) is appended at once to results.jsonl in the working directory. The
same command run again makes only what is missing; more heads or seeds may be asked for. Seeds
under way are saved at the end of an epoch, at most every ten seconds, and on SIGTERM and SIGINT
(Ctrl-C); the same command goes on from there.
"""

import pathlib
import shlex
import shutil
import sys

from experiments import assembly, command, devices, distributed, resumable, runs
from softmax_research.study.interruption import interruptible
from softmax_research import heads, reporting, training
from softmax_research.training import processes, results

_CONFIG = command.define_config()
_DEVICES = devices.define_devices()
_CONNECT = distributed.define_distributed()
_WORKDIR = command.define_workdir()
_SECONDS_BETWEEN_SAVES = 10.0


def main() -> None:
  """Run the comparison."""
  config, options = _CONFIG.value, _DEVICES.value
  workdir = pathlib.Path(_WORKDIR.value)
  with command.errors_explained():
    if not _CONNECT():
      devices.prepare(options, config.seeds)
    assembly.check_config(config)
    plain = runs.to_json(config)
    records = processes.from_first(
      lambda: command.open_workdir(workdir, plain, may_change=("heads", "seeds"))
    )
    splits = assembly.load_splits(config)
    finished = {(r["head"], r["seed"]): r for r in records if r["kind"] == "run"}
    wanted = [(head, seed) for head in heads.split(config.heads) for seed in range(config.seeds)]
    missing = [run for run in wanted if run not in finished]
    todo = resumable.plan(config, options, splits, missing)
  with command.storage_errors_explained(workdir), distributed.losses_explained():
    train(config, splits, todo, workdir, finished, len(wanted))
    if processes.is_first():
      report(config, splits, workdir, records, finished)


def train(config, splits, todo, workdir, finished, num_wanted) -> None:
  """Train the groups of runs in `todo`, and add each run to what is finished."""
  with training.display() as show, interruptible() as interruption:
    while todo:
      head, seeds, programs = todo.pop(0)  # What is finished can be freed.
      show.start(runs.name(head, seeds), len(finished), num_wanted)
      checkpoints = workdir / "checkpoints" / runs.directory_name(head, seeds)
      outcomes = resumable.train(
        config,
        splits,
        programs,
        head,
        seeds,
        directory=checkpoints,
        interruption=interruption,
        on_progress=show.update,
        seconds_between_saves=_SECONDS_BETWEEN_SAVES,
      )
      processes.from_first(lambda outcomes=outcomes: runs.keep(workdir, outcomes))
      for record, _ in outcomes:
        finished[head, record["seed"]] = record
        show.finish(runs.name(head, [record["seed"]]), runs.summarise(record))
      if processes.is_first():
        shutil.rmtree(checkpoints)


def report(config, splits, workdir, records, finished) -> None:
  """Append the ensembles that are new, and write the report."""
  shutil.rmtree(workdir / "checkpoints", ignore_errors=True)
  for head in heads.split(config.heads):
    append_ensemble(workdir, head, records, finished, splits, config.seeds)
  pages = reporting.write_report(
    workdir / "results.jsonl", workdir, command=shlex.join(["python", *_public_arguments()])
  )
  print(f"Report: {pages.html}")


def append_ensemble(workdir, head, records, finished, splits, num_seeds) -> None:
  """Append the ensemble of a head's seeds unless the results hold it already."""
  seeds = [s for s in range(num_seeds) if finished[head, s]["status"] == "finished"]
  known = [r["seeds"] for r in records if r["kind"] == "ensemble" and r["head"] == head]
  if len(seeds) < 2 or (known and known[-1] == seeds):
    return
  members = [runs.load_predictions(runs.prediction_path(workdir, head, s)) for s in seeds]
  record = runs.ensemble_record(head, seeds, members, splits)
  results.append(workdir / "results.jsonl", record)


def _public_arguments() -> list[str]:
  """Return the command line as a reader would type it."""
  return ["-m", "experiments.compare", *sys.argv[1:]]


if __name__ == "__main__":
  command.run(main)
