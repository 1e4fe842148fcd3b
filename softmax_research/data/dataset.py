"""A classification dataset: valid or rejected, split by seed, and standardised for a network.

Splits are the same examples on every platform and NumPy version.
"""

import dataclasses
import operator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from softmax_research.functional.arrays import check_integer

# Images summed at a time; the float64 copy of so many CIFAR images takes 25 MB.
_CHUNK = 1024


class Split(NamedTuple):
  """Images and their labels, example by example.

  Attributes:
    images: ``uint8`` or ``float32 [N, H, W, C]``, or ``float32 [N, D]`` for vectors.
    labels: ``int32 [N]``, or ``float32 [N, K]`` where they are distributions over the classes.
  """

  images: np.ndarray
  labels: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
  """A dataset in memory.

  Attributes:
    name: the name that ``load`` takes.
    train: the training pool; ``split_train_validation`` takes the validation split out of it.
    test: the test split, never used for a choice.
    class_names: K strings; labels lie in ``[0, K)``.
    ignore_label: the number in place of a label where an example has none; None if all have one.
  """

  name: str
  train: Split
  test: Split
  class_names: tuple[str, ...]
  ignore_label: int | None = None

  @property
  def num_classes(self) -> int:
    """Return K."""
    return len(self.class_names)


class DataUnavailableError(RuntimeError):
  """A dataset cannot be had on this machine as it is; the message names the remedy."""


def check_dataset(dataset: Dataset) -> Dataset:
  """Return the dataset if it is valid, and raise otherwise.

  A label out of range does not fail inside a jitted loss, it trains on nonsense; so it is
  rejected here, once, before any work is done, unless the dataset declares it as `ignore_label`.

  Args:
    dataset: the dataset to check.

  Raises:
    ValueError: if a split is empty, has the wrong type or shape, holds a value that is not
      finite, a label outside ``[0, num_classes)`` that is not the ignored one, or one that is no
      distribution; if the ignored label is a class; if the two splits differ in shape or type.
  """
  ignored = dataset.ignore_label
  if ignored is not None and 0 <= ignored < dataset.num_classes:
    raise ValueError(
      f"{dataset.name}: ignore_label is {ignored}, which is a class; give a number that is none,"
      " as -1"
    )
  _check_split(f"{dataset.name}/train", dataset.train, dataset.num_classes, ignored)
  _check_split(f"{dataset.name}/test", dataset.test, dataset.num_classes, ignored)
  train, test = dataset.train.images, dataset.test.images
  if (train.dtype, train.shape[1:]) != (test.dtype, test.shape[1:]):
    raise ValueError(
      f"{dataset.name}: train images are {train.dtype} {train.shape[1:]} and test images are"
      f" {test.dtype} {test.shape[1:]}; both splits must be of one type and shape"
    )
  return dataset


def class_counts(labels: np.ndarray, num_classes: int) -> np.ndarray:
  """Count the labels of each class; of distributions, sum them.

  Args:
    labels: integers ``[N]``, of which those that are no class are not counted, or ``[N, K]``.
    num_classes: K.

  Returns:
    ``[K]``.

  Example:
    >>> class_counts(np.array([0, 1, -1, 1]), 3)
    array([1, 2, 0])
  """
  if labels.ndim == 2:
    return labels.sum(0, dtype=np.float64)
  return np.bincount(labels[(labels >= 0) & (labels < num_classes)], minlength=num_classes)


def check_classes(labels: np.ndarray) -> None:
  """Raise a ValueError unless labels are integers ``[N]``: what follows is of one class each."""
  if labels.ndim != 1 or labels.dtype.kind not in "iu":
    raise ValueError(
      f"Got labels {labels.dtype} {labels.shape}; they must be integers [N], a class an example. Of"
      " distributions give np.argmax(labels, 1)."
    )


def _check_split(where: str, split: Split, num_classes: int, ignored: int | None) -> None:
  images, labels = split
  if (images.dtype, images.ndim) not in ((np.uint8, 4), (np.float32, 4), (np.float32, 2)):
    raise ValueError(
      f"{where}: images are {images.dtype} {images.shape}; they must be uint8 or float32"
      " [N, H, W, C], or float32 [N, D]"
    )
  if (labels.dtype, labels.ndim) == (np.float32, 2):
    _check_soft_labels(where, split, num_classes)
    labels = np.zeros(len(labels), np.int32)
  if labels.dtype != np.int32 or labels.shape != images.shape[:1]:
    raise ValueError(
      f"{where}: labels are {labels.dtype} {labels.shape}; they must be int32"
      f" {images.shape[:1]}, one for each image, or distributions, float32"
      f" {(len(images), num_classes)}"
    )
  if images.size == 0:
    raise ValueError(f"{where}: images are empty, of shape {images.shape}")
  if ignored is not None:
    labels = labels[labels != ignored]
    if not labels.size:
      raise ValueError(f"{where}: all labels are {ignored}, the one that is ignored")
  if labels.min() < 0 or labels.max() >= num_classes:
    wrong = labels[(labels < 0) | (labels >= num_classes)]
    raise ValueError(
      f"{where}: {len(wrong)} labels lie outside [0, {num_classes}), the first is {wrong[0]};"
      " labels count from 0, and the number of examples without one is declared as ignore_label"
    )
  if images.dtype != np.uint8 and not np.isfinite(images).all():
    raise ValueError(f"{where}: images hold values that are not finite; remove those examples")


