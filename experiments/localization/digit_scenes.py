"""Digit scenes: a digit of any of several sizes on a dark canvas, among pieces of other digits."""

from collections.abc import Sequence

import numpy as np

from experiments.localization import scenes
from softmax_research import data

#: Fainter pixels are no ink; without a limit, resizing would blur a digit's box.
INK = 32


def make(
  split: data.Split,
  counts: Sequence[int],
  *,
  seed: Sequence[int],
  canvas: int,
  sizes: Sequence[int],
  pieces: int,
  piece: int,
) -> scenes.Scenes:
  """Make scenes of digits; the same arguments make the same scenes.

  A digit is cut out at its ink, resized so that its longer side is of one of the sizes, and laid
  anywhere. Clutter is cut from images drawn at random and laid anywhere, on the digit too; where
  things overlap, the brighter pixel shows.

  Args:
    split: images of digits, uint8 `[M, H, W, 1]`, bright on dark.
    counts: scenes of each class, `[K]`.
    seed: integers, not negative.
    canvas: S, the scenes' side.
    sizes: of the digits' longer side.
    pieces: pieces of clutter in a scene.
    piece: their side.

  Returns:
    The scenes. A box bounds the digit's ink exactly.

  Raises:
    ValueError: a size does not fit, the images have more channels, or one has no ink.
  """
  scenes.check_sizes(canvas, sizes)
  _, height, width, channels = split.images.shape
  if channels != 1:
    raise ValueError(f"Got images with {channels} channels; digits have 1. Take scenes of objects.")
  if pieces < 0 or not 1 <= piece <= min(height, width, canvas):
    raise ValueError(
      f"Got {pieces} pieces of side {piece}; there are 0 or more, no larger than an image of "
      f"{height} by {width}."
    )
  rng = np.random.default_rng(seed)
  chosen = scenes.choose_objects(split.labels, counts, rng)
  images = np.zeros((len(chosen), canvas, canvas, 1), np.uint8)
  boxes = np.zeros((len(chosen), 4), np.int64)
  for index, row in enumerate(chosen):
    digit = cut_out(split.images[row], int(rng.choice(sizes)))
    rows, columns = scenes.place(rng, digit.shape, canvas)
    images[index, rows, columns] = digit
    boxes[index] = rows.start, columns.start, rows.stop, columns.stop
    for other in rng.integers(len(split.labels), size=pieces):
      source = scenes.place(rng, (piece, piece), min(height, width))
      target = (index, *scenes.place(rng, (piece, piece), canvas))
      images[target] = np.maximum(images[target], split.images[other][source])
  return scenes.Scenes(images, np.asarray(split.labels)[chosen], boxes)


def cut_out(image: np.ndarray, size: int) -> np.ndarray:
  """Cut out an image's ink and resize it; there is ink at each of the patch's sides.

  Args:
    image: `[H, W, 1]`.
    size: the longer side.

  Returns:
    A patch whose longer side is `size`, or slightly less where faint ink ends it.

  Raises:
    ValueError: the image has no ink.

  Example:
    >>> cut_out(np.full((8, 4, 1), 255, np.uint8), 4).shape
    (4, 2, 1)
  """
  ink = _at_ink(image)
  if not ink.size:
    raise ValueError(f"Got an image whose pixels are all below {INK}; a digit needs ink.")
  scale = size / max(ink.shape)
  sides = [max(1, round(side * scale)) for side in ink.shape[:2]]
  resized = scenes.resize(ink, *sides)
  patch = _at_ink(np.where(resized >= INK, resized, 0).astype(np.uint8))
  return patch if patch.size else resized  # A stroke so thin that resizing dims all of it.


def _at_ink(image: np.ndarray) -> np.ndarray:
  rows, columns = (np.flatnonzero((image >= INK).any(axis=axis)) for axis in ((1, 2), (0, 2)))
  if not len(rows):
    return image[:0]
  return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
