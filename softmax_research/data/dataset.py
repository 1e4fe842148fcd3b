"""A classification dataset: images and labels in two splits, valid or rejected."""

import dataclasses
from typing import NamedTuple

import numpy as np


class Split(NamedTuple):
  """Images and their labels, example by example.

  Attributes:
    images: ``uint8 [N, H, W, C]``, or ``float32 [N, D]`` for points.
    labels: ``int32 [N]``.
  """

  images: np.ndarray
  labels: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
  """A dataset in memory, or memory-mapped.

  Attributes:
    name: the name that ``load`` takes.
    train: the training pool; ``split_train_validation`` takes the validation split out of it.
    test: the test split, never used for a choice.
    num_classes: K; labels lie in ``[0, K)``.
    class_names: K strings, by label.
  """

  name: str
  train: Split
  test: Split
  num_classes: int
  class_names: tuple[str, ...]


class DataUnavailableError(RuntimeError):
  """A dataset cannot be had on this machine as it is; the message names the remedy."""


def check_dataset(dataset: Dataset) -> Dataset:
  """Return the dataset if it is valid, and raise otherwise.

  A label out of range does not fail inside a jitted loss, it trains on nonsense; so it is
  rejected here, once, before any work is done.

  Args:
    dataset: the dataset to check.

  Returns:
    The same dataset.

  Raises:
    ValueError: if a split is empty, has the wrong type or shape, holds a value that is not
      finite or a label outside ``[0, num_classes)``; if the two splits differ in shape or
      type; if the number of class names is not ``num_classes``.
  """
  if len(dataset.class_names) != dataset.num_classes:
    raise ValueError(
      f"{dataset.name}: {len(dataset.class_names)} class names for"
      f" {dataset.num_classes} classes; give one name a class"
    )
  _check_split(f"{dataset.name}/train", dataset.train, dataset.num_classes)
  _check_split(f"{dataset.name}/test", dataset.test, dataset.num_classes)
  train, test = dataset.train.images, dataset.test.images
  if (train.dtype, train.shape[1:]) != (test.dtype, test.shape[1:]):
    raise ValueError(
      f"{dataset.name}: train images are {train.dtype} {train.shape[1:]} and test images are"
      f" {test.dtype} {test.shape[1:]}; both splits must be of one type and shape"
    )
  return dataset


def _check_split(where: str, split: Split, num_classes: int) -> None:
  images, labels = split
  if (images.dtype, images.ndim) not in ((np.uint8, 4), (np.float32, 2)):
    raise ValueError(
      f"{where}: images are {images.dtype} {images.shape}; they must be uint8 [N, H, W, C],"
      " or float32 [N, D]"
    )
  if labels.dtype != np.int32 or labels.shape != images.shape[:1]:
    raise ValueError(
      f"{where}: labels are {labels.dtype} {labels.shape}; they must be int32"
      f" {images.shape[:1]}, one for each image"
    )
  if images.size == 0:
    raise ValueError(f"{where}: images are empty, of shape {images.shape}")
  if labels.min() < 0 or labels.max() >= num_classes:
    wrong = labels[(labels < 0) | (labels >= num_classes)]
    raise ValueError(
      f"{where}: {len(wrong)} labels lie outside [0, {num_classes}), the first is {wrong[0]};"
      " labels count from 0"
    )
  if images.dtype != np.uint8 and not np.isfinite(images).all():
    raise ValueError(f"{where}: images hold values that are not finite; remove those examples")
