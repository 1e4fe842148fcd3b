"""Estimate: how long a cell will take, by finished cells or by a step that is thrown away."""

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from experiments.reproduction import cells
from experiments.reproduction.queue import Cell, Key

_STEPS = 2


def from_finished(cell: Cell, finished: Mapping[Key, Mapping[str, Any]]) -> float | None:
  """Estimate a cell's seconds by the runs of its method, or else of its setting.

  Args:
    cell: the cell.
    finished: records by key; see `queue.merge`.

  Returns:
    Seconds, or None where nothing of the setting is finished.

  Example:
    >>> finished = {("mnist", "softmax", 0): {"wall_seconds": 3.0}}
    >>> from_finished(Cell("mnist", "m=2", "l_softmax", (0, 1)), finished)
    6.0
  """
  of_setting = {key: run["wall_seconds"] for key, run in finished.items() if key[0] == cell.setting}
  of_method = [seconds for key, seconds in of_setting.items() if key[1] == cell.row]
  seconds = of_method or list(of_setting.values())
  return statistics.median(seconds) * len(cell.seeds) if seconds else None


def from_a_step(context: cells.Context, cell: Cell) -> float:
  """Estimate a cell's seconds by a few steps of one seed, which are thrown away.

  Compiling is left out, and so are evaluations. Where seeds share a device well, the cell takes
  less.
  """
  one = cell._replace(seeds=cell.seeds[:1])
  setting = context.protocol.setting(cell.setting)
  config = context.protocol.train_config(cell.setting, cell.head, 1, cell.values)
  splits = context.load_splits(cell.setting)
  programs = cells.make_programs(context, one, config, splits)
  states = programs.init([one.seeds[0]])
  held = programs.hold(splits.train.images, splits.train.labels)
  num_batches = len(splits.train.labels) // config.batch_size
  batches = programs.deal(states, held, 0, num_batches, config.batch_size)
  states = jax.block_until_ready(programs.run_steps(states, batches, 0, 1))  # Compiles.
  steps = min(_STEPS, num_batches)
  began = time.perf_counter()
  jax.block_until_ready(programs.run_steps(states, batches, 0, steps))
  step = (time.perf_counter() - began) / steps
  folds = setting.folds if setting.protocol == "cross_validation" else 1
  return step * num_batches * config.num_epochs * folds * len(cell.seeds)


def describe(seconds: float) -> str:
  """Say a duration in words.

  Example:
    >>> describe(42), describe(500), describe(9000)
    ('42 s', '8 min', '2.5 h')
  """
  if seconds < 100:
    return f"{seconds:.0f} s"
  return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def left(todo: Sequence[Cell], finished: Mapping[Key, Mapping[str, Any]]) -> str:
  """Say how long the cells that are left will take, as far as finished ones tell.

  Example:
    >>> left([Cell("mnist", "m=2", "l_softmax", (0,))], {})
    'time left: not known before a cell of each setting is finished'
  """
  each = [from_finished(cell, finished) for cell in todo]
  known = [seconds for seconds in each if seconds is not None]
  if not todo:
    return "nothing left"
  if not known:
    return "time left: not known before a cell of each setting is finished"
  more = "" if len(known) == len(each) else f" for {len(known)} of the {len(each)} cells left"
  return f"time left: about {describe(sum(known))}{more}"
