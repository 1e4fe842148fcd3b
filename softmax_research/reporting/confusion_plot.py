"""Confusion matrices: the share of each true class that goes to each class, averaged over seeds."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from softmax_research.reporting import figure_style
from softmax_research.reporting.records import HeadRecords

# Numbers and class names are legible in a panel up to this many classes.
_MOST_WITH_NUMBERS = 12
_MOST_WITH_NAMES = 26
_WRONG = "#d55e00"
_RIGHT = "#0072b2"


def confusion_plot(heads: list[HeadRecords], class_names: list[str]) -> Figure | None:
  """Plot a confusion matrix for every head on the test split.

  Args:
    heads: Heads with their runs.
    class_names: Names of the classes `[K]`.

  Returns:
    A figure of one panel for each head, or None when no run has a confusion matrix.
  """
  shares = [(head.name, _mean_shares(head)) for head in heads]
  shares = [(name, matrix) for name, matrix in shares if matrix is not None]
  if not shares:
    return None
  # One scale for all heads, so that panels compare; the diagonal would hide everything else.
  worst = max(float(_off_diagonal(matrix).max()) for _, matrix in shares) or 1.0
  with figure_style.style_context():
    figure, axes = figure_style.grid_of_axes([n for n, _ in shares], columns=3, height=3.35)
    for panel, (_, matrix) in zip(axes, shares, strict=True):
      _draw(panel, matrix, worst, class_names)
    figure.supxlabel("predicted class", fontsize=8, color=figure_style.MUTED)
    figure.supylabel("true class", fontsize=8, color=figure_style.MUTED)
  return figure


def _draw(axes: Axes, shares: np.ndarray, worst: float, class_names: list[str]) -> None:
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
  if size <= _MOST_WITH_NUMBERS:
    for row, column in np.ndindex(size, size):
      percent = 100 * shares[row, column]
      if percent >= 0.05:
        text = f"{percent:.0f}" if percent >= 9.95 else f"{percent:.1f}"
        number = axes.text(column, row, text, ha="center", va="center", fontsize=5.6)
        number.set_in_layout(False)  # hundreds of them, all inside: measuring them takes seconds
  if size <= _MOST_WITH_NAMES and len(class_names) == size:
    longest = max(map(len, class_names))
    axes.set_xticks(diagonal, class_names, rotation=90 if longest > 2 else 0, fontsize=6.5)
    axes.set_yticks(diagonal, class_names, fontsize=6.5)
  elif size <= _MOST_WITH_NAMES:
    axes.set_xticks(diagonal)
    axes.set_yticks(diagonal)


def _mean_shares(head: HeadRecords) -> np.ndarray | None:
  """Return the mean over seeds of the row-normalised confusion matrices `[K, K]`."""
  matrices = [run["metrics"]["test"].get("confusion") for run in head.finished.values()]
  matrices = [np.array(matrix, np.float64) for matrix in matrices if matrix]
  if not matrices:
    return None
  # A class without test examples has a row of zeros, and stays so.
  return np.mean([m / np.maximum(m.sum(axis=1, keepdims=True), 1) for m in matrices], axis=0)


def _off_diagonal(shares: np.ndarray) -> np.ndarray:
  """Return shares with the right answers set to zero."""
  return shares * (1 - np.eye(len(shares)))
