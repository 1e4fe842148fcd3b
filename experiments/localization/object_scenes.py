"""Object scenes: a picture of any of several sizes on a texture of tiles from other pictures."""

from collections.abc import Sequence

import numpy as np
import scipy.ndimage

from experiments.localization import scenes
from softmax_research import data


def make(
  split: data.Split,
  counts: Sequence[int],
  *,
  seed: Sequence[int],
  canvas: int,
  sizes: Sequence[int],
  tile: int,
  blur: int,
) -> scenes.Scenes:
  """Make scenes of pictures; the same arguments make the same scenes.

  A texture is a grid of tiles, each cut anywhere from a picture drawn at random, blurred as a
  whole. The picture is resized to a square of one of the sizes and laid anywhere on it.

  Args:
    split: pictures, uint8 `[M, H, W, C]` of one or three channels.
    counts: scenes of each class, `[K]`.
    seed: integers, not negative.
    canvas: S, the scenes' side.
    sizes: of the pictures' sides.
    tile: the tiles' side.
    blur: side of the window that the texture is averaged over; 1 for none.

  Returns:
    The scenes. A box bounds the picture exactly; what in it is background counts as object.

  Raises:
    ValueError: a size does not fit.
  """
  scenes.check_sizes(canvas, sizes)
  smallest = min(split.images.shape[1:3])
  if not 1 <= tile <= smallest or blur < 1:
    raise ValueError(
      f"Got tile={tile} and blur={blur}; a tile's side is from 1 to {smallest}, that of the "
      "pictures, and that of the blur's window at least 1."
    )
  rng = np.random.default_rng(seed)
  chosen = scenes.choose_objects(split.labels, counts, rng)
  images = np.zeros((len(chosen), canvas, canvas, split.images.shape[-1]), np.uint8)
  boxes = np.zeros((len(chosen), 4), np.int64)
  for index, row in enumerate(chosen):
    texture = _texture(split.images, rng, canvas, tile)
    images[index] = scipy.ndimage.uniform_filter(texture, (blur, blur, 1))
    size = int(rng.choice(sizes))
    rows, columns = scenes.place(rng, (size, size), canvas)
    images[index, rows, columns] = scenes.resize(split.images[row], size, size)
    boxes[index] = rows.start, columns.start, rows.stop, columns.stop
  return scenes.Scenes(images, np.asarray(split.labels)[chosen], boxes)


def _texture(pictures: np.ndarray, rng: np.random.Generator, canvas: int, tile: int) -> np.ndarray:
  """Lay tiles in a grid, `[S, S, C]`."""
  number, height, width, channels = pictures.shape
  side = -(-canvas // tile)
  which = rng.integers(number, size=(side, side, 1, 1))
  within = np.arange(tile)
  rows = rng.integers(height - tile + 1, size=(side, side, 1, 1)) + within[:, None]
  columns = rng.integers(width - tile + 1, size=(side, side, 1, 1)) + within
  tiles = pictures[which, rows, columns]  # [side, side, tile, tile, C]
  grid = tiles.transpose(0, 2, 1, 3, 4).reshape(side * tile, side * tile, channels)
  return grid[:canvas, :canvas]
