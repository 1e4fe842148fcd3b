"""Imbalance: how many examples of each class are kept, integers ``[K]``; and the first so many."""

import numpy as np

from softmax_research.data.dataset import Split, check_classes
from softmax_research.functional.arrays import check_integer


def alternating_counts(num_classes: int, *, even: int, odd: int) -> np.ndarray:
  """Give classes of even number one count and those of odd number another.

  Args:
    num_classes: K.
    even: examples of each of the classes 0, 2, 4 and so on; at least 1.
    odd: examples of each of the others; at least 1.

  Raises:
    ValueError: if a number is out of range.

  Example:
    >>> alternating_counts(5, even=300, odd=3000)
    array([ 300, 3000,  300, 3000,  300])

  Reference:
    The imbalanced MNIST in the released code of Qin et al. 2019, "Rethinking Softmax with
    Cross-Entropy: Neural Network Classifier as Mutual Information Estimator" (arXiv 1911.10688).
  """
  for name, value in {"num_classes": num_classes, "even": even, "odd": odd}.items():
    check_integer(name, value)
  return np.where(np.arange(num_classes) % 2, odd, even)


def step_counts(num_classes: int, *, largest: int, ratio: float) -> np.ndarray:
  r"""Give the first half of the classes all examples and the second half a part of them.

  .. math:: n_k = n_0 \text{ for } k < \lfloor K / 2 \rfloor, \qquad n_k = n_0 / r \text{ after}

  Args:
    num_classes: K.
    largest: :math:`n_0`.
    ratio: r, at least 1; the quotient is rounded down.

  Raises:
    ValueError: if a number is out of range, or leaves a class without examples.

  Example:
    >>> step_counts(4, largest=500, ratio=10)
    array([500, 500,  50,  50])

  Reference:
    Cao et al. 2019, "Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss",
    section 4 (arXiv 1906.07413).
  """
  _check_ratio(num_classes, largest, ratio)
  return np.where(np.arange(num_classes) < num_classes // 2, largest, _down(largest / ratio))


def long_tailed_counts(num_classes: int, *, largest: int, ratio: float) -> np.ndarray:
  r"""Let the examples of the classes fall off exponentially.

  .. math:: n_k = n_0 \, r^{-k / (K - 1)}

  Args:
    num_classes, largest: those of `step_counts`, which has what is raised.
    ratio: r, the largest class over the smallest, at least 1; counts are rounded down.

  Raises:
    ValueError: if a number is out of range, or leaves a class without examples.

  Example:
    >>> long_tailed_counts(10, largest=5000, ratio=100)
    array([5000, 2997, 1796, 1077,  645,  387,  232,  139,   83,   50])

  Reference:
    Cui et al. 2019, "Class-Balanced Loss Based on Effective Number of Samples", section 5
    (arXiv 1901.05555); Cao et al. 2019 (arXiv 1906.07413).
  """
  _check_ratio(num_classes, largest, ratio)
  return _down(largest * float(ratio) ** (-np.arange(num_classes) / max(num_classes - 1, 1)))


def keep_first(split: Split, counts: np.ndarray) -> Split:
  """Keep of each class the first examples up to a number, in the order that they have.

  Args:
    split: ``N`` examples.
    counts: how many of each class at most, integers ``[K]``; a class that has fewer keeps all.

  Raises:
    ValueError: if labels are no integers ``[N]``, one has no count, or a count is negative.

  Example:
    >>> from softmax_research import data
    >>> pool = data.Split(np.eye(5, dtype=np.float32), np.array([0, 1, 0, 0, 1], np.int32))
    >>> keep_first(pool, np.array([2, 1])).labels
    array([0, 1, 0], dtype=int32)
  """
  labels, counts = np.asarray(split.labels), np.asarray(counts)
  if np.any(counts < 0):
    raise ValueError(f"Got counts={counts.tolist()}; how many are kept must not be negative.")
  check_classes(labels)
  if labels.size and labels.max() >= len(counts):
    raise ValueError(f"Got label {labels.max()} and {len(counts)} counts; give each class one.")
  kept = [np.flatnonzero(labels == label)[:count] for label, count in enumerate(counts)]
  index = np.sort(np.concatenate(kept))
  return Split(split.images[index], labels[index])


def _down(numbers: np.ndarray | float) -> np.ndarray:
  """Round down, taking what rounding left just below a whole number for that number."""
  return np.floor(np.asarray(numbers) + 1e-9).astype(int)


def _check_ratio(num_classes: int, largest: int, ratio: float) -> None:
  check_integer("num_classes", num_classes)
  check_integer("largest", largest)
  number = isinstance(ratio, int | float) and not isinstance(ratio, bool)
  if not (number and 1 <= ratio <= largest):
    raise ValueError(
      f"Got ratio={ratio!r} for largest={largest}; it is the largest class over the smallest, so "
      f"it must lie between 1, which is balance, and {largest}, which leaves one example."
    )
