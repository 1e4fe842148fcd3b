"""Train one head with one seed, with checkpoints to resume from.

    python -m experiments.train --config=configs/digits.py --head=taylor:order=4 --seed=0 \\
        --workdir=runs/taylor

Run again after an interruption, it goes on after the last finished epoch. With --tensorboard the
learning curves are also written as TensorBoard events.
"""

import json
import pathlib

from absl import flags
from tensorboardX import SummaryWriter

from experiments import assembly, command, runs
from softmax_research import heads, training
from softmax_research.training import results

_CONFIG = command.define_config()
_WORKDIR = command.define_workdir()
_HEAD = flags.DEFINE_string("head", "softmax", "Head as name:option=value.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the run.", lower_bound=0)
_TENSORBOARD = flags.DEFINE_bool("tensorboard", False, "Write TensorBoard events.")


def main() -> None:
  """Train, or resume, or show what is finished."""
  config = _CONFIG.value
  head, seed = _HEAD.value, _SEED.value
  with command.errors_explained():
    config.heads = head
    assembly.check_config(config)
    if len(heads.split(head)) != 1:
      raise ValueError(f"Got --head={head}; give one head, or use experiments.compare.")
    workdir = command.prepare_workdir(_WORKDIR.value)
    results.check_config(workdir, runs.to_json(config) | {"seed": seed}, may_change=("seeds",))
    if records := results.read(workdir / "results.jsonl"):
      print(f"Finished before: {runs.summarise(records[-1])}")
      return
    splits = assembly.load_splits(config)
    programs = assembly.make_programs(config, splits, head)
    checkpoints = training.Checkpoints(workdir / "checkpoints")
    resume = checkpoints.restore(programs.init(seed))
  if resume is not None:
    print(f"Resuming after epoch {len(resume[1]['epoch'])} of {config.num_epochs}.")
  events = SummaryWriter(str(workdir / "events")) if _TENSORBOARD.value else None

  def on_epoch(state, curves):
    checkpoints.save(state, curves)
    if events is not None:
      for name in ("train_loss", "validation_nll", "validation_accuracy"):
        events.add_scalar(name, curves[name][-1], int(state.step))

  with training.display() as show:
    show.start(f"{head}, seed {seed}", 0, 1)
    record, predictions = runs.train(
      config,
      splits,
      programs,
      head,
      seed,
      on_progress=show.update,
      on_epoch=on_epoch,
      resume=resume,
    )
    if predictions is not None:
      runs.save_predictions(runs.prediction_path(workdir, head, seed), predictions)
    results.append(workdir / "results.jsonl", record)
    show.finish(runs.summarise(record))
  if events is not None:
    events.close()
  print_metrics(record, workdir)


def print_metrics(record: dict, workdir: pathlib.Path) -> None:
  """Print the scalar metrics of a run as JSON, and where everything lies."""
  for split, metrics in (record["metrics"] or {}).items():
    scalars = {k: round(v, 5) for k, v in metrics.items() if isinstance(v, float)}
    print(f"{split}: {json.dumps(scalars)}")
  print(f"Results: {workdir / 'results.jsonl'}; checkpoints: {workdir / 'checkpoints'}")


if __name__ == "__main__":
  command.run(main)
