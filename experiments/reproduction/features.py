"""Features: where a net puts the test images of each class, by angle and in the plane."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from softmax_research.study.blocks import Plot
from softmax_research.study.measures import measure_of
from softmax_research.study.record import look_up
from softmax_research.study.study import Record

_BLOCK = 1000
# Of each class that many test images are kept for the figure, of one seed.
_POINTS, _SEED = 100, 0

# Ten classes need ten colours, brighter for dots than for lines; neighbours in number differ most.
_COLOURS = (
  "#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9",
  "#7b3294", "#8c6d31", "#e377c2", "#4d4d4d", "#a6b727",
)  # fmt: skip
# Points beyond that share of all distances from the origin lie outside the circle.
_SHARE = 0.99
_DOTS_PER_INCH = 130


def measure(model: Any, splits: Any) -> dict[str, Any]:
  """Measure the angles of the test images' features, by a model with a vector of weights a class.

  Of seed 0, if there are two features, also `plane`: each class's points, flat, and its weights.
  """
  split = splits.test
  kernel = np.asarray(model.variables[0]["head"].get("kernel", np.zeros((0, 0))))
  if kernel.shape[1] <= split.labels.max():
    raise ValueError("The measure 'features' needs a head with a vector of weights a class.")
  found = by_blocks(model.features, model, split.images)
  measured: dict[str, Any] = angles(found, kernel, split.labels)
  if model.seed == _SEED and found.shape[1] == 2:
    firsts = [found[split.labels == k][:_POINTS] for k in range(kernel.shape[1])]
    measured["plane"] = {
      "points": [[_short(value) for value in of_class.flat] for of_class in firsts],
      "weights": [[_short(value) for value in column] for column in kernel.T],
    }
  return measured


def class_separation(model: Any, splits: Any) -> dict[str, float]:
  """Measure how far apart the classes' features of the test images are; see `separation`."""
  found = by_blocks(model.features, model, splits.test.images)
  return {"class_separation": separation(found, splits.test.labels)}


def by_blocks(function: Callable[..., jax.Array], model: Any, images: np.ndarray) -> np.ndarray:
  """Return what a function of a model makes of its variables and of images, block by block."""
  apply = jax.jit(function)
  parts = [images[at : at + _BLOCK] for at in range(0, len(images), _BLOCK)]
  return np.concatenate([np.asarray(apply(model.variables, part)) for part in parts])


def separation(features: np.ndarray, labels: np.ndarray) -> float:
  r"""Return the share of the features' spread, in cosines, that lies between the classes.

  .. math:: R^2 = 1 - \bar d_\mathrm{within} / \bar d_\mathrm{all}

  with the mean cosine distance of two features of one class, the mean over the classes, and that of
  any two, all classes counting alike. Features of length zero have the cosine 0 with everything.

  Example:
    >>> separation(np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]), np.array([0, 0, 1]))
    1.0

  Reference:
    Kornblith et al. 2021, "Why Do Better Loss Functions Lead to Less Transferable Features?" (arXiv
    2010.16402).
  """
  units = _units(np.asarray(features, float))
  # The mean cosine of all pairs is the squared length of the mean.
  centres = np.stack([units[labels == k].mean(0) for k in np.unique(labels)])
  within = 1 - np.mean(np.sum(centres**2, axis=1))
  overall = 1 - np.sum(centres.mean(0) ** 2)
  return float(1 - within / overall)


