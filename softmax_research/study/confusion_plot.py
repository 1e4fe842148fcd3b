"""Confusion matrices: the share of each true class that goes to each class, averaged over seeds."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from softmax_research.study import figure_style
from softmax_research.study.groups import Group

# Numbers are legible up to so many panels, numbers and class names up to so many classes.
_MOST_PANELS_WITH_NUMBERS = 9
_MOST_WITH_NUMBERS = 12
_MOST_WITH_NAMES = 26
_WRONG = "#d55e00"
_RIGHT = "#0072b2"


def confusion_plot(groups: Sequence[Group], class_names: Sequence[str]) -> Figure | None:
  """Plot a confusion matrix for every group on the test split.

  Args:
    groups: with `metrics/test/confusion`, a matrix `[K, K]` of true and predicted classes.
    class_names: names of the classes `[K]`.

  Returns:
    A figure of one panel for each group, or None when no record has a confusion matrix.
  """
  shares = [(of.name, matrix) for of in groups if (matrix := _mean_shares(of)) is not None]
  if not shares:
    return None
  # One scale for all, so that panels compare; the diagonal would hide everything else.
  worst = max(float(_off_diagonal(matrix).max()) for _, matrix in shares) or 1.0
  few = len(shares) <= _MOST_PANELS_WITH_NUMBERS
  with figure_style.style_context():
    figure, axes = figure_style.grid_of_axes(
      [name for name, _ in shares], columns=3 if few else 6, height=3.35 if few else 1.85
    )
    for panel, (_, matrix) in zip(axes, shares, strict=True):
      _draw(panel, matrix, worst, class_names, large=few)
    figure.supxlabel("predicted class", fontsize=8, color=figure_style.MUTED)
    figure.supylabel("true class", fontsize=8, color=figure_style.MUTED)
  return figure


def _draw(
  axes: Axes, shares: np.ndarray, worst: float, class_names: Sequence[str], *, large: bool
) -> None:
  """Draw one matrix of shares `[K, K]`."""
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
  names = [figure_style.shorten(str(name), 20) for name in class_names]
  if len(names) != size or not (large or max(map(len, names)) <= 2):
    names = list(map(str, diagonal))
  style = {"fontsize": 6.5 if large else 5}
  axes.set_xticks(diagonal, names, rotation=90 if max(map(len, names)) > 2 else 0, **style)
  axes.set_yticks(diagonal, names, **style)


def _mean_shares(of: Group) -> np.ndarray | None:
  """Return the mean over seeds of the row-normalised confusion matrices `[K, K]`."""
  found = [made["metrics"].get("test", {}).get("confusion") for made in of.finished.values()]
  matrices = [np.array(matrix, np.float64) for matrix in found if matrix]
  if not matrices:
    return None
  # A class without test examples has a row of zeros, and stays so.
  return np.mean([m / np.maximum(m.sum(axis=1, keepdims=True), 1) for m in matrices], axis=0)


def _off_diagonal(shares: np.ndarray) -> np.ndarray:
  """Return shares with the right answers set to zero."""
  return shares * (1 - np.eye(len(shares)))
