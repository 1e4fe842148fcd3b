"""Plots of classifiers on the test split: reliability, confusion and the worst images."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from softmax_research.study import figure_style, record
from softmax_research.study.blocks import Plot
from softmax_research.study.groups import Group
from softmax_research.study.measures import measure_of

_ECE = measure_of("ece")
_LEAST_COUNT = 5  # A bin with fewer examples a seed says next to nothing.
# Numbers are legible up to so many panels, numbers and class names up to so many classes.
_MOST_PANELS_WITH_NUMBERS = 9
_MOST_WITH_NUMBERS = 12
_MOST_WITH_NAMES = 26
_WRONG, _RIGHT = "#d55e00", "#0072b2"
_MOST_ROWS, _MOST_IMAGES = 8, 12
# Sizes in inches: a tile with its gaps, the gap on each side of it, and a row with its text.
_SIDE, _GAP, _ROW = 0.8, 0.05, 1.3
_CHARACTERS = 14  # that fit below a tile


def reliability(groups: Sequence[Group]) -> Plot | None:
  """Plot a reliability diagram for every group, or return None where no record has one.

  Args:
    groups: with `metrics/test/reliability`: `count`, `confidence` and `accuracy` of each bin.
  """
  pooled = [(of, bins) for of in groups if (bins := _pool(of)) is not None]
  if not pooled:
    return None
  with figure_style.style_context():
    columns = 3 if len(pooled) < 4 else 4 if len(pooled) < 13 else 6
    height = 1.17 * figure_style.WIDTH / columns
    names = [of.name for of, _ in pooled]
    figure, axes = figure_style.grid_of_axes(names, columns=columns, height=height)
    for panel, (of, bins) in zip(axes, pooled, strict=True):
      _draw_reliability(panel, figure_style.head_style(min(groups.index(of), 1))["color"], *bins)
      panel.set_title(panel.get_title(loc="left"), pad=19)
      text = f"ECE {_ECE.format(of.summary('ece').mean)}%"
      panel.text(0, 1.045, text, transform=panel.transAxes, color=figure_style.MUTED)
    _label_all(figure, "confidence", "accuracy")
  caption = (
    "Accuracy against confidence, predictions pooled over the seeds; on the dashed line a "
    "classifier is as often right as it claims, below it claims too much. Vertical lines are two "
    f"standard errors, faint dots bins with fewer than {_LEAST_COUNT} test examples; bars show "
    "where the predictions lie. ECE is the mean over the seeds."
  )
  return Plot("reliability", "Reliability on the test split", caption, figure)


def _draw_reliability(
  axes: Axes, colour: str, count: np.ndarray, confidence: np.ndarray, accuracy: np.ndarray
) -> None:
  edges = np.linspace(0, 1, count.size + 1)
  share = 0.25 * count / count.max()
  axes.bar(
    edges[:-1], share, width=np.diff(edges), align="edge", color=colour, alpha=0.22, linewidth=0
  )
  axes.plot([0, 1], [0, 1], color=figure_style.MUTED, linewidth=0.8, linestyle=(0, (3, 2)))
  few = (count > 0) & (count < _LEAST_COUNT)
  axes.scatter(confidence[few], accuracy[few], s=9, color=colour, alpha=0.35, linewidth=0)
  enough = count >= _LEAST_COUNT
  x, y = confidence[enough], accuracy[enough]
  # Two standard errors of a proportion: a bin with few examples scatters by chance.
  error = 2 * np.sqrt(np.maximum(y * (1 - y), 0) / count[enough])
  axes.vlines(x, np.maximum(y - error, 0), np.minimum(y + error, 1), color=colour, linewidth=0.8)
  axes.plot(x, y, color=colour, linewidth=1.1)
  axes.scatter(x, y, s=14, color=colour, linewidth=0, zorder=3)
  axes.set(xlim=(0, 1), ylim=(0, 1.02), aspect="equal")
  axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
  axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])


def _pool(of: Group) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
  """Return counts, confidences and accuracies `[bins]` over all seeds; an empty bin has NaN.

  The counts are means over the seeds, because the seeds predict the same images: five seeds do
  not make five times as many independent examples.
  """
  diagrams = _of_test(of, "reliability")
  counts = np.array([diagram["count"] for diagram in diagrams], np.float64)
  if not counts.any():
    return None
  total = counts.sum(axis=0)

  def mean(name: str) -> np.ndarray:
    # A null of JSON becomes NaN.
    values = np.array([diagram[name] for diagram in diagrams], np.float64)
    sums = np.where(counts > 0, counts * values, 0.0).sum(axis=0)
    return np.divide(sums, total, out=np.full_like(sums, np.nan), where=total > 0)

  return total / len(diagrams), mean("confidence"), mean("accuracy")


def _of_test(of: Group, name: str) -> list:
  found = [made["metrics"].get("test", {}).get(name) for made in of.finished.values()]
  return [one for one in found if one]


def _label_all(figure: Figure, below: str, left: str) -> None:
  figure.supxlabel(below, fontsize=8, color=figure_style.MUTED)
  figure.supylabel(left, fontsize=8, color=figure_style.MUTED)


def confusion(groups: Sequence[Group]) -> Plot | None:
  """Plot a confusion matrix for every group, or return None where no record has one.

  Args:
    groups: with `metrics/test/confusion`, a matrix `[K, K]` of true and predicted classes.
  """
  shares = [(of.name, matrix) for of in groups if (matrix := _mean_shares(of)) is not None]
  if not shares:
    return None
  # One scale for all, so that panels compare; the diagonal would hide everything else.
  worst = max(float(_off_diagonal(matrix).max()) for _, matrix in shares) or 1.0
  few, names = len(shares) <= _MOST_PANELS_WITH_NUMBERS, class_names(groups)
  with figure_style.style_context():
    figure, axes = figure_style.grid_of_axes(
      [name for name, _ in shares], columns=3 if few else 6, height=3.35 if few else 1.85
    )
    for panel, (_, matrix) in zip(axes, shares, strict=True):
      _draw_confusion(panel, matrix, worst, names, large=few)
    _label_all(figure, "predicted class", "true class")
  caption = (
    "Percent of each true class (row) that goes to each predicted class (column), averaged over "
    "the seeds; empty cells are below 0.05. Errors have one colour scale for all panels."
  )
  return Plot("confusion", "Confusion on the test split", caption, figure)


def _draw_confusion(
  axes: Axes, shares: np.ndarray, worst: float, class_names: Sequence[str], *, large: bool
) -> None:
  size = len(shares)
  # Colours fade into the paper by transparency, so that they suit a light and a dark page.
  image = np.zeros((size, size, 4))
  image[..., :3] = to_rgb(_WRONG)
  image[..., 3] = 0.85 * (_off_diagonal(shares) / worst) ** 0.7
  diagonal = np.arange(size)
  image[diagonal, diagonal] = (*to_rgb(_RIGHT), 0.16)
  axes.imshow(image)
  axes.grid(False)
  axes.spines[:].set_visible(False)
  axes.tick_params(length=0)
  if large and size <= _MOST_WITH_NUMBERS:
    for row, column in np.ndindex(size, size):
      percent = 100 * shares[row, column]
      if percent >= 0.05:
        text = f"{percent:.0f}" if percent >= 9.95 else f"{percent:.1f}"
        number = axes.text(column, row, text, ha="center", va="center", fontsize=5.6)
        number.set_in_layout(False)  # hundreds of them, all inside: measuring them takes seconds
  if size > _MOST_WITH_NAMES:
    return
  names = [figure_style.shorten(name, 20) for name in class_names]
  if len(names) != size or not (large or max(map(len, names)) <= 2):
    names = list(map(str, diagonal))
  style = {"fontsize": 6.5 if large else 5}
  axes.set_xticks(diagonal, names, rotation=90 if max(map(len, names)) > 2 else 0, **style)
  axes.set_yticks(diagonal, names, **style)


def _mean_shares(of: Group) -> np.ndarray | None:
  matrices = [np.array(matrix, np.float64) for matrix in _of_test(of, "confusion")]
  if not matrices:
    return None
  # A class without test examples has a row of zeros, and stays so.
  sums = [m.sum(axis=1, keepdims=True) for m in matrices]
  return np.mean(
    [m / np.where(of > 0, of, 1) for m, of in zip(matrices, sums, strict=True)], axis=0
  )


def _off_diagonal(shares: np.ndarray) -> np.ndarray:
  return shares * (1 - np.eye(len(shares)))


def class_names(groups: Sequence[Group]) -> list[str]:
  """Return the names of the classes as the records have them, or none."""
  for of in groups:
    for made in of.records:
      if names := (made["measured"].get("dataset") or {}).get("class_names"):
        return list(map(str, names))
  return []


class _Tile(NamedTuple):
  index: int
  label: str
  predicted: str
  probability: str
  image: np.ndarray


def worst_images(groups: Sequence[Group]) -> Plot | None:
  """Show the images that ensembles misjudge most, or return None where no ensemble has images.

  Args:
    groups: whose ensembles have `measured/worst`: index, label, predicted, probability and the
      base64 text of a PNG; what is no picture is left out.
  """
  names, tiles = class_names(groups), {}
  for of in groups:
    worst = of.ensemble["measured"].get("worst") or [] if of.ensemble else []
    found = [tile for entry in worst if (tile := _tile(entry, names)) is not None]
    if found:
      tiles[of.name] = found[:_MOST_IMAGES]
  if not tiles:
    return None
  caption = (
    "The test images to whose label the ensemble of the seeds gives least: true class → predicted "
    "class, and the probability of the true class."
  )
  if len(tiles) > _MOST_ROWS:
    caption += f" Shown are the first {_MOST_ROWS} of {len(tiles)} rows."
  shared = len(set.intersection(*({tile.index for tile in ones} for ones in tiles.values())))
  if len(tiles) > 1 and shared:
    caption += f" {shared} of them {'is' if shared == 1 else 'are'} among the worst of every row."
  return Plot("worst_images", "Worst-classified images", caption, _draw_tiles(tiles))


def _draw_tiles(tiles: dict[str, list[_Tile]]) -> Figure:
  rows = list(tiles.items())[:_MOST_ROWS]
  width, height = _MOST_IMAGES * _SIDE, len(rows) * _ROW
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
        axes.imshow(tile.image, cmap="gray", extent=(left, right, lower, upper))
        text = f"{_words(tile)}\n{tile.probability}"
        axes.text(left, lower + 0.04, text, va="top", fontsize=5.5, linespacing=1.15)
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="auto")
  return figure


def _tile(entry: dict, class_names: Sequence[str]) -> _Tile | None:
  try:
    image = record.from_text(entry["png"] or "")
  except (ValueError, OSError):
    return None

  def name(label: int) -> str:
    return class_names[label] if label < len(class_names) else str(label)

  percent = 100 * (math.nan if entry["probability"] is None else entry["probability"])
  text = f"{percent:.{1 if percent >= 1 else 2}f}%" if percent >= 0.01 else "< 0.01%"
  return _Tile(entry["index"], name(entry["label"]), name(entry["predicted"]), text, image)


def _words(tile: _Tile) -> str:
  """Return what is said of a tile's classes, on two lines where one is too narrow."""
  label, predicted = (
    figure_style.shorten(name, _CHARACTERS) for name in (tile.label, tile.predicted)
  )
  if tile.label == tile.predicted:
    return f"{label}, right"
  space = " " if len(label + predicted) <= _CHARACTERS - 4 else "\n"
  return f"{label} →{space}{predicted}"
