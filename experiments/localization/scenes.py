"""Scenes: images that each show one object in a known box, made from the images of a data set."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import PIL.Image
import scipy.ndimage

from softmax_research import data
from softmax_research.functional.arrays import check_integer

#: Fainter pixels of a digit are no ink; without a limit, resizing would blur a digit's box.
INK = 32


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


def digits(
  split: data.Split,
  counts: Sequence[int],
  *,
  seed: Sequence[int],
  canvas: int,
  sizes: Sequence[int],
  pieces: int,
  piece: int,
) -> Scenes:
  """Make `counts` scenes of each class, of a digit on a dark canvas among pieces of other digits.

  A digit is cut out at its ink, resized so that its longer side is of one of the sizes, and laid
  anywhere. Clutter, `pieces` squares of side `piece`, is cut from images drawn at random and laid
  anywhere, on the digit too; where things overlap, the brighter pixel shows. A box bounds the
  digit's ink exactly. The same arguments make the same scenes.

  Raises:
    ValueError: a size does not fit, the images have more channels, or one has no ink.
  """
  number, height, width, channels = split.images.shape
  if channels != 1:
    raise ValueError(f"Got images with {channels} channels; digits have 1. Take scenes of objects.")
  check_integer("pieces", pieces, 0)
  check_integer("piece", piece, 1, min(height, width, canvas), "It fits an image and the canvas.")

  def draw(image, rng):
    digit = cut_out(image, int(rng.choice(sizes)))
    box = _place(rng, digit.shape, canvas)
    scene = np.zeros((canvas, canvas, 1), np.uint8)
    scene[box] = digit
    for other in rng.integers(number, size=pieces):
      source = _place(rng, (piece, piece), min(height, width))
      target = _place(rng, (piece, piece), canvas)
      scene[target] = np.maximum(scene[target], split.images[other][source])
    return scene, box

  return _make(split, counts, seed, canvas, sizes, draw)


def objects(
  split: data.Split,
  counts: Sequence[int],
  *,
  seed: Sequence[int],
  canvas: int,
  sizes: Sequence[int],
  tile: int,
  blur: int,
) -> Scenes:
  """Make `counts` scenes of each class, of a picture on a texture of tiles from other pictures.

  A texture is a grid of tiles of side `tile`, each cut anywhere from a picture drawn at random,
  and averaged over a window of side `blur`. The picture is resized to a square of one of the sizes
  and laid anywhere on it. A box bounds the picture exactly; what in it is background counts as
  object. The same arguments make the same scenes.

  Raises:
    ValueError: a size does not fit.
  """
  check_integer("tile", tile, 1, min(split.images.shape[1:3]), "It fits a picture.")
  check_integer("blur", blur)

  def draw(image, rng):
    scene = scipy.ndimage.uniform_filter(_texture(split.images, rng, canvas, tile), (blur, blur, 1))
    size = int(rng.choice(sizes))
    box = _place(rng, (size, size), canvas)
    scene[box] = _resize(image, size, size)
    return scene, box

  return _make(split, counts, seed, canvas, sizes, draw)


def _make(
  split: data.Split,
  counts: Sequence[int],
  seed: Sequence[int],
  canvas: int,
  sizes: Sequence[int],
  draw: Callable[..., tuple[np.ndarray, tuple[slice, slice]]],
) -> Scenes:
  """Choose objects by class and draw each into a scene, by `(image, rng) -> scene, box`."""
  for size in sizes or (0,):
    check_integer("sizes", size, 4, canvas, "Give one or more that fit the canvas.")
  rng = np.random.default_rng(seed)
  chosen = choose_objects(split.labels, counts, rng)
  images, boxes = zip(*(draw(split.images[row], rng) for row in chosen), strict=True)
  edges = [(rows.start, columns.start, rows.stop, columns.stop) for rows, columns in boxes]
  return Scenes(np.stack(images), np.asarray(split.labels)[chosen], np.array(edges))


def choose_objects(
  labels: np.ndarray, counts: Sequence[int], rng: np.random.Generator
) -> np.ndarray:
  """Choose so many images of each class, none twice before all of its class were chosen."""
  chosen = []
  for label, count in enumerate(counts):
    rows = np.flatnonzero(labels == label)
    if not len(rows):
      raise ValueError(f"Got no image of class {label} to make scenes of; take it out of classes.")
    rounds = [rng.permutation(rows) for _ in range(-(-count // len(rows)))]
    chosen.append(np.concatenate(rounds)[:count])
  return rng.permutation(np.concatenate(chosen))


def cut_out(image: np.ndarray, size: int) -> np.ndarray:
  """Cut out a digit's ink and resize its longer side, which faint ink may end slightly earlier."""
  ink = _at_ink(image)
  if not ink.size:
    raise ValueError(f"Got an image whose pixels are all below {INK}; a digit needs ink.")
  scale = size / max(ink.shape)
  resized = _resize(ink, *(max(1, round(side * scale)) for side in ink.shape[:2]))
  patch = _at_ink(np.where(resized >= INK, resized, 0).astype(np.uint8))
  return patch if patch.size else resized  # A stroke so thin that resizing dims all of it.


def _at_ink(image: np.ndarray) -> np.ndarray:
  (box,) = scipy.ndimage.find_objects((image[..., 0] >= INK).astype(int)) or [None]
  return image[:0] if box is None else image[box]


def _texture(pictures: np.ndarray, rng: np.random.Generator, canvas: int, tile: int) -> np.ndarray:
  number, height, width, channels = pictures.shape
  side = -(-canvas // tile)
  which = rng.integers(number, size=(side, side, 1, 1))
  within = np.arange(tile)
  rows = rng.integers(height - tile + 1, size=(side, side, 1, 1)) + within[:, None]
  columns = rng.integers(width - tile + 1, size=(side, side, 1, 1)) + within
  tiles = pictures[which, rows, columns]  # [side, side, tile, tile, C]
  grid = tiles.transpose(0, 2, 1, 3, 4).reshape(side * tile, side * tile, channels)
  return grid[:canvas, :canvas]


def _resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
  picture = PIL.Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
  resized = picture.resize((width, height), PIL.Image.Resampling.BILINEAR)
  return np.asarray(resized).reshape(height, width, -1)


def _place(rng: np.random.Generator, shape: tuple[int, ...], canvas: int) -> tuple[slice, slice]:
  """Choose where a patch of a shape lies on a square canvas, anywhere within it."""
  top, left = (int(rng.integers(canvas - side + 1)) for side in shape[:2])
  return slice(top, top + shape[0]), slice(left, left + shape[1])
