"""Train one head with one seed, with checkpoints to resume from.

    python -m experiments.train --config=configs/digits.py --head=taylor:order=4 --seed=0 \\
        --workdir=runs/taylor

A checkpoint is saved after every epoch, and on SIGTERM and SIGINT (Ctrl-C) within about a second;
the exit status is then 143 or 130. The same command run again goes on from the last checkpoint and
ends with the same bits as a run that nothing disturbed. With --tensorboard the learning curves are
also written as TensorBoard events.
"""

import json
import pathlib

from absl import flags

from experiments import assembly, command, devices, distributed, resumable, runs
from softmax_research.study.interruption import interruptible
from softmax_research import heads, training
from softmax_research.training import processes

_CONFIG = command.define_config()
_DEVICES = devices.define_devices()
_CONNECT = distributed.define_distributed()
_WORKDIR = command.define_workdir()
_HEAD = flags.DEFINE_string("head", "softmax", "Head as name:option=value.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the run.", lower_bound=0)
_TENSORBOARD = flags.DEFINE_bool("tensorboard", False, "Write TensorBoard events.")


def main() -> None:
  """Train, or resume, or show what is finished."""
  config, options = _CONFIG.value, _DEVICES.value
  head, seed, workdir = _HEAD.value, _SEED.value, pathlib.Path(_WORKDIR.value)
  with command.errors_explained():
    if not _CONNECT():
      devices.prepare(options, 1)
    config.heads = head
    assembly.check_config(config)
    if len(heads.split(head)) != 1:
      raise ValueError(f"Got --head={head}; give one head, or use experiments.compare.")
    plain = runs.to_json(config) | {"seed": seed}
    records = processes.from_first(
      lambda: command.open_workdir(workdir, plain, may_change=("seeds",))
    )
    if records:
      print(f"Finished before: {runs.summarise(records[-1])}")
      return
    splits = assembly.load_splits(config)
    layout = devices.lay_out(options, config.backbone.name, 1)
    programs = assembly.make_parallel_programs(config, splits, head, layout)
  with command.storage_errors_explained(workdir), distributed.losses_explained():
    record = train(config, splits, programs, head, seed, workdir)
  print_metrics(record, workdir)


def train(config, splits, programs, head, seed, workdir) -> dict:
  """Train with checkpoints, keep the results and return the record."""
  events = open_events(workdir / "events") if _TENSORBOARD.value and processes.is_first() else None
  num_batches = training.check_batch_size(config.batch_size, len(splits.train.labels))

  def on_epoch(_, curves):
    if events is not None:
      for name in ("train_loss", "validation_nll", "validation_accuracy"):
        events.add_scalar(name, curves[0][name][-1], num_batches * curves[0]["epoch"][-1])

  with training.display() as show, interruptible() as interruption:
    show.start(runs.name(head, [seed]), 0, 1)
    outcomes = resumable.train(
      config,
      splits,
      programs,
      head,
      [seed],
      directory=workdir / "checkpoints",
      interruption=interruption,
      on_progress=show.update,
      on_epoch=on_epoch,
    )
    processes.from_first(lambda: runs.keep(workdir, outcomes))
    ((record, _),) = outcomes
    show.finish(runs.name(head, [seed]), runs.summarise(record))
  if events is not None:
    events.close()
  return record


def open_events(directory: pathlib.Path):
  """Open a writer of TensorBoard events."""
  from tensorboardX import SummaryWriter  # noqa: PLC0415  # It loads PyTorch where that is installed.

  return SummaryWriter(str(directory))


def print_metrics(record: dict, workdir: pathlib.Path) -> None:
  """Print the scalar metrics of a run as JSON, and where everything lies."""
  for split, metrics in (record["metrics"] or {}).items():
    scalars = {k: round(v, 5) for k, v in metrics.items() if isinstance(v, float)}
    print(f"{split}: {json.dumps(scalars)}")
  print(f"Results: {workdir / 'results.jsonl'}; checkpoints: {workdir / 'checkpoints'}")


if __name__ == "__main__":
  command.run(main)