def _check_soft_labels(where: str, split: Split, num_classes: int) -> None:
  shape, labels = (len(split.images), num_classes), split.labels
  if labels.shape != shape:
    raise ValueError(f"{where}: labels are float32 {labels.shape}; distributions must be {shape}")
  wrong = ~((labels >= 0).all(1) & (np.abs(labels.sum(1) - 1) <= 1e-3))
  if wrong.any():
    raise ValueError(
      f"{where}: {wrong.sum()} labels are no distributions, the first of example"
      f" {np.argmax(wrong)}; each must be at least 0, and sum to 1"
    )


def split_train_validation(
  train: Split,
  *,
  num_validation: int | None = None,
  fraction: float | None = None,
  seed: int,
) -> tuple[Split, Split]:
  r"""Split a training pool into a train and a validation split, stratified by class.

  Each class gives the validation split its share, to within one example, and keeps at least
  one example for training; so do the examples without a label. Of a distribution the largest
  entry counts as the class. Examples keep the order that they have in the pool.

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
    labels: integers ``[N]``, or distributions ``[N, K]``.
    size: how many to choose; at least 1, and few enough to leave one example of each class.
    seed: chooses the examples; not negative.

  Returns:
    Sorted indices ``[size]``.

  Raises:
    TypeError: if ``size`` is not an integer.
    ValueError: if ``size`` or ``seed`` is out of range.

  Example:
    >>> stratified_sample(np.array([0, 0, 0, 1, 1, 1]), 2, seed=0).shape
    (2,)
  """
  size = operator.index(size)
  check_integer("seed", seed, 0)
  _, labels = np.unique(np.argmax(labels, 1) if labels.ndim == 2 else labels, return_inverse=True)
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


def standardise(images: jax.Array, mean: jax.Array, std: jax.Array) -> jax.Array:
  r"""Subtract the mean and divide by the standard deviation, channel by channel.

  .. math::

    y = \frac{x / 255 - \mu}{\sigma}

  Points (``float32``) are taken as they are, without the division by 255. Made for the inside
  of a jitted step, so that images stay ``uint8`` in memory and on their way to the device.

  Args:
    images: ``uint8 [..., C]``, or floating ``[..., C]``.
    mean: ``[C]``, on the scale where 255 is 1; from ``channel_statistics``.
    std: ``[C]``, positive, likewise.

  Returns:
    ``float32 [..., C]``.

  Raises:
    TypeError: if the images are integers of another type, whose scale is unknown.

  Example:
    >>> standardise(jnp.array([[0], [255]], jnp.uint8), 0.5, 0.25).ravel()
    Array([-2.,  2.], dtype=float32)
  """
  images = jnp.asarray(images)
  if images.dtype == jnp.uint8:
    pixels = images.astype(jnp.float32) / 255
  elif jnp.issubdtype(images.dtype, jnp.floating):
    pixels = images.astype(jnp.float32)
  else:
    raise TypeError(f"images must be uint8 or floating; got {images.dtype}")
  mean, std = (jnp.broadcast_to(jnp.asarray(x, jnp.float32), pixels.shape) for x in (mean, std))
  return (pixels - mean) / std


def channel_statistics(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Compute each channel's mean and standard deviation, over examples and positions.

  Call it on the training split alone: statistics of validation or test images would leak them
  into training.

  Args:
    images: ``uint8 [N, H, W, C]`` or ``float32 [N, C]``; may be memory-mapped.

  Returns:
    ``(mean, std)``, ``float32 [C]`` each, ``uint8`` images counted on the scale where 255 is 1.
    A channel that never varies gets the standard deviation 1, so that it standardises to 0.

  Example:
    >>> channel_statistics(np.array([[1.0, 5.0], [3.0, 5.0]], np.float32))
    (array([2., 5.], dtype=float32), array([1., 1.], dtype=float32))
  """
  scale = 255.0 if images.dtype == np.uint8 else 1.0

  def average(function):
    chunks = (images[i : i + _CHUNK] for i in range(0, len(images), _CHUNK))
    # Over the examples first: a sum along rows of three channels alone is 10 times slower.
    total = sum(function(chunk.astype(np.float64)).sum(axis=0) for chunk in chunks)
    return (total / len(images)).reshape(-1, images.shape[-1]).mean(axis=0)

  # Two passes: the mean square minus the squared mean would cancel where std is far below mean.
  mean = average(lambda chunk: chunk)
  centre = np.ascontiguousarray(np.broadcast_to(mean, images.shape[1:]))
  std = np.sqrt(average(lambda chunk: (chunk - centre) ** 2))
  # What a constant float32 channel shows beside 0 is rounding.
  std = np.where(std > 1e-6 * np.abs(mean), std, scale)
  return (mean / scale).astype(np.float32), (std / scale).astype(np.float32)
