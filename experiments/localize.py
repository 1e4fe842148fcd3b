"""Localise objects by class activation maps: CAM, infoCAM and infoCAM+.

    python -m experiments.localize --config=configs/localize_digits.py --workdir=runs/digits
    python -m experiments.localize --config=configs/localize_objects.py --workdir=runs/objects
    python -m experiments.localize --config=configs/localize_objects.py --workdir=runs/birds \\
        --config.folder=CUB_200_2011

A net learns the classes of scenes alone; boxes are then cut from its maps and judged by the true
ones. Thresholds are the paper's, or chosen on validation scenes. Seeds train side by side, one a
device; every finished (head, seed) is appended at once to results.jsonl, and the same command run
again makes only what is missing.
"""

import pathlib
import shlex
import sys

import jax

from experiments import assembly, command, devices, runs
from experiments.localization import evaluation, maps, material, report
from softmax_research import heads, training
from softmax_research.study.interruption import interruptible
from softmax_research.training import results

_CONFIG = command.define_config()
_DEVICES = devices.define_devices()
_WORKDIR = command.define_workdir()


def main() -> None:
  """Train what is missing, judge its maps and write the report."""
  config, options = _CONFIG.value, _DEVICES.value
  workdir = pathlib.Path(_WORKDIR.value)
  with command.errors_explained():
    devices.check_in_one_program(options)
    devices.prepare(options, config.seeds)
    material.check_config(config)
    records = command.open_workdir(workdir, runs.to_json(config), may_change=("heads", "seeds"))
    finished = {(record["head"], record["seed"]) for record in records}
    wanted = [(head, seed) for head in heads.split(config.heads) for seed in range(config.seeds)]
    missing = [run for run in wanted if run not in finished]
    todo = []
    if missing:
      made = material.make(config)
      splits = material.splits(made)
      todo = _plan(config, options, splits, missing)
  with command.storage_errors_explained(workdir):
    if todo:
      _train(config, made, splits, todo, workdir, len(wanted) - len(missing))
    line = shlex.join(["python", "-m", "experiments.localize", *sys.argv[1:]])
    try:
      print(f"Report: {report.write(workdir, command=line)}")
    except ValueError as error:
      command.fail(str(error))


def _plan(config, options, splits, missing):
  """Return what trains together, as many seeds of a head as there are devices, with programs."""
  todo = []
  for head in dict.fromkeys(head for head, _ in missing):
    state = jax.eval_shape(assembly.make_programs(config, splits, head).init, 0)
    maps.check_head(head, state.params["head"], splits.num_classes)
    left, made = [seed for other, seed in missing if other == head], {}
    while left:
      seeds, left = left[: jax.device_count()], left[jax.device_count() :]
      size = len(seeds)
      if size not in made:
        layout = devices.lay_out(options, config.backbone.name, size)
        made[size] = assembly.make_parallel_programs(config, splits, head, layout)
      todo.append((head, seeds, made[size]))
  return todo


def _train(config, made, splits, todo, workdir, num_finished) -> None:
  """Train what is to do, and keep the record and the examples of each run."""
  judge = evaluation.make_judge(config, made, splits)
  num_runs = num_finished + sum(len(seeds) for _, seeds, _ in todo)
  with training.display() as show, interruptible() as interruption:
    for head, seeds, programs in todo:
      show.start(runs.name(head, seeds), num_finished, num_runs)
      fit, outcomes = runs.train(
        config, splits, programs, head, seeds, on_progress=show.update, should_stop=interruption
      )
      if fit.interrupted:
        print("Interrupted; finished runs are kept, and the same command goes on.")
        sys.exit(interruption.exit_status)
      states = programs.gather(fit.states)
      for index, (record, predictions) in enumerate(outcomes):
        if predictions is not None:
          state = jax.tree.map(lambda leaf, index=index: leaf[index], states)
          localisation, examples = judge(state, predictions)
          record |= {"localisation": localisation}
          evaluation.save_examples(workdir, record["head"], record["seed"], examples)
        results.append(workdir / "results.jsonl", record)
        num_finished += 1
        show.finish(runs.name(head, [record["seed"]]), evaluation.summarise(record))


if __name__ == "__main__":
  command.run(main)
