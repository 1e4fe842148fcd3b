"""Task: examples, a network without its output layer, and how a trained model is judged."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from softmax_research.heads import Head

#: Batches of the evaluation have so many examples.
EVALUATED_TOGETHER = 200


class Task(NamedTuple):
  """Hold a task of many classes.

  Attributes:
    name: of the data, for the report.
    num_classes: K.
    class_counts: how often each class occurs in training, `[K]`.
    inputs: of the training examples, `[N, ...]`.
    labels: of the training examples, int32 `[N]`.
    init: `key -> params`, of the network.
    num_features: D.
    rows: `inputs -> rows` of the parameters that a batch needs, as `training.update_rows` takes.
    features: `(params, rows, inputs, key) -> [B, D]`, in training; `params` hold those rows only.
    evaluate: `(params, head, head_params) -> metrics`, None where one is infinite.
    measure: the metric to compare by, a key of the metrics.
    num_test: how many examples the metrics are of.
    class_vectors: `params -> [K, D]`, where the output layer starts; None to draw it at random.
    fingerprint: of the data, where its name and sizes leave open which they are.
  """

  name: str
  num_classes: int
  class_counts: np.ndarray
  inputs: np.ndarray
  labels: np.ndarray
  init: Callable[[jax.Array], Any]
  num_features: int
  rows: Callable[[jax.Array], Any]
  features: Callable[..., jax.Array]
  evaluate: Callable[[Any, Head, Any], dict[str, float | None]]
  measure: str
  num_test: int
  class_vectors: Callable[[Any], np.ndarray] | None = None
  fingerprint: str | None = None


def describe(task: Task) -> dict[str, Any]:
  """Return the record of the task that stands beside a result."""
  described = {
    "name": task.name,
    "num_classes": task.num_classes,
    "num_train": len(task.labels),
    "num_test": task.num_test,
    "measure": task.measure,
  }
  return described | ({"fingerprint": task.fingerprint} if task.fingerprint else {})


def changes(records: Sequence[dict[str, Any]], task: Task) -> str:
  """Say how results so far are of another task; empty where they are not.

  A text can change under its name. Records of an earlier version have no fingerprint, and are
  compared by the rest.

  Args:
    records: the results so far.
    task: the task to go on with.
  """
  now = describe(task)
  for record in records:
    before = record["measured"].get("dataset", {})
    found = [
      f"  {key}: {before[key]!r} -> {now[key]!r}"
      for key in now
      if key in before and before[key] != now[key]
    ]
    if found:
      return (
        f"The results there are of {before['name']!r}, and this run is of {now['name']!r}:\n"
        + "\n".join(found)
        + "\nGive another --workdir, or the former data; pydoc and stdlib are those of the Python "
        "that runs."
      )
  return ""


def in_batches(function: Callable[..., Any], *arrays: np.ndarray) -> list[np.ndarray]:
  """Apply a jitted function to batches of one size and join what it returns, without padding.

  Example:
    >>> in_batches(lambda x: (2 * x,), np.arange(3))[0].tolist()
    [0, 2, 4]
  """
  size = min(EVALUATED_TOGETHER, len(arrays[0]))
  outputs = []
  for start in range(0, len(arrays[0]), size):
    batch = [array[start : start + size] for array in arrays]
    count = len(batch[0])
    # The last batch is filled up, so that one program serves all.
    batch = [np.concatenate([part, np.repeat(part[:1], size - count, axis=0)]) for part in batch]
    outputs.append([np.asarray(output)[:count] for output in function(*batch)])
  return [np.concatenate(parts) for parts in zip(*outputs, strict=True)]
