"""Measures of trained models beside their accuracy, by name, with options, as `pgd:epsilon=2`."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from experiments import assembly, classifiers
from experiments.reproduction import robustness
from softmax_research import data, heads, registry, training
from softmax_research.study import ensembles
from softmax_research.study.blocks import Plot
from softmax_research.study.measures import measure_of
from softmax_research.study.record import look_up
from softmax_research.study.study import Record
from softmax_research.training import calibration

_OF_CALIBRATION = ("ece", "mce", "nll", "error")
_OF_MIRRORS = ("accuracy", "error", "nll", "ece", "brier")
# Images that a measure is timed with.
_TIMED_IMAGES = 100
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


class Model(NamedTuple):
  """Hold a trained model.

  Attributes:
    log_prob: `(variables, images [N, ...] in [0, 1]) -> [N, K]`; the same for all seeds.
    variables: parameters and the backbone's state.
    temperature: of the softmax that was trained; 1 of any other head.
    features: `(variables, images) -> [N, D]`, likewise, also of images as uint8.
    predictions: of its seed.
  """

  log_prob: Callable[[Any, jax.Array], jax.Array]
  variables: Any
  temperature: float
  features: Callable[[Any, jax.Array], jax.Array] | None = None
  seed: int = 0
  predictions: classifiers.Predictions | None = None


def calibrations(model: Model, splits: assembly.Splits) -> dict[str, Any]:
  """Fit each method of calibration to the validation split and judge it on the test split.

  Returns:
    By method `ece`, `mce`, `nll` and `error`; of temperature scaling also the `temperature`.
  """
  validation = model.predictions.validation, splits.validation.labels
  fitted = {name: fit(*validation) for name, fit in calibration.FITS.items()}
  found = {}
  for name, calibrate in {"uncalibrated": lambda log_probs: log_probs, **fitted}.items():
    log_probs = calibrate(np.asarray(model.predictions.test, np.float64))
    scores = training.evaluate(log_probs.astype(np.float32), splits.test.labels)
    found[name] = {key: scores[key] for key in _OF_CALIBRATION}
  found["temperature scaling"]["temperature"] = calibration.best_temperature(*validation)
  return found


def mirrors(model: Model, splits: assembly.Splits) -> dict[str, Any]:
  """Judge the mean of the probabilities of each test image and of its mirror image, as `mirrors`.

  It is no accuracy of the model alone: it looks twice.
  """
  images, labels = splits.test
  both = [robustness.by_blocks(model.log_prob, model, of) for of in (images, images[:, :, ::-1])]
  scores = training.evaluate(np.logaddexp(*both) - np.log(2), labels)
  return {"mirrors": {key: scores[key] for key in _OF_MIRRORS}}


def predictions(model: Model, splits: assembly.Splits) -> dict[str, str]:
  """Keep the predictions of the test split, for agreement and ensembles; see `ensembles.encode`."""
  return {"predictions": ensembles.encode(model.predictions.test, splits.test.labels)}


def feature_angles(model: Model, splits: assembly.Splits) -> dict[str, Any]:
  """Measure the angles of the test images' features, by a model with a vector of weights a class.

  Of seed 0, if there are two features, also `plane`: each class's points, flat, and its weights.
  """
  split = splits.test
  kernel = np.asarray(model.variables[0]["head"]["kernel"])
  found = robustness.by_blocks(model.features, model, split.images)
  measured: dict[str, Any] = angles(found, kernel, split.labels)
  if model.seed == _SEED and found.shape[1] == 2:
    firsts = [found[split.labels == k][:_POINTS] for k in range(kernel.shape[1])]
    measured["plane"] = {
      "points": [[_short(value) for value in of_class.flat] for of_class in firsts],
      "weights": [[_short(value) for value in column] for column in kernel.T],
    }
  return measured


def class_separation(model: Model, splits: assembly.Splits) -> dict[str, float]:
  """Measure how far apart the classes' features of the test images are; see `separation`."""
  found = robustness.by_blocks(model.features, model, splits.test.images)
  return {"class_separation": separation(found, splits.test.labels)}


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


#: Functions of a model and the data, by name; their options are positive numbers.
MEASURES = registry.Registry(
  "measure",
  {
    "calibration": calibrations,
    "class_separation": class_separation,
    "features": feature_angles,
    "mirrors": mirrors,
    "noise": robustness.noise,
    "pgd": robustness.pgd,
    "predictions": predictions,
  },
  example="pgd:epsilon=2",
  given=("model", "splits"),
)


