"""Label sets: metrics of predictions where an example has several labels, or none."""

import numpy as np


def evaluate_sets(scores: np.ndarray, predicted: np.ndarray, labels: np.ndarray) -> dict:
  r"""Compute every metric of predicted sets of labels, ready for JSON.

  With the examples sorted by a class's score, P_i and R_i the precision and the recall of the first
  i of them, and TP, FP and FN the right, wrong and missing labels:

  .. math::
    \mathrm{AP} = \sum_i (R_i - R_{i - 1}) \, P_i, \qquad
    F_1 = \frac{2 \, TP}{2 \, TP + FP + FN}

  Examples of equal score are taken together.

  Args:
    scores: `[N, K]`, which rank the examples of each class.
    predicted: `[N, K]`, true for the labels that are predicted.
    labels: `[N, K]`, 1 for the labels of an example and else 0.

  Returns:
    A dictionary: `mean_average_precision`, the mean over the classes that have examples, and
    `average_precision` `[K]` (None for the others, and None for the mean if there are no labels at
    all); `micro_f1` over all pairs of an example and a class, `macro_f1` the mean over the classes
    (0 for a class without any label, true or predicted); `exact_match`, the share of examples whose
    set is right.

  Raises:
    ValueError: the shapes do not fit, there are no examples, a score is NaN or a label is neither
      0 nor 1.

  Example:
    >>> labels = np.array([[1, 0], [1, 1], [0, 1]])
    >>> found = evaluate_sets(np.array([[0.9, 0.1], [0.4, 0.8], [0.6, 0.7]]), labels == 1, labels)
    >>> round(found["mean_average_precision"], 4), found["micro_f1"]
    (0.9167, 1.0)
  """
  predicted = np.asarray(predicted, bool)
  scores, labels = _checked(scores, labels, predicted)
  precisions = [_average_precision(*pair) for pair in zip(scores.T, labels.T, strict=True)]
  known = [precision for precision in precisions if precision is not None]
  right, counted = (labels & predicted).sum(0), labels.sum(0) + predicted.sum(0)
  by_class = 2 * right / np.maximum(counted, 1)
  return {
    "mean_average_precision": float(np.mean(known)) if known else None,
    "average_precision": precisions,
    "micro_f1": float(2 * right.sum() / max(counted.sum(), 1)),
    "macro_f1": float(by_class.mean()),
    "exact_match": float(np.mean((labels == predicted).all(1))),
  }


def best_threshold(scores: np.ndarray, labels: np.ndarray) -> float:
  """Return the score from which on predicting a label makes the highest micro F1.

  Args:
    scores: `[N, K]`, of a validation split.
    labels: `[N, K]`, 1 for the labels of an example and else 0.

  Raises:
    ValueError: as `evaluate_sets` does.

  Example:
    >>> best_threshold(np.array([[0.9, 0.2], [0.6, 0.1]]), np.array([[1, 0], [1, 0]]))
    0.6
  """
  scores, labels = _checked(scores, labels, scores)
  thresholds, right, taken = _by_threshold(np.ravel(scores), np.ravel(labels))
  return float(thresholds[np.argmax(2 * right / (taken + np.sum(labels)))])


def _checked(scores, labels, predicted) -> tuple[np.ndarray, np.ndarray]:
  """Return the scores and the labels as truth values, if they can be judged."""
  scores, labels = np.asarray(scores, np.float64), np.asarray(labels)
  if scores.ndim != 2 or not scores.size or not scores.shape == np.shape(predicted) == labels.shape:
    raise ValueError(
      f"Got scores of shape {scores.shape}, predictions of {np.shape(predicted)} and labels of "
      f"{labels.shape}; all must be [N, K] with N >= 1."
    )
  if np.isnan(scores).any():
    raise ValueError("Got a score that is NaN; the model that gave it has diverged.")
  if not np.isin(labels, (0, 1)).all():
    raise ValueError("Got labels other than 0 and 1; of class numbers make rows with ones there.")
  return scores, labels.astype(bool)


def _average_precision(scores: np.ndarray, labels: np.ndarray) -> float | None:
  if not labels.any():
    return None
  _, right, taken = _by_threshold(scores, labels)
  return float(np.sum(np.diff(right, prepend=0) * right / taken) / labels.sum())


def _by_threshold(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, ...]:
  """Return the distinct scores, falling; how many labels are right from each on, and all so far."""
  order = np.argsort(-scores, kind="stable")
  ranked = scores[order]
  # No differences: that of two infinite scores, equal ones, is NaN.
  last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
  return ranked[last], np.cumsum(labels[order])[last], last + 1
