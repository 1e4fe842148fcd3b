"""Cells: train what a cell of a table asks for, and make the records of its seeds."""

import pathlib
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from experiments import assembly, resumable, runs
from experiments.reproduction import cross_validation, measures, search, selection
from experiments.reproduction.protocol import Protocol
from experiments.reproduction.queue import Cell
from softmax_research import training
from softmax_research.study.interruption import Interruption

_SECONDS_BETWEEN_SAVES = 10.0
_LONGEST_MESSAGE = 500


class Context(NamedTuple):
  """Hold what all cells share.

  Attributes:
    protocol: the table's.
    options: of `devices.get_options`.
    workdir: where checkpoints lie.
    interruption: of `interruptible`.
    on_progress: see `training.fit`.
    load_splits: from a setting's name to its splits.
  """

  protocol: Protocol
  options: ConfigDict
  workdir: pathlib.Path
  interruption: Interruption
  on_progress: Callable[[training.Progress], None]
  load_splits: Callable[[str], assembly.Splits]


def run(context: Context, cell: Cell) -> list[dict[str, Any]]:
  """Train a cell.

  Args:
    context: what all cells share.
    cell: of `queue.make_cells`, settled.

  Returns:
    The records of its seeds.

  Raises:
    SystemExit: interrupted; the same command goes on.
    Whatever the work raises.
  """
  setting = context.protocol.setting(cell.setting)
  config = context.protocol.train_config(cell.setting, cell.head, len(cell.seeds), cell.values)
  splits = context.load_splits(cell.setting)
  programs = make_programs(context, cell, config, splits)
  crosses = setting.protocol == "cross_validation"
  train = _cross_validate if crosses else _train
  outcomes = train(context, cell, setting, config, splits, programs)
  return [finish(context.protocol, cell, setting, splits, *outcome) for outcome in outcomes]


def make_programs(context, cell, config, splits) -> training.ParallelPrograms:
  """Build the programs that train a cell's seeds."""
  layout = assembly.lay_out(config, splits, context.options, len(cell.seeds))
  return assembly.make_parallel_programs(config, splits, cell.head, layout)


def finish(protocol, cell, setting, splits, record, predictions) -> dict[str, Any]:
  """Say in a run's record what it is in the table, and what else was measured."""
  found = {
    "paper": protocol.paper.name,
    "variant": protocol.variant,
    "setting": cell.setting,
    "method": cell.method,
    "fingerprint": protocol.fingerprint(cell.setting, cell.head, cell.values),
  }
  found |= {"values": dict(cell.values)} if cell.values else {}
  if cell.trial:
    metrics = record["metrics"] and {"validation": record["metrics"]["validation"]}
    return record | found | {"kind": "trial", "metrics": metrics}
  measured = record.get("measured", {})
  if predictions is not None:
    measured = measured | measures.of_predictions(setting.measures, predictions, splits)
  return record | found | {"selected": selection.selected(record["curves"]), "measured": measured}


def checkpoint_directory(context: Context, cell: Cell) -> pathlib.Path:
  """Return where a cell's checkpoints lie: with other settings it does not go on from them."""
  row = search.row(cell.method, cell.values)
  made_with = context.protocol.fingerprint(cell.setting, cell.head, cell.values)
  group = runs.directory_name(cell.head, cell.seeds)
  return (
    context.workdir / "checkpoints" / runs.file_name(f"{cell.setting}-{row}-{made_with}-{group}")
  )


def failure(protocol: Protocol, cell: Cell, error: Exception) -> dict[str, Any]:
  """Make the record of a cell that failed."""
  message = f"{type(error).__name__}: {error}"
  return {
    "kind": "failure",
    "paper": protocol.paper.name,
    "variant": protocol.variant,
    "setting": cell.setting,
    "method": cell.method,
    "head": cell.head,
    "seeds": list(cell.seeds),
    "values": dict(cell.values),
    "trial": cell.trial,
    "error": message[:_LONGEST_MESSAGE],
  } | runs.provenance()


def _train(context, cell, setting, config, splits, programs):
  hooks = {}
  if not cell.trial:  # In a trial the test split is not even looked at.
    hooks["on_epoch"] = selection.looker(programs, splits)
    hooks["measure"] = measures.of_models(
      setting.measures, config, splits, programs, cell.head, cell.seeds
    )
  return resumable.train(
    config,
    splits,
    programs,
    cell.head,
    cell.seeds,
    directory=checkpoint_directory(context, cell),
    interruption=context.interruption,
    on_progress=context.on_progress,
    seconds_between_saves=_SECONDS_BETWEEN_SAVES,
    **hooks,
  )


def _cross_validate(context, cell, setting, config, splits, programs):
  outcomes = cross_validation.train(
    config,
    splits,
    programs,
    cell.head,
    cell.seeds,
    folds=setting.folds,
    carry_over=setting.carry_over,
    on_progress=context.on_progress,
    should_stop=context.interruption,
  )
  if outcomes is None:
    print(f"Interrupted; the same command begins {cell.name} again.")
    sys.exit(context.interruption.exit_status)
  return outcomes