def check(specifications: Sequence[str]) -> None:
  """Raise a ValueError unless there are such measures, with such options."""
  for text in specifications:
    name, options = MEASURES.parse(text)
    for option, value in options.items():
      if not value > 0:
        raise ValueError(f"Got {option}={value!r} for the measure {name!r}; it must be above 0.")


def ask_images(specifications: Sequence[str]) -> bool:
  """Say whether a measure asks the models of images, beyond their predictions."""
  of_predictions = ("calibration", "predictions")
  return any(MEASURES.parse(text)[0] not in of_predictions for text in specifications)


def measurer(
  specifications: Sequence[str], config: ConfigDict, splits: assembly.Splits, head: str
) -> Callable[[classifiers.Trained], dict[str, Any]]:
  """Return the function from a trained seed to what is measured, nothing of one that diverged.

  The functions are the same for all seeds, so they compile once.
  """
  if ask_images(specifications):
    robustness.check_images(splits.test)
  ours = [text for text in specifications if MEASURES.parse(text)[0] in MEASURES]
  if ours and (splits.ignore_label is not None or splits.test.labels.ndim == 2):
    raise ValueError(
      f"Got the measures {', '.join(ours)} for examples that have no label, or a distribution; "
      "these need a class of each. Pass --config.measures=()."
    )
  backbone, layer = assembly.make_backbone(config), assembly.make_head_for(splits, head)
  if any(MEASURES.parse(text)[0] == "features" for text in specifications):
    params = jax.eval_shape(lambda key: layer.init(key, 1), jax.random.key(0))
    kernel = params.get("kernel") if isinstance(params, dict) else None
    if kernel is None or kernel.shape[1] < splits.num_classes:
      raise ValueError(
        f"The measure 'features' needs a head with a vector of weights a class; {head} has none."
      )
  temperature = heads.parse(head)[1].get("temperature", 1.0)

  def features(variables, images):
    params, model_state = variables
    inputs = data.standardise(images, splits.mean, splits.std)
    return backbone.apply(params["backbone"], model_state, inputs, train=False)[0]

  def log_prob(variables, images):
    return layer.log_prob(variables[0]["head"], features(variables, images))

  def measure(trained):
    found: dict[str, Any] = {}
    if trained.predictions is None:
      return found
    variables = trained.state.params, trained.state.model_state
    seed = trained.record["seed"]
    model = Model(log_prob, variables, temperature, features, seed, trained.predictions)
    for text in specifications:
      found |= MEASURES.make(text, model, splits)
    return found

  return measure


def estimate(
  specifications: Sequence[str],
  config: ConfigDict,
  splits: assembly.Splits,
  head: str,
  trained: classifiers.Trained,
  num_seeds: int,
) -> float:
  """Estimate the seconds that measuring so many seeds takes, by a batch of each measure.

  Compiling is measured too, and counted once. `trained` is a seed in any state, with predictions.
  """
  total = 0.0
  for text in specifications:
    name, options = MEASURES.parse(text)
    options, share = MEASURES.options(name) | options, 1.0
    if "num_images" in options:
      asked = min(options["num_images"], len(splits.test.labels))
      options["num_images"] = min(_TIMED_IMAGES, asked)
      share = asked / options["num_images"]
    text = ":".join([name, *(f"{option}={value}" for option, value in options.items())])
    measure = measurer([text], config, splits, head)
    seconds = []
    for _ in range(2):
      began = time.perf_counter()
      measure(trained)
      seconds.append(time.perf_counter() - began)
    first, again = seconds
    total += max(0.0, first - again) + share * again * num_seeds
  return total


def plot_plane(setting: str, runs: Mapping[str, Record]) -> Plot:
  """Draw the features of one run a method, whose `measured` has a `plane`, in panels side by side.

  The points are an image, which takes a tenth of their size as vectors.
  """
  from softmax_research.study import figure_style  # noqa: PLC0415  # It loads Matplotlib.

  with figure_style.style_context():
    figure, places = figure_style.grid_of_axes(
      list(runs), columns=2, height=figure_style.WIDTH / 2 + 0.25
    )
    figure.set_dpi(_DOTS_PER_INCH)
    for place, (method, run) in zip(places, runs.items(), strict=True):
      _draw_plane(place, method, run, figure_style)
  caption = (
    f"Two features of the first {_POINTS} test images of each class, seed "
    f"{_SEED}. A line is the direction of a class's weights, and each panel has its own "
    "scale. The farther a class's images lie from the others' in angle, the larger the margin "
    "between them."
  )
  return Plot(f"{setting}_plane", "Features in the plane", caption, figure)


def _draw_plane(axes, method: str, run: Record, figure_style) -> None:
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
