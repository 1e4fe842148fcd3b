"""Stratified splits by seed: the same examples on every platform and NumPy version."""

import operator

import numpy as np

from softmax_research.data.dataset import Split


def split_train_validation(
  train: Split,
  *,
  num_validation: int | None = None,
  fraction: float | None = None,
  seed: int,
) -> tuple[Split, Split]:
  r"""Split a training pool into a train and a validation split, stratified by class.

  Each class gives the validation split its share, to within one example, and keeps at least
  one example for training. Examples keep the order that they have in the pool.

  Args:
    train: the pool, ``N`` examples.
    num_validation: size of the validation split; this or ``fraction`` is given.
    fraction: its size as a part of the pool, in (0, 1), rounded to the nearest count.
    seed: chooses the examples; not negative.

  Returns:
    ``(train, validation)``: copies, of sizes ``N - num_validation`` and ``num_validation``.

  Raises:
    TypeError: if not exactly one of ``num_validation`` and ``fraction`` is given, or the
      former is not an integer.
    ValueError: if the validation split would be empty, or leave a class without training
      examples.

  Example:
    >>> import numpy as np
    >>> from softmax_research import data
    >>> pool = data.Split(np.zeros((6, 2), np.float32), np.array([0, 0, 0, 0, 1, 1], np.int32))
    >>> train, validation = data.split_train_validation(pool, num_validation=3, seed=0)
    >>> train.labels.tolist(), validation.labels.tolist()
    ([0, 0, 1], [0, 0, 1])
  """
  if (num_validation is None) == (fraction is None):
    raise TypeError(
      "give one of num_validation and fraction;"
      f" got num_validation={num_validation}, fraction={fraction}"
    )
  if fraction is not None:
    if not 0.0 < fraction < 1.0:
      raise ValueError(f"fraction must lie between 0 and 1, exclusive; got {fraction}")
    num_validation = round(fraction * len(train.labels))
  chosen = stratified_sample(train.labels, num_validation, seed=seed)
  mask = np.zeros(len(train.labels), bool)
  mask[chosen] = True
  return (
    Split(train.images[~mask], train.labels[~mask]),
    Split(train.images[mask], train.labels[mask]),
  )


def stratified_sample(labels: np.ndarray, size: int, *, seed: int) -> np.ndarray:
  """Choose examples by seed so that every class is represented in proportion.

  Args:
    labels: integers ``[N]``, not negative.
    size: how many to choose; at least 1, and few enough to leave one example of each class.
    seed: chooses the examples; not negative.

  Returns:
    Sorted indices ``[size]``.

  Raises:
    TypeError: if ``size`` is not an integer.
    ValueError: if ``size`` or ``seed`` is out of range.

  Example:
    >>> import numpy as np
    >>> stratified_sample(np.array([0, 0, 0, 1, 1, 1]), 2, seed=0).shape
    (2,)
  """
  size = operator.index(size)
  if seed < 0:
    raise ValueError(f"seed must not be negative; got {seed}")
  counts = np.bincount(labels)
  largest = len(labels) - np.count_nonzero(counts)
  if not 1 <= size <= largest:
    raise ValueError(
      f"cannot set aside {size} of {len(labels)} examples: at least 1, and at most {largest}"
      " so that each class keeps one; change the size of the split"
    )
  quotas = _proportional_quotas(counts, size)
  # NumPy promises that a bit generator's raw stream never changes, and promises nothing of the
  # kind for Generator.permutation; sorting raw 64-bit draws is a permutation that stays.
  order = np.argsort(np.random.PCG64(seed).random_raw(len(labels)), kind="stable")
  shuffled = labels[order]
  chosen = [order[shuffled == label][:quota] for label, quota in enumerate(quotas)]
  return np.sort(np.concatenate(chosen))


def _proportional_quotas(counts: np.ndarray, size: int) -> np.ndarray:
  """Rounds ``counts * size / sum(counts)`` to integers that sum to ``size``."""
  total = int(counts.sum())
  quotas = counts * size // total
  # Integers throughout: a tie must not fall differently on another machine.
  while quotas.sum() < size:
    shortfall = counts * size - quotas * total
    shortfall[quotas >= counts - 1] = np.iinfo(shortfall.dtype).min
    quotas[np.argmax(shortfall)] += 1
  return quotas
