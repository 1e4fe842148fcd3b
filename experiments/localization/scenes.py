"""Scenes: images that each show one object in a known box, and which objects they show."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import PIL.Image

from softmax_research import data


class Scenes(NamedTuple):
  """Hold scenes: a split for training, with boxes beside it.

  Attributes:
    images: uint8 `[N, S, S, C]`.
    labels: int32 `[N]`, the objects' classes.
    boxes: `[N, 4]`: top, left, bottom, right, as `information.Box`.
  """

  images: np.ndarray
  labels: np.ndarray
  boxes: np.ndarray


class Material(NamedTuple):
  """Hold the scenes of all splits."""

  name: str
  train: Scenes
  validation: Scenes
  test: Scenes
  class_names: tuple[str, ...]


def class_counts(total: int, num_classes: int, imbalance: float) -> list[int]:
  """Divide a number of scenes among classes, of which those with odd numbers get more.

  Args:
    total: of scenes; rounded counts may sum to a few more or less.
    num_classes: K.
    imbalance: how many times as many scenes an odd class gets as an even one; 1 for equal shares.

  Returns:
    K counts, each at least 1.

  Raises:
    ValueError: the imbalance is below 1, or there are fewer scenes than classes.

  Example:
    >>> class_counts(110, 4, 10)
    [5, 50, 5, 50]
  """
  if not imbalance >= 1:
    raise ValueError(f"Got imbalance={imbalance}; the odd classes get at least as many: pass 1.")
  if total < num_classes:
    raise ValueError(f"Got {total} scenes for {num_classes} classes; each needs one at least.")
  weights = np.where(np.arange(num_classes) % 2, imbalance, 1.0)
  return [max(1, round(total * weight)) for weight in weights / weights.sum()]


def only_classes(split: data.Split, classes: Sequence[int]) -> data.Split:
  """Keep some classes, whose labels become their places among them; with none given, keep all."""
  if not len(classes):
    return data.Split(np.asarray(split.images), np.asarray(split.labels))
  rows = np.flatnonzero(np.isin(split.labels, classes))
  place = np.zeros(max(classes) + 1, np.int32)
  place[list(classes)] = np.arange(len(classes))
  return data.Split(np.asarray(split.images[rows]), place[split.labels[rows]])


def choose_objects(
  labels: np.ndarray, counts: Sequence[int], rng: np.random.Generator
) -> np.ndarray:
  """Choose images by class, none twice before all of its class were chosen.

  Args:
    labels: of the images to choose from, `[M]`.
    counts: how many to choose of each class, `[K]`.
    rng: chooses, and shuffles the outcome.

  Returns:
    Indices `[sum(counts)]`.

  Raises:
    ValueError: there is no image of a class.
  """
  chosen = []
  for label, count in enumerate(counts):
    rows = np.flatnonzero(labels == label)
    if not len(rows):
      raise ValueError(f"Got no image of class {label} to make scenes of; take it out of classes.")
    rounds = [rng.permutation(rows) for _ in range(-(-count // len(rows)))]
    chosen.append(np.concatenate(rounds)[:count])
  return rng.permutation(np.concatenate(chosen))


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
  """Resize an image `[H, W, C]` of one or three channels, bilinearly and without aliasing."""
  picture = PIL.Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
  resized = picture.resize((width, height), PIL.Image.Resampling.BILINEAR)
  return np.asarray(resized).reshape(height, width, -1)


def place(rng: np.random.Generator, shape: tuple[int, ...], canvas: int) -> tuple[slice, slice]:
  """Choose where a patch of a shape lies on a square canvas, anywhere within it."""
  top, left = (int(rng.integers(canvas - side + 1)) for side in shape[:2])
  return slice(top, top + shape[0]), slice(left, left + shape[1])


def check_sizes(canvas: int, sizes: Sequence[int]) -> None:
  """Raise a ValueError unless there are sizes of objects and each fits on the canvas."""
  if not sizes or not all(isinstance(size, int) and 4 <= size <= canvas for size in sizes):
    raise ValueError(
      f"Got sizes={tuple(sizes)} for a canvas of {canvas}; each is an integer from 4 to the canvas."
    )
