"""Batches: the arrays that the sides of the losses benchmark share, drawn from fixed seeds."""

import numpy as np


def logits(sizes: tuple[int, int]) -> np.ndarray:
  """Draw logits `[N, K]` of spread 3."""
  return 3 * np.random.default_rng(0).standard_normal(sizes, np.float32)


def labels(sizes: tuple[int, int], kind: str) -> np.ndarray:
  """Draw labels: class indices "index" `[N]`, the same as one-hot floats "hot", or distributions
  "soft" `[N, K]`.

  Example:
    >>> labels((2, 3), "hot").sum(-1).tolist()
    [1.0, 1.0]
  """
  rng = np.random.default_rng(1)
  if kind == "soft":
    weights = rng.exponential(size=sizes).astype(np.float32)
    return weights / weights.sum(-1, keepdims=True)
  index = rng.integers(0, sizes[1], sizes[0], np.int32)
  if kind == "index":
    return index
  hot = np.zeros(sizes, np.float32)
  hot[np.arange(sizes[0]), index] = 1
  return hot


def zipf_labels(count: int, num_classes: int) -> np.ndarray:
  """Draw class indices whose frequencies fall as those of words do, as 1 / (k + 1)."""
  frequencies = 1 / np.arange(1, num_classes + 1)
  rng = np.random.default_rng(2)
  return rng.choice(num_classes, count, p=frequencies / frequencies.sum()).astype(np.int32)


def kernel(size: int, num_classes: int) -> np.ndarray:
  """Draw a kernel `[D, K]` of spread 1 / sqrt(D), without another array of its size."""
  array = np.random.default_rng(4).standard_normal((size, num_classes), np.float32)
  array /= np.float32(size**0.5)
  return array


def features(count: int, size: int) -> np.ndarray:
  """Draw features `[N, D]`."""
  return np.random.default_rng(3).standard_normal((count, size), np.float32)
