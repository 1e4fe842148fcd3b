"""Metrics of predicted log-probabilities: accuracy, likelihood and calibration."""

from typing import Any

import numpy as np

NUM_BINS = 15

# Rounding in bfloat16 moves a sum of probabilities by less.
_TOLERANCE = 0.02


def evaluate(
  log_probs: np.ndarray, labels: np.ndarray, *, ignore_label: int | None = None
) -> dict[str, Any]:
  r"""Compute every metric of a set of predictions, ready for JSON.

  With confidence c = max_k p_k, M = 15 bins B_m = ((m - 1) / M, m / M] of the confidence and n
  examples:

  .. math::
    \mathrm{NLL} = -\frac1n \sum_i \log p_{i, y_i}, \qquad
    \mathrm{Brier} = \frac1n \sum_i \sum_k (p_{ik} - [k = y_i])^2

  .. math::
    \mathrm{ECE} = \sum_m \frac{|B_m|}{n} |\mathrm{acc}(B_m) - \mathrm{conf}(B_m)|, \qquad
    \mathrm{MCE} = \max_m |\mathrm{acc}(B_m) - \mathrm{conf}(B_m)|

  Of labels that are distributions q the formulas have the expectation: q_ik in place of [k = y_i],
  and an example is right to the degree that its label gives to the prediction.

  Args:
    log_probs: `[N, K]`, in nats.
    labels: integers `[N]`, or distributions `[N, K]`.
    ignore_label: the number in place of a label where an example has none; such examples are left
      out. None where all have labels.

  Returns:
    A dictionary: `accuracy`, `error`, `nll` (nats; None where a label had probability zero, so
    that the mean is infinite), `ece`, `mce`, `brier`, `macro_accuracy` (the mean of the classes'
    own accuracies), `num_examples`, `per_class_accuracy` `[K]` (None for a class without
    examples), `confusion` `[K][K]` (counts; rows are labels, columns predictions) and
    `reliability` (`count`, `confidence`, `accuracy` a bin; None where a bin is empty).

  Raises:
    ValueError: there are no examples, the shapes do not fit, a label is no class, or a row is no
      distribution, as logits are none; the message says which.

  Example:
    >>> metrics = evaluate(np.log([[0.75, 0.25], [0.5, 0.5]]), np.array([0, 1]))
    >>> metrics["accuracy"], round(metrics["nll"], 4)
    (0.5, 0.4904)

  Reference:
    Guo et al. 2017, "On Calibration of Modern Neural Networks", eqs. 3-5 (arXiv 1706.04599).
  """
  log_probs = np.asarray(log_probs, np.float64)
  log_probs, labels = labelled(log_probs, np.asarray(labels), ignore_label)
  is_soft = labels.ndim == 2 and np.issubdtype(labels.dtype, np.floating)
  (_check_soft_labels if is_soft else check_labels)(log_probs, labels)
  num_classes = log_probs.shape[1]
  probs = np.exp(log_probs)
  _check_distributions(log_probs, probs)
  predicted = np.argmax(log_probs, axis=1)
  right = hits(predicted, labels)
  targets = labels if is_soft else np.eye(num_classes)[labels]
  confusion = np.zeros((num_classes, num_classes), np.float64 if is_soft else np.int64)
  if is_soft:
    np.add.at(confusion.T, predicted, targets)
  else:
    np.add.at(confusion, (labels, predicted), 1)
  class_counts = confusion.sum(1)
  per_class = np.full(num_classes, np.nan)
  np.divide(np.diag(confusion), class_counts, out=per_class, where=class_counts > 0)
  accuracy = float(np.mean(right))
  reliability = _reliability(probs.max(1), right)
  filled = np.array(reliability["count"]) > 0
  confidences, accuracies = (
    np.array(reliability[name], float)[filled] for name in ("confidence", "accuracy")
  )
  gaps = np.abs(accuracies - confidences)
  weights = np.array(reliability["count"])[filled] / len(labels)
  return {
    "accuracy": accuracy,
    "error": 1 - accuracy,
    "nll": _finite(-np.mean(np.sum(targets * np.where(targets > 0, log_probs, 0), axis=1))),
    "ece": float(np.sum(weights * gaps)),
    "mce": float(np.max(gaps)),
    "brier": float(np.mean(np.sum((probs - targets) ** 2, axis=1))),
    "macro_accuracy": float(np.nanmean(per_class)),
    "num_examples": len(labels),
    "per_class_accuracy": [_finite(value) for value in per_class],
    "confusion": confusion.tolist(),
    "reliability": reliability,
  }


