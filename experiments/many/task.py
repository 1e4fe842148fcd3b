"""Task: examples, a network without its output layer, and how a trained model is judged."""

from collections.abc import Callable
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
