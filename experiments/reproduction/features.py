"""Features: where a net puts the test images of each class, by angle and in the plane."""

from typing import Any

import jax
import numpy as np

from experiments.reproduction.robustness import Model
from softmax_research import data

_BLOCK = 1000
#: Of each class that many test images are kept for the figure, of one seed.
POINTS, SEED = 100, 0


def measure(model: Model, split: data.Split) -> dict[str, Any]:
  """Measure the features of a split's images.

  Args:
    model: a trained model with one vector of weights a class.
    split: raw images and labels.

  Returns:
    See `angles`; and of seed 0, if there are two features, `plane`: a class's points as x, y, x, y
    and each class's weights.

  Raises:
    ValueError: the head has no vector of weights for each class.
  """
  kernel = np.asarray(model.variables[0]["head"].get("kernel", np.zeros((0, 0))))
  if kernel.shape[1] <= split.labels.max():
    raise ValueError("The measure 'features' needs a head with a vector of weights a class.")
  apply = jax.jit(model.features)
  parts = [split.images[at : at + _BLOCK] for at in range(0, len(split.labels), _BLOCK)]
  found = np.concatenate([np.asarray(apply(model.variables, part)) for part in parts])
  measured: dict[str, Any] = angles(found, kernel, split.labels)
  if model.seed == SEED and found.shape[1] == 2:
    firsts = [found[split.labels == k][:POINTS] for k in range(kernel.shape[1])]
    measured["plane"] = {
      "points": [[_short(value) for value in of_class.flat] for of_class in firsts],
      "weights": [[_short(value) for value in column] for column in kernel.T],
    }
  return measured


def angles(features: np.ndarray, kernel: np.ndarray, labels: np.ndarray) -> dict[str, float]:
  """Return angles in degrees, means over the images of a class and then over the classes.

  Args:
    features: `[N, D]`; one of length zero has right angles with everything.
    kernel: `[D, K]`.
    labels: `[N]`.

  Returns:
    `angle_to_weight` between an image's features and its class's weights; `angle_within_class`
    between them and the mean direction of its class; `angle_margin`, by how much the nearest
    other class's weights are farther than its own.

  Example:
    >>> features = np.array([[2.0, 0.0], [0.0, 1.0]])
    >>> found = angles(features, np.eye(2), np.array([0, 1]))
    >>> found["angle_to_weight"], found["angle_margin"]
    (0.0, 90.0)
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


def _units(vectors: np.ndarray) -> np.ndarray:
  vectors = np.asarray(vectors, np.float64)
  lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
  return vectors / np.where(lengths > 0, lengths, 1)


def _degrees(cosines: np.ndarray) -> np.ndarray:
  return np.degrees(np.arccos(np.clip(cosines, -1, 1)))


def _short(value: float) -> float:
  return float(f"{value:.3g}")