def labelled(
  log_probs: np.ndarray, labels: np.ndarray, ignore_label: int | None
) -> tuple[np.ndarray, np.ndarray]:
  """Return the predictions and labels of the examples that have a label."""
  if ignore_label is None or labels.shape != log_probs.shape[:1]:
    return log_probs, labels
  kept = labels != ignore_label
  if not kept.any():
    raise ValueError(
      f"Got {len(labels)} labels that are all {ignore_label}, the one that is ignored; nothing can "
      "be said of predictions without a label."
    )
  return log_probs[kept], labels[kept]


def hits(predicted: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """Return to which degree each predicted class is the label's, `[N]`."""
  return predicted == labels if labels.ndim == 1 else labels[np.arange(len(labels)), predicted]


def are_distributions(labels: np.ndarray) -> np.ndarray:
  """Return which rows are at least 0 and sum to one, `[N]`."""
  return np.all(labels >= 0, axis=1) & (np.abs(labels.sum(1) - 1) <= _TOLERANCE)


def _check_soft_labels(log_probs: np.ndarray, labels: np.ndarray) -> None:
  if log_probs.ndim != 2 or labels.shape != log_probs.shape or not len(labels):
    raise ValueError(
      f"Got log-probabilities of shape {log_probs.shape} and labels of shape {labels.shape}; "
      "labels that are distributions must have the shape of the log-probabilities."
    )
  if np.any(wrong := ~are_distributions(labels)):
    raise ValueError(
      f"Got {wrong.sum()} labels that are no distributions, the first of example "
      f"{int(np.argmax(wrong))}; each must be at least 0, and sum to 1."
    )


def check_labels(log_probs: np.ndarray, labels: np.ndarray) -> None:
  """Raise a ValueError unless every row of log-probabilities, or logits, has a class as label."""
  if log_probs.ndim != 2 or labels.shape != log_probs.shape[:1] or not len(labels):
    raise ValueError(
      f"Got log-probabilities of shape {log_probs.shape} and labels of shape {labels.shape}; "
      "they must be [N, K] and [N] with N >= 1."
    )
  num_classes = log_probs.shape[1]
  if not np.issubdtype(labels.dtype, np.integer):
    raise ValueError(f"Got labels of type {labels.dtype}; a label is the integer of a class.")
  if np.any(outside := (labels < 0) | (labels >= num_classes)):
    first = int(np.argmax(outside))
    raise ValueError(
      f"Got the label {labels[first]} of example {first} for {num_classes} classes; labels are "
      f"numbered from 0 to {num_classes - 1}. Leave out examples without a label, "
      "or pass their number as ignore_label."
    )


def _check_distributions(log_probs: np.ndarray, probs: np.ndarray) -> None:
  if np.any(missing := np.isnan(log_probs).any(1)):
    raise ValueError(
      f"Got NaN among the log-probabilities of {missing.sum()} examples, the first of them "
      f"{int(np.argmax(missing))}; the model that predicted them has diverged."
    )
  totals = probs.sum(1)
  if np.any(wrong := ~(np.abs(totals - 1) <= _TOLERANCE)):
    first = int(np.argmax(wrong))
    raise ValueError(
      f"Got log-probabilities whose exponentials sum to {totals[first]:.6g} at example {first}, "
      "not to 1. Pass what a head's log_prob returns, or log_softmax of logits."
    )


def _reliability(confidence: np.ndarray, correct: np.ndarray) -> dict[str, list]:
  """Count, mean confidence and accuracy for each bin (lower, upper] of the confidence."""
  bins = bins_of(confidence)
  count = np.bincount(bins, minlength=NUM_BINS)
  means = []
  for values in (confidence, correct):
    sums = np.bincount(bins, weights=values, minlength=NUM_BINS)
    means.append([float(s / c) if c else None for s, c in zip(sums, count, strict=True)])
  return {"count": count.tolist(), "confidence": means[0], "accuracy": means[1]}


def bins_of(probs: np.ndarray) -> np.ndarray:
  """Return in which of `NUM_BINS` bins (lower, upper] probabilities lie."""
  return np.clip(np.ceil(probs * NUM_BINS).astype(int) - 1, 0, NUM_BINS - 1)


def _finite(value: float) -> float | None:
  return float(value) if np.isfinite(value) else None
