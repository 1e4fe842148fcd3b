"""Ensembles: what the predictions of several runs have in common, and what their average is worth.

Records keep each run's predictions on the test split as a picture, so that a report can be made
anew, and go on with further runs, from records alone.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np

from softmax_research.study import record

_LEVELS = 255


def encode(log_probs: np.ndarray, labels: np.ndarray) -> str:
  """Return predictions as JSON can hold them: probabilities in steps of 1/255, the label's first.

  Class j of a row stands at column j - label (mod K), so that nobody needs the labels to read it.
  The predicted class, the first of those that are most probable, stays above the others, which are
  one step below it at least.

  Args:
    log_probs: `[N, K]`.
    labels: `[N]`.

  Example:
    >>> decode(encode(np.log([[0.2, 0.8], [1.0, 1e-9]]), np.array([1, 1]))).tolist()
    [[0.8, 0.2], [0.0, 1.0]]
  """
  num_classes = log_probs.shape[1]
  columns = (np.arange(num_classes) + np.asarray(labels)[:, None]) % num_classes
  probs = np.take_along_axis(np.exp(np.asarray(log_probs, float)), columns, axis=1)
  steps = np.round(_LEVELS * np.clip(probs, 0, 1)).astype(int)
  # By the classes' own order: here the label comes first, and would win where all are equal.
  is_predicted = columns == np.argmax(log_probs, axis=1)[:, None]
  highest = np.maximum(steps.max(1, keepdims=True), 1)
  steps = np.where(is_predicted, highest, np.minimum(steps, highest - 1))
  return record.to_text(steps.astype(np.uint8))


def decode(text: str) -> np.ndarray:
  """Return the probabilities `[N, K]` that `encode` kept, the label's in the first column."""
  return record.from_text(text) / _LEVELS


def is_right(probs: np.ndarray) -> np.ndarray:
  """Say of which examples `[N]` the label, in the first column, is the most probable class."""
  return probs[:, 0] > probs[:, 1:].max(1)


def agreement(runs: Sequence[np.ndarray]) -> float:
  """Return on which share of the examples two runs predict one class, the mean over all pairs.

  Args:
    runs: the probabilities `[N, K]` of each run.

  Example:
    >>> agreement([np.array([[0.9, 0.1], [0.4, 0.6]]), np.array([[0.8, 0.2], [0.7, 0.3]])])
    0.5
  """
  predicted = [probs.argmax(1) for probs in runs]
  shares = [np.mean(a == b) for a, b in itertools.combinations(predicted, 2)]
  return float(np.mean(shares)) if shares else math.nan


def accuracy_of_mean(runs: Sequence[np.ndarray]) -> float:
  """Return the accuracy of the runs' mean probabilities.

  Example:
    >>> accuracy_of_mean([np.array([[0.9, 0.1], [0.4, 0.6]]), np.array([[0.2, 0.8], [0.7, 0.3]])])
    1.0
  """
  return float(is_right(np.mean(runs, axis=0)).mean())


def std_of_test_set(right: np.ndarray) -> float:
  r"""Estimate the part of the accuracies' spread over runs that a finite test set makes.

  .. math:: \frac{1}{N} \sqrt{\frac{S}{S - 1} \sum_i q_i (1 - q_i)}

  with the share q_i of S runs that are right about example i. If runs were equally good on all the
  images that there could be, and right or wrong about each by chance, their accuracies on N of them
  would still differ, with this standard deviation. Where probabilities are calibrated it is about
  :math:`\sqrt{\mathrm{error} / 2N}`.

  Args:
    right: `[S, N]`, whether a run is right about an example.

  Returns:
    A share of the test set, as an accuracy is; NaN for one run.

  Example:
    >>> round(std_of_test_set(np.array([[1, 0, 1, 1], [1, 1, 1, 0]])), 3)
    0.25

  Reference:
    Jordan 2023, "Calibrated Chaos: Variance Between Runs of Neural Network Training is Harmless and
    Inevitable" (arXiv 2304.01910).
  """
  num_runs, num_examples = right.shape
  if num_runs < 2:
    return math.nan
  shares = right.mean(0)
  total = num_runs / (num_runs - 1) * np.sum(shares * (1 - shares))
  return float(np.sqrt(total) / num_examples)
