"""Checkpoints of a run under way: a file each, written whole or not at all, the newest few kept."""

import json
import os
import pathlib
import warnings
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from softmax_research.data.cache import whole_file
from softmax_research.training.loop import Curves
from softmax_research.training.step import TrainState

# Of what differs between a checkpoint and what is asked for, so much is named.
_MOST_NAMED = 4


class Checkpoints:
  """Save and restore training states with their learning curves.

  A checkpoint holds the parameters, the optimiser's and the backbone's state, the random keys and
  the steps; the position in the data follows from the steps. Checksums of all of it tell damage.

  Args:
    directory: made if missing.
    max_to_keep: number of checkpoints kept.

  Example:
    >>> import tempfile
    >>> Checkpoints(tempfile.mkdtemp()).steps()
    []
  """

  def __init__(self, directory: os.PathLike | str, *, max_to_keep: int = 3):
    self._directory, self._max_to_keep = pathlib.Path(directory), max_to_keep
    self._directory.mkdir(parents=True, exist_ok=True)

  def steps(self) -> list[int]:
    """List the steps after which a checkpoint stands, oldest first."""
    names = [path.stem for path in self._directory.glob("*.npz")]
    return sorted(int(name) for name in names if name.isdecimal())

  def save(self, states: TrainState, curves: list[Curves]) -> None:
    """Save states of NumPy arrays, as `ParallelPrograms.gather` returns them, and their curves.

    Raises:
      OSError: the checkpoint cannot be written; those before it are untouched.
    """
    step = int(states.step.max())
    if step in self.steps():
      return
    about = {"curves": curves, "arrays": _describe(states)}
    save_leaves(self._path(step), _stored(states), about)
    for old in self.steps()[: -self._max_to_keep]:
      self._path(old).unlink(missing_ok=True)

  def restore(self, like: TrainState) -> tuple[TrainState, list[Curves]] | None:
    """Restore the newest checkpoint that is whole.

    A damaged one is reported in a warning and set aside, as `damaged-STEP.npz` beside the others,
    and the one before it is tried.

    Args:
      like: gathered states of the same model, optimiser and number of seeds.

    Returns:
      The gathered states and their curves; None where there is no checkpoint that is whole.

    Raises:
      ValueError: the checkpoint was saved with another model, optimiser or number of seeds. The
        message says what differs; the checkpoint stays as it is.
    """
    wanted, tree = jax.tree.flatten(_stored(like))
    for step in reversed(self.steps()):
      try:
        with np.load(self._path(step)) as file:
          about, contents = json.loads(str(file["about"])), dict(file)
        curves, arrays = about["curves"], about["arrays"]
      except Exception as error:  # NumPy and zip files have many errors for damage.
        aside = self._directory / f"damaged-{step}.npz"
        warnings.warn(
          f"The checkpoint at step {step} cannot be read ({type(error).__name__}: {error}); it is "
          f"set aside as {aside}, and the one before it is used.",
          stacklevel=2,
        )
        self._path(step).replace(aside)  # So that its step can be saved anew.
        continue
      self._check_arrays(step, arrays, _describe(like))
      states = jax.tree.unflatten(tree, read_leaves(contents, wanted))
      return states._replace(numbers=like.numbers), curves
    return None

  def _path(self, step: int) -> pathlib.Path:
    return self._directory / f"{step}.npz"

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


def save_leaves(path: pathlib.Path, tree: Any, about: Any, **arrays: np.ndarray) -> None:
  """Write a tree's arrays, whole or not at all; `about` is what JSON can hold.

  They are written as bytes: NumPy's files know no bfloat16.
  """
  leaves = {
    f"leaf{i}": np.ascontiguousarray(leaf).reshape(-1).view(np.uint8)
    for i, leaf in enumerate(jax.tree.leaves(tree))
  }
  with whole_file(path) as file:
    np.savez(file, about=json.dumps(about), **leaves, **arrays)


def read_leaves(file: Any, like: Iterable[Any]) -> list[np.ndarray]:
  """Return the arrays that `save_leaves` wrote, by others of their shapes and types."""
  return [file[f"leaf{i}"].view(of.dtype).reshape(of.shape) for i, of in enumerate(like)]


def _stored(states: TrainState) -> TrainState:
  """Return what a checkpoint holds: all but the method's numbers, which its user knows."""
  return states._replace(numbers=None)


def _describe(states: TrainState) -> dict[str, list]:
  """Return the shape and the type of every array by its path, as JSON holds them."""
  return {
    jax.tree_util.keystr(path, simple=True, separator="/"): [list(leaf.shape), leaf.dtype.name]
    for path, leaf in jax.tree_util.tree_leaves_with_path(_stored(states))
  }


def _say(array: list | None) -> str:
  return "absent" if array is None else f"{array[1]}{array[0]}"
