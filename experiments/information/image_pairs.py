"""Pairs of real images whose classes are joined by a noisy channel, so that the truth is known.

The class of the first image is uniform, and that of the second is what a symmetric channel makes of
it; the images are drawn from their classes. So X1 - Y1 - Y2 - X2 is a Markov chain, and where an
image determines its class, I(X1; X2) = I(X1; Y2) = I(Y1; Y2), a sum over pairs of classes. That an
image determines its class is an assumption: wrong or ambiguous labels in the data set make the
information smaller than this truth, by what is neglected here.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from softmax_research import data, information


class Pool(NamedTuple):
  """Hold images by class.

  Attributes:
    pixels: `[N, P]`, as they are in the data set.
    rows: of the images of each class, `K` arrays.
  """

  pixels: np.ndarray
  rows: tuple[np.ndarray, ...]


class Pools(NamedTuple):
  """Hold disjoint images to train on, to end the training, and that nothing is chosen on.

  Attributes:
    train: nine tenths of the training images.
    validation: the others.
    test: the test images.
    mean: of the pixels of `train`.
    std: their standard deviation.
  """

  train: Pool
  validation: Pool
  test: Pool
  mean: float
  std: float


class Pairs(NamedTuple):
  """Hold pairs: rows of both images `[S, ..., 2]`, and the class of the second one `[S, ...]`."""

  rows: np.ndarray
  labels: np.ndarray


def load(name: str) -> Pools:
  """Load a data set of images.

  Raises:
    ValueError: there is none of this name, or it has no images.
    DataUnavailableError: it cannot be had on this machine.
  """
  dataset = data.load(name)
  if dataset.train.images.ndim != 4:
    raise ValueError(f"Got --dataset={name}, which has points in place of images; try mnist.")
  train, validation = data.split_train_validation(dataset.train, fraction=0.1, seed=0)
  pixels = train.images.reshape(len(train.images), -1)
  pools = [_pool(split, dataset.num_classes) for split in (train, validation, dataset.test)]
  return Pools(*pools, float(pixels.mean()), float(pixels.std()))


def draw(
  generators: Sequence[np.random.Generator], pool: Pool, shape: tuple[int, ...], error: float
) -> Pairs:
  """Draw pairs.

  Args:
    generators: of S seeds.
    pool: the images.
    shape: of the pairs of a seed.
    error: the chance that the channel changes a class.
  """
  classes, counts = len(pool.rows), np.array([len(rows) for rows in pool.rows])
  by_class, starts = np.concatenate(pool.rows), np.cumsum(counts) - counts

  def draw_one(generator):
    first = generator.integers(classes, size=shape)
    moved = first + generator.integers(1, classes, size=shape)  # To any other class alike.
    second = np.where(generator.random(shape) < error, moved % classes, first)
    labels = np.stack([first, second], axis=-1)
    places = (generator.random(labels.shape) * counts[labels]).astype(np.int64)
    return Pairs(by_class[starts[labels] + places].astype(np.int32), second.astype(np.int32))

  return Pairs(*map(np.stack, zip(*map(draw_one, generators), strict=True)))


def true_information(classes: int, error: float) -> float:
  """Return the information between the images of a pair, in nats.

  Example:
    >>> round(true_information(10, 0.0), 6), round(true_information(10, 0.9), 6)  # log 10, none
    (2.302585, 0.0)
  """
  joint = information.symmetric_channel(classes, error) / classes
  return information.discrete_information(joint)


def _pool(split: data.Split, classes: int) -> Pool:
  rows = tuple(np.flatnonzero(split.labels == k) for k in range(classes))
  return Pool(np.asarray(split.images).reshape(len(split.images), -1), rows)
