"""Checkpoints of a run under way, by orbax: written whole or not at all, the newest few kept."""

import hashlib
import json
import os
import pathlib
import warnings

import jax

from softmax_research.training.loop import Curves
from softmax_research.training.step import TrainState


class Checkpoints:
  """Save and restore training states with their learning curves.

  A checkpoint holds the parameters, the optimiser's and the backbone's state, the random keys and
  the steps; the position in the data follows from the steps.

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
    args = self._args.Composite(
      states=self._args.StandardSave(states._asdict()),
      curves=self._args.JsonSave({"seeds": curves, "digest": _digest(curves)}),
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

    A damaged one is reported in a warning, and the one before it is tried.

    Args:
      like: gathered states of the same model, optimiser and number of seeds.

    Returns:
      The gathered states and their curves; None where there is no usable checkpoint.
    """
    for step in reversed(self.steps()):
      args = self._args.Composite(
        states=self._args.StandardRestore(like._asdict()), curves=self._args.JsonRestore()
      )
      try:
        restored = self._manager.restore(step, args=args)
        # JSON can be damaged and still be read; checkpoints before this check have no digest.
        curves = restored.curves["seeds"]
        if restored.curves.get("digest", _digest(curves)) != _digest(curves):
          raise ValueError("the curves are not those that were saved")
      except Exception as error:  # Orbax and its storage raise many types for damaged files.
        warnings.warn(
          f"The checkpoint at step {step} cannot be read ({type(error).__name__}: {error}); "
          "the one before it is used.",
          stacklevel=2,
        )
        self._manager.delete(step)
        continue
      return TrainState(**restored.states), curves
    return None


def _digest(curves: list[Curves]) -> str:
  return hashlib.sha256(json.dumps(curves, sort_keys=True).encode()).hexdigest()
