"""Example plot: scenes and their maps, with the true and the found boxes."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from softmax_research.reporting import figure_style


def example_plot(examples: Mapping[str, np.ndarray], kinds: Sequence[str]) -> Figure:
  """Draw a column for each scene: the scene, and below it a map of each kind.

  Args:
    examples: `images [M, S, S, C]`, `labels [M]` and `predicted [M]` as names, `boxes [M, 4]`,
      `maps [M, kinds, S, S]` and `found [M, kinds, 4]`.
    kinds: of the maps.

  Returns:
    The figure.
  """
  number = len(examples["images"])
  side = figure_style.WIDTH / max(number, 4)
  with figure_style.style_context():
    figure = Figure(figsize=(side * number, side * (1 + len(kinds)) * 1.08), layout="constrained")
    axes = figure.subplots(1 + len(kinds), number, squeeze=False)
    for column in range(number):
      image, label = examples["images"][column], examples["labels"][column]
      predicted = examples["predicted"][column]
      axes[0, column].imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255)
      axes[0, column].set_title(label if label == predicted else f"{label}, not {predicted}")
      for row, activation in enumerate(examples["maps"][column], 1):
        axes[row, column].imshow(np.maximum(activation, 0), cmap="viridis", vmin=0)
        _outline(axes[row, column], examples["found"][column, row - 1], "#ff7f0e", "dashed")
      for place in axes[:, column]:
        _outline(place, examples["boxes"][column], "#ffffff", "solid")
        place.set_xticks([])
        place.set_yticks([])
        place.grid(visible=False)
    for row, name in enumerate(("scene", *kinds)):
      axes[row, 0].set_ylabel(name)
  return figure


def _outline(axes, box, colour: str, dashes: str) -> None:
  top, left, bottom, right = map(float, box)
  # Pixels are drawn around their centres.
  corner, size = (left - 0.5, top - 0.5), (right - left, bottom - top)
  axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor=colour, linestyle=dashes))
