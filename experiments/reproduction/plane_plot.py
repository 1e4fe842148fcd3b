"""Plane plot: features of two dimensions, coloured by class, with the directions of the weights."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from experiments.reproduction import features
from softmax_research.study import figure_style
from softmax_research.study.blocks import Plot
from softmax_research.study.measures import measure_of
from softmax_research.study.record import look_up
from softmax_research.study.study import Record

# Ten classes need ten colours, brighter for dots than for lines; neighbours in number differ most.
_COLOURS = (
  "#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9",
  "#7b3294", "#8c6d31", "#e377c2", "#4d4d4d", "#a6b727",
)  # fmt: skip
# Points beyond that share of all distances from the origin lie outside the circle.
_SHARE = 0.99
_DOTS_PER_INCH = 130


def plot(setting: str, runs: Mapping[str, Record]) -> Plot:
  """Draw the features of one run a method.

  Args:
    setting: its name.
    runs: records whose `measured` has a `plane`, by method.

  Returns:
    The figure.
  """
  panels = []
  for method, run in runs.items():
    plane = run["measured"]["plane"]
    accuracy = f"{measure_of('accuracy').format(look_up(run, 'accuracy'))} %"
    within = look_up(run, "angle_within_class")
    subtitle = f"test accuracy {accuracy}, {within:.1f}° from the class's mean"
    points = [np.reshape(of_class, (-1, 2)) for of_class in plane["points"]]
    panels.append(_Panel(method, subtitle, points, np.asarray(plane["weights"])))
  names = next(iter(runs.values()))["measured"]["dataset"]["class_names"]
  caption = (
    f"Two features of the first {features.POINTS} test images of each class, seed "
    f"{features.SEED}. A line is the direction of a class's weights, and each panel has its own "
    "scale. The farther a class's images lie from the others' in angle, the larger the margin "
    "between them."
  )
  figure = plane_plot(panels, names)
  return Plot(f"{setting}_plane", "Features in the plane", caption, figure)


class _Panel(NamedTuple):
  """Hold a panel: `points` are those of each class, `[N, 2]`, and `weights` are `[K, 2]`."""

  title: str
  subtitle: str
  points: Sequence[np.ndarray]
  weights: np.ndarray


def plane_plot(panels: Sequence[_Panel], class_names: Sequence[str]) -> Figure:
  """Draw square panels side by side, at most two in a row.

  Args:
    panels: at least one.
    class_names: K names; they stand at the ends of the weights' directions.

  Returns:
    The figure. Its points are an image, which takes a tenth of their size as vectors.
  """
  columns = min(2, len(panels))
  rows = -(-len(panels) // columns)
  side = figure_style.WIDTH / 2
  with figure_style.style_context():
    figure = Figure(
      figsize=(side * columns, (side + 0.25) * rows), dpi=_DOTS_PER_INCH, layout="constrained"
    )
    places = list(figure.subplots(rows, columns, squeeze=False).flat)
    for place, panel in zip(places, panels, strict=False):
      _draw(place, panel, class_names)
    for unused in places[len(panels) :]:
      unused.set_visible(False)
  return figure


def _draw(axes, panel: _Panel, class_names: Sequence[str]) -> None:
  distances = np.linalg.norm(np.concatenate(list(panel.points)), axis=1)
  radius = 1.06 * max(float(np.quantile(distances, _SHARE)), 1e-6)
  rim = axes.add_patch(Circle((0, 0), radius, fill=False, edgecolor=figure_style.RULE))
  for k, (points, weight) in enumerate(zip(panel.points, panel.weights, strict=True)):
    colour = _COLOURS[k % len(_COLOURS)]
    dots = axes.scatter(*points.T, s=8, color=colour, alpha=0.5, linewidths=0, rasterized=True)
    dots.set_clip_path(rim)
    length = float(np.linalg.norm(weight))
    if length > 0:
      end = radius * weight / length
      axes.plot([0, end[0]], [0, end[1]], color=colour, linewidth=0.9)
      axes.text(
        *(1.075 * end),
        class_names[k],
        color=figure_style.PAPER,
        fontsize=9,
        fontweight="bold",
        ha="center",
        va="center",
        bbox={"boxstyle": "circle,pad=0.25", "facecolor": colour, "edgecolor": "none"},
      )
  axes.set_title(f"{panel.title}\n", fontsize=12)
  axes.text(0, 1.02, panel.subtitle, transform=axes.transAxes, color=figure_style.MUTED)
  limit = 1.17 * radius
  axes.set(xlim=(-limit, limit), ylim=(-limit, limit), xticks=[], yticks=[], aspect="equal")
  axes.spines[:].set_visible(False)
  axes.grid(visible=False)
