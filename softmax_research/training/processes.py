"""Processes: what several of them have to decide alike, and what process 0 does for all."""

import json
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils


def is_first() -> bool:
  """Say whether this process is the one that reads and writes results.

  Example:
    >>> is_first()
    True
  """
  return jax.process_index() == 0


def from_first(function: Callable[[], Any]) -> Any:
  """Call a function in process 0 alone, and return in every process what it returned there.

  Args:
    function: takes nothing; what it returns must be what JSON can hold.

  Returns:
    What the function returned; tuples come back as lists where there are several processes.

  Raises:
    ValueError, OSError: the function raised it in process 0; every process raises, so that none
      waits for one that stopped.

  Example:
    >>> from_first(lambda: {"status": "finished"})
    {'status': 'finished'}
  """
  if jax.process_count() == 1:
    return function()
  answer = {}
  if is_first():
    try:
      answer = {"value": function()}
    except (ValueError, OSError) as error:
      answer = {"error": str(error), "of_storage": isinstance(error, OSError)}
  answer = json.loads(_broadcast(json.dumps(answer).encode()))
  if "error" in answer:
    raise (OSError if answer["of_storage"] else ValueError)(answer["error"])
  return answer["value"]


def share(tree: Any) -> Any:
  """Return process 0's arrays in every process, bit by bit.

  Args:
    tree: NumPy arrays, of the same shapes and types in every process.
  """
  if jax.process_count() == 1:
    return tree

  def share_one(array):
    return np.frombuffer(_broadcast(array.tobytes()), array.dtype).reshape(array.shape)

  return jax.tree.map(share_one, tree)


def agree(steps: int, stop: bool) -> tuple[int, bool]:
  """Return the number of steps that process 0 wants, and whether any process wants to stop.

  Clocks and signals differ from process to process, but all have to run the same programs.

  Example:
    >>> agree(10, False)
    (10, False)
  """
  if jax.process_count() == 1:
    return steps, stop
  wishes = multihost_utils.process_allgather(np.array([steps, stop], np.int32))
  return int(wishes[0, 0]), bool(wishes[:, 1].any())


def _broadcast(data: bytes) -> bytes:
  size = int(multihost_utils.broadcast_one_to_all(np.int32(len(data))))
  padded = np.frombuffer(data, np.uint8) if is_first() else np.zeros(size, np.uint8)
  return np.asarray(multihost_utils.broadcast_one_to_all(padded)).tobytes()