def angles(features: np.ndarray, kernel: np.ndarray, labels: np.ndarray) -> dict[str, float]:
  """Return angles in degrees, means over the images of a class and then over the classes.

  A feature of length zero has right angles with everything.

  Returns:
    `angle_to_weight` between an image's features and its class's weights; `angle_within_class`
    between them and the mean direction of its class; `angle_margin`, by how much the nearest
    other class's weights are farther than its own.
  """
  units, weights = _units(features), _units(kernel.T)
  to_weights = _degrees(units @ weights.T)
  own = to_weights[np.arange(len(labels)), labels]
  others = np.where(np.arange(len(weights)) == labels[:, None], np.inf, to_weights).min(1)
  classes = np.unique(labels)
  centres = {k: _units(units[labels == k].mean(0, keepdims=True))[0] for k in classes}
  within = _degrees((units * np.stack([centres[k] for k in labels])).sum(1))

  def mean(values):
    return float(np.mean([values[labels == k].mean() for k in classes]))

  return {
    "angle_to_weight": mean(own),
    "angle_within_class": mean(within),
    "angle_margin": mean(others - own),
  }


def plot(setting: str, runs: Mapping[str, Record]) -> Plot:
  """Draw the features of one run a method, whose `measured` has a `plane`, in panels side by side.

  The points are an image, which takes a tenth of their size as vectors.
  """
  from matplotlib.figure import Figure  # noqa: PLC0415  # Matplotlib takes long to import.

  from softmax_research.study import figure_style  # noqa: PLC0415

  columns = min(2, len(runs))
  rows = -(-len(runs) // columns)
  side = figure_style.WIDTH / 2
  with figure_style.style_context():
    figure = Figure(
      figsize=(side * columns, (side + 0.25) * rows), dpi=_DOTS_PER_INCH, layout="constrained"
    )
    places = list(figure.subplots(rows, columns, squeeze=False).flat)
    for place, (method, run) in zip(places, runs.items(), strict=False):
      _draw(place, method, run, figure_style)
    for unused in places[len(runs) :]:
      unused.set_visible(False)
  caption = (
    f"Two features of the first {_POINTS} test images of each class, seed "
    f"{_SEED}. A line is the direction of a class's weights, and each panel has its own "
    "scale. The farther a class's images lie from the others' in angle, the larger the margin "
    "between them."
  )
  return Plot(f"{setting}_plane", "Features in the plane", caption, figure)


def _draw(axes, method: str, run: Record, figure_style) -> None:
  from matplotlib.patches import Circle  # noqa: PLC0415

  plane, class_names = run["measured"]["plane"], run["measured"]["dataset"]["class_names"]
  points: Sequence[np.ndarray] = [np.reshape(of_class, (-1, 2)) for of_class in plane["points"]]
  distances = np.linalg.norm(np.concatenate(points), axis=1)
  radius = 1.06 * max(float(np.quantile(distances, _SHARE)), 1e-6)
  rim = axes.add_patch(Circle((0, 0), radius, fill=False, edgecolor=figure_style.RULE))
  for k, weight in enumerate(np.asarray(plane["weights"])):
    colour = _COLOURS[k % len(_COLOURS)]
    dots = axes.scatter(*points[k].T, s=8, color=colour, alpha=0.5, linewidths=0, rasterized=True)
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
  accuracy = f"{measure_of('accuracy').format(look_up(run, 'accuracy'))} %"
  within = look_up(run, "angle_within_class")
  subtitle = f"test accuracy {accuracy}, {within:.1f}° from the class's mean"
  axes.set_title(f"{method}\n", fontsize=12)
  axes.text(0, 1.02, subtitle, transform=axes.transAxes, color=figure_style.MUTED)
  limit = 1.17 * radius
  axes.set(xlim=(-limit, limit), ylim=(-limit, limit), xticks=[], yticks=[], aspect="equal")
  axes.spines[:].set_visible(False)
  axes.grid(visible=False)


def _units(vectors: np.ndarray) -> np.ndarray:
  vectors = np.asarray(vectors, np.float64)
  lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
  return vectors / np.where(lengths > 0, lengths, 1)


def _degrees(cosines: np.ndarray) -> np.ndarray:
  return np.degrees(np.arccos(np.clip(cosines, -1, 1)))


def _short(value: float) -> float:
  return float(f"{value:.3g}")
