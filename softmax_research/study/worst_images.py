"""Worst-classified images: those to whose label the ensemble of the seeds gives least."""

import base64
import binascii
import io
import math
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.figure import Figure
from matplotlib.image import imread

from softmax_research.study import figure_style
from softmax_research.study.groups import Group

MOST_ROWS = 8
_MOST = 12
# Sizes in inches: a tile with its gaps, the gap on each side of it, and a row with its text.
_SIDE, _GAP, _ROW = 0.8, 0.05, 1.3
_CHARACTERS = 14  # that fit below a tile


class Tile(NamedTuple):
  """Hold one image with what is said of it: position, class names, probability of the true one."""

  index: int
  label: str
  predicted: str
  probability: str
  png: bytes


def worst_tiles(groups: Sequence[Group], class_names: Sequence[str]) -> dict[str, list[Tile]]:
  """Collect the worst images of every group that has an ensemble with images.

  Args:
    groups: whose ensembles have `measured/worst`: index, label, predicted, probability and the
      base64 text of a PNG.
    class_names: names of the classes `[K]`.

  Returns:
    Tiles by group, the worst first; data that are no images (points in a plane) have none.
  """
  tiles = {}
  for of in groups:
    worst = of.ensemble["measured"].get("worst") or [] if of.ensemble else []
    found = [_tile(entry, class_names) for entry in worst]
    if shown := [tile for tile in found if tile is not None][:_MOST]:
      tiles[of.name] = shown
  return tiles


def shared_by_all(tiles: dict[str, list[Tile]]) -> int:
  """Return how many images are among the worst of every group."""
  indices = [{tile.index for tile in ones} for ones in tiles.values()]
  return len(set.intersection(*indices)) if indices else 0


def worst_images(tiles: dict[str, list[Tile]]) -> Figure:
  """Draw the tiles, one row for each of the first groups."""
  rows = list(tiles.items())[:MOST_ROWS]
  width, height = max(_MOST, 4) * _SIDE, len(rows) * _ROW
  with figure_style.style_context():
    figure = Figure(figsize=(width, height))
    # One panel in inches: a panel for each tile would take seconds to draw.
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    for row, (name, ones) in enumerate(rows):
      top = row * _ROW
      axes.text(_GAP, top + 0.13, name, va="center", fontweight="bold")
      for column, tile in enumerate(ones):
        left = column * _SIDE + _GAP
        right, upper, lower = left + _SIDE - 2 * _GAP, top + 0.26, top + 0.26 + _SIDE - 2 * _GAP
        image = imread(io.BytesIO(tile.png), format="png")
        axes.imshow(image, cmap="gray", extent=(left, right, lower, upper))
        text = f"{_words(tile)}\n{tile.probability}"
        axes.text(left, lower + 0.04, text, va="top", fontsize=5.5, linespacing=1.15)
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_aspect("auto")
  return figure


def _tile(entry: dict, class_names: Sequence[str]) -> Tile | None:
  """Return an entry of the records as a tile, or None where it is no picture."""
  try:
    png = base64.b64decode(entry.get("png") or "", validate=True)
  except binascii.Error:
    return None
  if not png.startswith(b"\x89PNG\r\n\x1a\n"):
    return None

  def name(label: int) -> str:
    return str(class_names[label]) if label < len(class_names) else str(label)

  percent = 100 * (math.nan if entry["probability"] is None else entry["probability"])
  text = f"{percent:.{1 if percent >= 1 else 2}f}%" if percent >= 0.01 else "< 0.01%"
  return Tile(entry["index"], name(entry["label"]), name(entry["predicted"]), text, png)


def _words(tile: Tile) -> str:
  """Return what is said of a tile's classes, on two lines where one is too narrow."""
  label, predicted = (
    figure_style.shorten(name, _CHARACTERS) for name in (tile.label, tile.predicted)
  )
  if tile.label == tile.predicted:
    return f"{label}, right"
  space = " " if len(label + predicted) <= _CHARACTERS - 4 else "\n"
  return f"{label} →{space}{predicted}"
