"""Selection: the test accuracy at the epoch that the validation split chooses.

The test split is predicted where the validation accuracy is the best so far, because parameters
of past epochs are not kept; it chooses nothing. The accuracies stand among the learning curves,
so checkpoints hold them and a resumed run has the same.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from experiments import assembly
from softmax_research import training


def looker(
  programs: training.ParallelPrograms, splits: assembly.Splits
) -> Callable[[training.TrainState, list[training.Curves]], None]:
  """Return a function to be called after each epoch, which adds `test_accuracy` to the curves.

  Args:
    programs: that train.
    splits: the data.

  Returns:
    `(states, curves) -> None`. It appends the test accuracy where an epoch is the best so far by
    validation accuracy, the first of equals, and else None.
  """

  def look(states, curves):
    log_probs = None
    for i, of in enumerate(curves):
      looked = of.setdefault("test_accuracy", [])
      if len(looked) == len(of["epoch"]):  # Diverged, so no epoch was added.
        continue
      *before, last = of["validation_accuracy"]
      accuracy = None
      if not before or last > max(before):
        if log_probs is None:
          log_probs = training.predict(programs, states, splits.test.images)
        accuracy = float(np.mean(log_probs[i].argmax(-1) == splits.test.labels))
      looked.append(accuracy)

  return look


def selected(curves: training.Curves) -> dict[str, Any] | None:
  """Return the epoch that the validation split chooses, and its accuracies.

  Args:
    curves: with `test_accuracy`, of one seed.

  Returns:
    `epoch`, `validation_accuracy`, and `accuracy` and `error` on the test split; None where
    nothing was looked at.

  Example:
    >>> curves = {"epoch": [1, 2, 3], "validation_accuracy": [0.8, 0.9, 0.9]}
    >>> selected(curves | {"test_accuracy": [0.7, 0.75, None]})["accuracy"]
    0.75
  """
  if not curves.get("test_accuracy"):
    return None
  best = int(np.argmax(curves["validation_accuracy"]))
  accuracy = curves["test_accuracy"][best]
  return {
    "epoch": curves["epoch"][best],
    "validation_accuracy": curves["validation_accuracy"][best],
    "accuracy": accuracy,
    "error": 1 - accuracy,
  }
