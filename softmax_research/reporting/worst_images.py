"""Worst-classified images: those to whose label the ensemble of the seeds gives least."""

import base64
import binascii
import io
from typing import NamedTuple

from matplotlib.figure import Figure
from matplotlib.image import imread

from softmax_research.reporting import figure_style
from softmax_research.reporting.records import HeadRecords, as_float

_MOST = 12
# Sizes in inches: a tile with its gaps, the gap on each side of it, and a head's row with its text.
_SIDE, _GAP, _ROW = 0.8, 0.05, 1.3
_CHARACTERS = 14  # that fit below a tile


class Tile(NamedTuple):
  """Hold one image with what is said of it.

  Attributes:
    index: Position in the test split.
    label: Name of the true class.
    predicted: Name of the predicted class.
    probability: Probability of the true class in percent, as text.
    png: Base64 text of a PNG.
  """

  index: int
  label: str
  predicted: str
  probability: str
  png: str


def worst_tiles(heads: list[HeadRecords], class_names: list[str]) -> dict[str, list[Tile]]:
  """Collect the worst images of every head that has an ensemble with images.

  Args:
    heads: Heads with their ensembles.
    class_names: Names of the classes `[K]`.

  Returns:
    Tiles by head, the worst first; data that are no images (points in a plane) have none.
  """
  tiles = {}
  for head in heads:
    worst = (head.ensemble or {}).get("worst") or []
    shown = [_tile(entry, class_names) for entry in worst if _is_png(entry.get("png"))][:_MOST]
    if shown:
      tiles[head.name] = shown
  return tiles


def shared_by_all(tiles: dict[str, list[Tile]]) -> int:
  """Return how many images are among the worst of every head."""
  indices = [{tile.index for tile in ones} for ones in tiles.values()]
  return len(set.intersection(*indices)) if indices else 0


def worst_images(tiles: dict[str, list[Tile]]) -> Figure | None:
  """Draw the tiles, one row for each head; None when there is no image."""
  if not tiles:
    return None
  columns = max(map(len, tiles.values()))
  width, height = max(columns, 4) * _SIDE, len(tiles) * _ROW
  with figure_style.style_context():
    figure = Figure(figsize=(width, height))
    # One panel in inches: a panel for each tile would take seconds to draw.
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    for row, (name, ones) in enumerate(tiles.items()):
      top = row * _ROW
      axes.text(_GAP, top + 0.13, name, va="center", fontweight="bold")
      for column, tile in enumerate(ones):
        left = column * _SIDE + _GAP
        right, upper, lower = left + _SIDE - 2 * _GAP, top + 0.26, top + 0.26 + _SIDE - 2 * _GAP
        image = imread(io.BytesIO(base64.b64decode(tile.png)), format="png")
        axes.imshow(image, cmap="gray", interpolation="nearest", extent=(left, right, lower, upper))
        text = f"{_words(tile)}\n{tile.probability}"
        axes.text(left, lower + 0.04, text, va="top", fontsize=5.5, linespacing=1.15)
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_aspect("auto")
  return figure


def _tile(entry: dict, class_names: list[str]) -> Tile:
  """Return an entry of the records as a tile."""

  def name(label: int) -> str:
    return str(class_names[label]) if label < len(class_names) else str(label)

  percent = 100 * as_float(entry["probability"])
  text = f"{percent:.{1 if percent >= 1 else 2}f}%" if percent >= 0.01 else "< 0.01%"
  return Tile(entry["index"], name(entry["label"]), name(entry["predicted"]), text, entry["png"])


def _words(tile: Tile) -> str:
  """Return what is said of a tile's classes, on two lines where one is too narrow."""
  label, predicted = map(_clip, (tile.label, tile.predicted))
  if tile.label == tile.predicted:
    return f"{label}, right"
  space = " " if len(label + predicted) <= _CHARACTERS - 4 else "\n"
  return f"{label} →{space}{predicted}"


def _clip(text: str) -> str:
  """Return text that fits below a tile."""
  return text if len(text) <= _CHARACTERS else text[: _CHARACTERS - 1] + "…"


def _is_png(text: str | None) -> bool:
  """Return whether text is the base64 text of a PNG."""
  if not text:
    return False
  try:
    return base64.b64decode(text, validate=True).startswith(b"\x89PNG\r\n\x1a\n")
  except binascii.Error:
    return False
