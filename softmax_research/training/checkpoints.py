"""Checkpoints of a run under way, by orbax: written whole or not at all, the newest few kept."""

import os
import pathlib
import warnings
from typing import Any

import jax
import orbax.checkpoint as ocp

from softmax_research.training.step import TrainState

Curves = dict[str, list[float]]


class Checkpoints:
  """Save and restore training states with their learning curves.

  A checkpoint holds the parameters, the optimiser's and the backbone's state, the random key and
  the step; the position in the data follows from the number of epochs in the curves.

  Args:
    directory: made if missing.
    max_to_keep: number of checkpoints kept.

  Example:
    >>> import tempfile
    >>> Checkpoints(tempfile.mkdtemp()).epochs()
    []
  """

  def __init__(self, directory: os.PathLike | str, *, max_to_keep: int = 3):
    # Synchronous: the training step donates its state, so a save must be over when it returns.
    options = ocp.CheckpointManagerOptions(
      max_to_keep=max_to_keep, enable_async_checkpointing=False
    )
    self._manager = ocp.CheckpointManager(pathlib.Path(directory).absolute(), options=options)

  def epochs(self) -> list[int]:
    """List the epochs after which a checkpoint stands, oldest first."""
    return sorted(self._manager.all_steps())

  def save(self, state: TrainState, curves: Curves) -> None:
    """Save the state after the epochs that the curves show."""
    args = ocp.args.Composite(
      state=ocp.args.StandardSave(_plain(state)), curves=ocp.args.JsonSave(curves)
    )
    self._manager.save(len(curves["epoch"]), args=args)

  def restore(self, like: TrainState) -> tuple[TrainState, Curves] | None:
    """Restore the newest checkpoint that is whole.

    A damaged one is reported in a warning, and the one before it is tried.

    Args:
      like: a state of the same model and optimiser.

    Returns:
      The state and its curves; None where there is no usable checkpoint.
    """
    for epoch in reversed(self.epochs()):
      args = ocp.args.Composite(
        state=ocp.args.StandardRestore(_plain(like)), curves=ocp.args.JsonRestore()
      )
      try:
        restored = self._manager.restore(epoch, args=args)
      except Exception as error:  # Orbax and its storage raise many types for damaged files.
        warnings.warn(
          f"The checkpoint after epoch {epoch} cannot be read ({type(error).__name__}: {error}); "
          "the one before it is used.",
          stacklevel=2,
        )
        self._manager.delete(epoch)
        continue
      return _typed(restored.state), restored.curves
    return None


def _plain(state: TrainState) -> dict[str, Any]:
  """Turn a state into a dictionary of plain arrays: storage knows no typed keys."""
  return state._replace(key=jax.random.key_data(state.key))._asdict()


def _typed(stored: dict[str, Any]) -> TrainState:
  state = TrainState(**stored)
  return state._replace(key=jax.random.wrap_key_data(state.key))
