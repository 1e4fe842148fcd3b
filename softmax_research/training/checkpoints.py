"""Checkpoints of a run under way, by orbax: written whole or not at all, the newest few kept."""

import hashlib
import json
import os
import pathlib
import warnings
from typing import Any

import jax
import numpy as np

from softmax_research.training.loop import Curves
from softmax_research.training.step import TrainState

# Of what differs between a checkpoint and what is asked for, so much is named.
_MOST_NAMED = 4


class Checkpoints:
  """Save and restore training states with their learning curves.

  A checkpoint holds the parameters, the optimiser's and the backbone's state, the random keys and
  the steps; the position in the data follows from the steps. A digest of all of it tells damage.

  Args:
    directory: made if missing.
    max_to_keep: number of checkpoints kept.

  Example:
    >>> import tempfile
    >>> Checkpoints(tempfile.mkdtemp()).steps()
    []
  """

  def __init__(self, directory: os.PathLike | str, *, max_to_keep: int = 3):
    import orbax.checkpoint as ocp  # noqa: PLC0415  # It takes long to import, and few scripts save.

    directory = pathlib.Path(directory).absolute()
    directory.mkdir(parents=True, exist_ok=True)
    # Where there are several processes, this one alone saves; Orbax would wait for all of them.
    alone = ocp.options.MultiprocessingOptions(
      primary_host=jax.process_index(),
      active_processes={jax.process_index()},
      barrier_sync_key_prefix=f"process{jax.process_index()}",
    )
    # Synchronous: the training step donates its state, so a save must be over when it returns.
    options = ocp.CheckpointManagerOptions(
      max_to_keep=max_to_keep,
      enable_async_checkpointing=False,
      create=False,
      multiprocessing_options=alone,
    )
    self._args = ocp.args
    self._directory = directory
    self._manager = ocp.CheckpointManager(directory, options=options)

  def steps(self) -> list[int]:
    """List the steps after which a checkpoint stands, oldest first."""
    return sorted(self._manager.all_steps())

  def save(self, states: TrainState, curves: list[Curves]) -> None:
    """Save states of NumPy arrays, as `ParallelPrograms.gather` returns them, and their curves.

    Raises:
      OSError: the checkpoint cannot be written; those before it are untouched.
    """
    step = int(states.step.max())
    if step in self.steps():
      return
    record = {"seeds": curves, "arrays": _describe(states), "digest": _digest(states, curves)}
    args = self._args.Composite(
      states=self._args.StandardSave(_stored(states)), curves=self._args.JsonSave(record)
    )
    try:
      self._manager.save(step, args=args)
    except Exception as error:  # Orbax and its storage raise many types where a file system fails.
      reason = str(error).partition("\n")[0]
      raise OSError(
        f"the checkpoint at step {step} cannot be saved: {type(error).__name__}: {reason}"
      ) from error

  def restore(self, like: TrainState) -> tuple[TrainState, list[Curves]] | None:
    """Restore the newest checkpoint that is whole.

    A damaged one is reported in a warning and set aside, as `damaged-STEP` beside the others, and
    the one before it is tried.

    Args:
      like: gathered states of the same model, optimiser and number of seeds.

    Returns:
      The gathered states and their curves; None where there is no checkpoint that is whole.

    Raises:
      ValueError: the checkpoint was saved with another model, optimiser or number of seeds. The
        message says what differs; the checkpoint stays as it is.
    """
    for step in reversed(self.steps()):
      try:
        record = self._read(step, curves=self._args.JsonRestore()).curves
        curves, arrays, digest = record["seeds"], record["arrays"], record["digest"]
      except Exception as error:  # Orbax and its storage raise many types for damaged files.
        self._set_aside(step, error)
        continue
      self._check_arrays(step, arrays, _describe(like))
      try:
        stored = self._read(step, states=self._args.StandardRestore(_stored(like))).states
        states = TrainState(**stored, numbers=like.numbers)
        if _digest(states, curves) != digest:
          raise ValueError("it does not hold what was saved")
      except Exception as error:
        self._set_aside(step, error)
        continue
      return states, curves
    return None

  def _read(self, step: int, **items: Any) -> Any:
    return self._manager.restore(step, args=self._args.Composite(**items))

  def _check_arrays(self, step: int, saved: dict[str, list], wanted: dict[str, list]) -> None:
    """Raise a ValueError unless the checkpoint holds the arrays that are wanted."""
    # The model's own arrays first: the optimiser's follow from them.
    names = sorted(saved | wanted, key=lambda name: (name.startswith("opt_state"), name))
    differences = [
      f"{name} is {_say(saved.get(name))} there and {_say(wanted.get(name))} here"
      for name in names
      if saved.get(name) != wanted.get(name)
    ]
    if differences:
      more = len(differences) - _MOST_NAMED
      rest = f"; and {more} more" if more > 0 else ""
      raise ValueError(
        f"The checkpoint at step {step} in {self._directory} was saved with another model, "
        f"optimiser or number of seeds: {'; '.join(differences[:_MOST_NAMED])}{rest}. Go on with "
        "what saved it, or give another directory."
      )

  def _set_aside(self, step: int, error: Exception) -> None:
    """Rename a damaged checkpoint, so that its step can be saved anew."""
    aside = self._directory / f"damaged-{step}"
    number = 1
    while aside.exists():
      number += 1
      aside = self._directory / f"damaged-{step}-{number}"
    reason = str(error).partition("\n")[0]
    warnings.warn(
      f"The checkpoint at step {step} cannot be read ({type(error).__name__}: {reason}); it is set "
      f"aside as {aside}, and the one before it is used.",
      stacklevel=3,
    )
    (self._directory / str(step)).rename(aside)
    self._manager.reload()


def _stored(states: TrainState) -> dict[str, Any]:
  """Return what a checkpoint holds: all that there is but the method's numbers, which its user
  knows.
  """
  fields = states._asdict().items()
  return {name: of for name, of in fields if name != "numbers" and of is not None}


def _describe(states: TrainState) -> dict[str, list]:
  """Return the shape and the type of every array by its path, as JSON holds them."""
  return {
    jax.tree_util.keystr(path, simple=True, separator="/"): [list(leaf.shape), leaf.dtype.name]
    for path, leaf in jax.tree_util.tree_leaves_with_path(_stored(states))
  }


def _say(array: list | None) -> str:
  return "absent" if array is None else f"{array[1]}{array[0]}"


def _digest(states: TrainState, curves: list[Curves]) -> str:
  """Return a digest of everything that is restored."""
  digest = hashlib.sha256(json.dumps(curves, sort_keys=True).encode())
  digest.update(json.dumps(_describe(states), sort_keys=True).encode())
  for leaf in jax.tree.leaves(states._replace(numbers=None)):
    digest.update(np.ascontiguousarray(leaf).tobytes())
  return digest.hexdigest()
