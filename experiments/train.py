"""Train one head with one seed, with checkpoints to resume from.

    python -m experiments.train --config=configs/digits.py --head=taylor:order=4 --seed=0 \\
        --workdir=runs/taylor

A checkpoint is saved after every epoch, and within about three seconds of SIGTERM and SIGINT
(Ctrl-C); the exit status is then 143 or 130. The same command run again goes on from the last
checkpoint and ends with the same bits as a run that nothing disturbed. With --tensorboard the
learning curves and the final metrics are also written as TensorBoard events. The trained model is
kept for experiments.predict and training.load.
"""

import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from absl import flags
from ml_collections import ConfigDict, config_flags

from experiments import assembly, classifiers, compare
from softmax_research import heads, study, training
from softmax_research.training import environment


class More(NamedTuple):
  """Hold what is trained.

  Attributes:
    head: head as name:option=value; by default the first of the configuration's.
    seed: seed of the run.
    tensorboard: write TensorBoard events.
  """

  head: str = ""
  seed: int = 0
  tensorboard: bool = False


def choose(config: ConfigDict) -> ConfigDict:
  """Return the configuration as the comparison of one head has it, with what `More` adds.

  A ValueError names a key that was given on the command line and would have no effect.
  """
  own = config.copy_and_resolve_references()
  given = config_flags.get_override_values(flags.FLAGS["config"]) if "config" in flags.FLAGS else ()
  names = heads.split(own.heads)
  without_effect = ("seeds", *["heads"] * bool(own.head or len(names) > 1))
  for key in set(given) & set(without_effect):
    raise ValueError(
      f"Got --config.{key}={own[key]}; a run here is of one head and one seed. Give them as "
      "--head and --seed, or use experiments.compare for several."
    )
  own.heads = own.head = own.head or names[0]
  return own


def check(config: ConfigDict) -> None:
  assembly.check_config(compare.without(More, config))
  if len(compare.cells(config)) != 1:
    raise ValueError(
      f"Got --head={config.head}; give one head, one backbone and one optimiser, or use "
      "experiments.compare."
    )


def run(cell: dict[str, Any], context: study.Context) -> Iterator[list[study.Record]]:
  config, splits = context.settings, context.prepared
  events = None
  if config.tensorboard and environment.is_first():
    events = Events(context.workdir / "events", len(splits.train.labels) // config.batch_size)
  (trained,) = classifiers.train(
    context,
    config,
    splits,
    cell["head"],
    on_epoch=events.add_epochs if events else lambda programs, states, curves: None,
    seconds_between_saves=0.0,
  )
  if events is not None:
    events.add_metrics(trained.record["metrics"])
  classifiers.keep_models(context, config, splits, [trained])
  yield [trained.record]
  for split, metrics in trained.record["metrics"].items():
    numbers = {k: round(v, 5) for k, v in metrics.items() if isinstance(v, float)}
    print(f"{split}: {numbers}")


class Events:
  """Write learning curves and metrics as TensorBoard events; an epoch has so many batches."""

  def __init__(self, directory: pathlib.Path, num_batches: int):
    from tensorboardX import SummaryWriter  # noqa: PLC0415  # It loads PyTorch where there is one.

    # Epochs since the last checkpoint are trained again, so all events of a killed run are purged,
    # and its curves written once more.
    self._writer = SummaryWriter(str(directory), purge_step=0)
    self._num_batches, self._written, self._step = num_batches, 0, 0

  def add_epochs(self, programs: Any, states: Any, curves: list[training.Curves]) -> None:
    """Write the epochs that are not written yet."""
    del programs, states
    of = curves[0]
    for i in range(self._written, len(of["epoch"])):
      self._step = self._num_batches * of["epoch"][i]
      for name in ("train_loss", "validation_nll", "validation_accuracy"):
        if of[name][i] is not None:
          self._writer.add_scalar(name, of[name][i], self._step)
    self._written = len(of["epoch"])

  def add_metrics(self, metrics: dict[str, Any]) -> None:
    """Write the final metrics of both splits, and close."""
    for split, numbers in metrics.items():
      for name, value in numbers.items():
        if isinstance(value, float):
          self._writer.add_scalar(f"{split}_{name}", value, self._step)
    self._writer.close()


STUDY = compare.STUDY._replace(
  run=run,
  name="train",
  choose=choose,
  check=check,
  config=lambda config, cell: compare.config_of(compare.without(More, config), cell),
  seeds=lambda config, cell: (config.seed,),
  estimate=None,
  derive=lambda config, records, workdir: (),
  keep_checkpoints=True,
)


if __name__ == "__main__":
  classifiers.main(STUDY, num_seeds=lambda config: 1, default_config="configs/digits.py", more=More)
