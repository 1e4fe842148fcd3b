"""Measures of trained models beside their accuracy, by name, with options, as `pgd:epsilon=2`."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from experiments import assembly, classifiers
from experiments.reproduction import features, robustness
from softmax_research import data, heads, registry, training
from softmax_research.study import ensembles
from softmax_research.training import calibration

#: Methods of calibration by the names of Guo et al.'s table.
CALIBRATIONS: dict[str, Callable[[np.ndarray, np.ndarray], calibration.Calibrator]] = {
  "histogram binning": calibration.fit_histogram_binning,
  "isotonic regression": calibration.fit_isotonic_regression,
  "temperature scaling": calibration.fit_temperature,
  "vector scaling": calibration.fit_vector_scaling,
  "matrix scaling": calibration.fit_matrix_scaling,
}
# Images that a measure is timed with.
_TIMED_IMAGES = 100


class Model(NamedTuple):
  """Hold a trained model.

  Attributes:
    log_prob: `(variables, images [N, ...] in [0, 1]) -> [N, K]`; the same for all seeds.
    variables: parameters and the backbone's state.
    temperature: of the softmax that was trained; 1 of any other head.
    features: `(variables, images) -> [N, D]`, likewise, also of images as uint8.
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
  fitted = {name: fit(*validation) for name, fit in CALIBRATIONS.items()}
  found = {}
  for name, calibrate in {"uncalibrated": lambda log_probs: log_probs, **fitted}.items():
    log_probs = calibrate(np.asarray(model.predictions.test, np.float64))
    scores = training.evaluate(log_probs.astype(np.float32), splits.test.labels)
    found[name] = {key: scores[key] for key in ("ece", "mce", "nll", "error")}
  found["temperature scaling"]["temperature"] = calibration.best_temperature(*validation)
  return found


def mirrors(model: Model, splits: Any) -> dict[str, Any]:
  """Judge the mean of the probabilities of each test image and of its mirror image, as `mirrors`.

  It is no accuracy of the model alone: it looks twice.
  """
  images, labels = splits.test
  both = [features.by_blocks(model.log_prob, model, of) for of in (images, images[:, :, ::-1])]
  scores = training.evaluate(np.logaddexp(*both) - np.log(2), labels)
  return {"mirrors": {key: scores[key] for key in ("accuracy", "error", "nll", "ece", "brier")}}


def predictions(model: Model, splits: Any) -> dict[str, str]:
  """Keep the predictions of the test split, for agreement and ensembles; see `ensembles.encode`."""
  return {"predictions": ensembles.encode(model.predictions.test, splits.test.labels)}


#: Functions of a model and the data, by name; their options are positive numbers.
MEASURES = registry.Registry(
  "measure",
  {
    "calibration": calibrations,
    "class_separation": features.class_separation,
    "features": features.measure,
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

  The models' functions are the same for all seeds, so they compile once.
  """
  if ask_images(specifications):
    robustness.check_images(splits.test)
  backbone, layer = assembly.make_backbone(config), assembly.make_head_for(splits, head)
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
