"""Resumable: train a head's seeds with checkpoints, so that a killed one goes on where it was."""

import pathlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
from ml_collections import ConfigDict

from experiments import assembly, devices, runs
from softmax_research import training
from softmax_research.study.interruption import Interruption
from softmax_research.training import processes

Outcomes = list[tuple[dict[str, Any], runs.Predictions | None]]
EpochHook = Callable[[training.TrainState, list[training.Curves]], None]
#: A head with the seeds that train together, and their programs.
Planned = tuple[str, list[int], training.ParallelPrograms]


def plan(
  config: ConfigDict, options: ConfigDict, splits: assembly.Splits, missing: list[tuple[str, int]]
) -> list[Planned]:
  """Group heads and seeds as the options of devices say, and make the programs of each group.

  Raises:
    ValueError: what is asked for does not fit the devices or the data.
  """
  planned = []
  for head, seeds in devices.group(options, missing):
    layout = assembly.lay_out(config, splits, options, len(seeds))
    programs = assembly.make_parallel_programs(config, splits, head, layout)
    planned.append((head, seeds, programs))
  return planned


def train(
  config: ConfigDict,
  splits: assembly.Splits,
  programs: training.ParallelPrograms,
  head: str,
  seeds: Sequence[int],
  *,
  directory: pathlib.Path,
  interruption: Interruption,
  on_progress: Callable[[training.Progress], None],
  on_epoch: EpochHook = lambda states, curves: None,
  measure: Callable[[training.TrainState], list[dict[str, Any]]] | None = None,
  seconds_between_saves: float = 0.0,
) -> Outcomes:
  """Train, going on from the newest checkpoint if there is one.

  On SIGTERM or SIGINT the state is saved and the process exits.

  Args:
    config: a checked configuration.
    splits: the data.
    programs: made of the head.
    head: its specification.
    seeds: those that train together.
    directory: the checkpoints', which belong to these runs.
    interruption: of `interruptible`, in whose context this is called.
    on_progress: see `training.fit`.
    on_epoch: called with the states and the curves after each epoch, before they are saved; it
      may add to the curves.
    measure: see `runs.train`.
    seconds_between_saves: epochs that end sooner after a checkpoint are not saved.

  Returns:
    For each run its record and predictions; see `runs.train`.

  Raises:
    SystemExit: interrupted; the status is that of a process that the signal ended.
    OSError: the directory cannot be written.
  """
  checkpoints, last_saved = None, time.monotonic()

  def gather(states):
    """Leave out the places that repeat the last seed: their number depends on the devices."""
    return jax.tree.map(lambda leaf: leaf[: len(seeds)], programs.gather(states))

  def save(states, curves):
    nonlocal last_saved
    gathered = gather(states)
    if processes.is_first():
      checkpoints.save(gathered, curves)
    last_saved = time.monotonic()
    return int(gathered.step.max())

  def after_epoch(states, curves):
    on_epoch(states, curves)
    passed = time.monotonic() - last_saved
    if processes.from_first(lambda: passed >= seconds_between_saves):
      save(states, curves)

  def open_checkpoints():
    nonlocal checkpoints
    checkpoints = training.Checkpoints(directory)
    return len(checkpoints.steps())

  def restore():
    nonlocal states
    if (restored := checkpoints.restore(states)) is None:
      return None
    states, curves = restored
    return curves

  resume = None
  if processes.from_first(open_checkpoints):
    states = gather(programs.init(seeds))
    if (curves := processes.from_first(restore)) is not None:
      states = processes.share(states)
      step, epochs = states.step.max(), max(len(of["epoch"]) for of in curves)
      print(f"{runs.name(head, seeds)}: resuming at step {step}, after {epochs} epochs.")
      resume = programs.scatter(states), curves
  fit, outcomes = runs.train(
    config,
    splits,
    programs,
    head,
    seeds,
    on_progress=on_progress,
    on_epoch=after_epoch,
    measure=measure,
    should_stop=interruption,
    resume=resume,
  )
  if fit.interrupted:
    step = save(fit.states, fit.curves)
    print(f"Interrupted at step {step} and saved; the same command goes on.")
    sys.exit(interruption.exit_status)
  return outcomes
