"""Example plot: scenes and their maps, with the true and the found boxes."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from experiments import pictures
from softmax_research.study import figure_style


def example_plot(examples: Sequence[Mapping[str, Any]], kinds: Sequence[str]) -> Figure:
  """Draw a column for each scene: the scene, and below it a map of each kind.

  Args:
    examples: of a record; see `evaluation`.
    kinds: of the maps.

  Returns:
    The figure.
  """
  number = len(examples)
  side = figure_style.WIDTH / max(number, 4)
  with figure_style.style_context():
    figure = Figure(figsize=(side * number, side * (1 + len(kinds)) * 1.08), layout="constrained")
    axes = figure.subplots(1 + len(kinds), number, squeeze=False)
    for column, of in zip(axes.T, examples, strict=True):
      label, predicted = of["label"], of["predicted"]
      column[0].imshow(pictures.from_text(of["image"]), cmap="gray", vmin=0, vmax=255)
      column[0].set_title(label if label == predicted else f"{label}, not {predicted}")
      for place, picture, found in zip(column[1:], of["maps"], of["found"], strict=True):
        place.imshow(pictures.from_text(picture), cmap="viridis", vmin=0)
        _outline(place, found, "#ff7f0e", "dashed")
      for place in column:
        _outline(place, of["box"], "#ffffff", "solid")
        place.set_xticks([])
        place.set_yticks([])
        place.grid(visible=False)
    for place, name in zip(axes[:, 0], ("scene", *kinds), strict=True):
      place.set_ylabel(name)
  return figure


def _outline(axes, box, colour: str, dashes: str) -> None:
  top, left, bottom, right = map(float, box)
  # Pixels are drawn around their centres.
  corner, size = (left - 0.5, top - 0.5), (right - left, bottom - top)
  axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor=colour, linestyle=dashes))
