"""Measures of trained models beside their accuracy, by name.

Those of predictions know a model's log-probabilities; those of models can ask a model of any
image, and have options, as `pgd:epsilon=2`.
"""

import inspect
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from experiments import assembly, classifiers
from experiments.reproduction import features, robustness
from softmax_research import heads, training
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


def calibrations(predictions: classifiers.Predictions, splits: assembly.Splits) -> dict[str, Any]:
  """Fit each method of calibration to the validation split and judge it on the test split.

  Args:
    predictions: log-probabilities of one model.
    splits: the data.

  Returns:
    By method `ece`, `mce`, `nll` and `error`; of temperature scaling also the `temperature`.
  """
  fitted = {
    name: fit(predictions.validation, splits.validation.labels)
    for name, fit in CALIBRATIONS.items()
  }
  found = {}
  for name, calibrate in {"uncalibrated": lambda log_probs: log_probs, **fitted}.items():
    log_probs = calibrate(np.asarray(predictions.test, np.float64))
    scores = training.evaluate(log_probs.astype(np.float32), splits.test.labels)
    found[name] = {key: scores[key] for key in ("ece", "mce", "nll", "error")}
  best = calibration.best_temperature(predictions.validation, splits.validation.labels)
  found["temperature scaling"]["temperature"] = best
  return found


#: Functions of a model's predictions and the data, by name.
OF_PREDICTIONS: dict[str, Callable[..., dict[str, Any]]] = {"calibration": calibrations}

#: Functions of a model and a split, by name; their options are positive numbers.
OF_MODELS: dict[str, Callable[..., dict[str, Any]]] = {
  "features": features.measure,
  "noise": robustness.noise,
  "pgd": robustness.pgd,
}


def check_names(specifications: Sequence[str]) -> None:
  """Raise a ValueError unless there are such measures, with such options."""
  for text in specifications:
    name, options = _parse(text)
    if name not in OF_PREDICTIONS and name not in OF_MODELS:
      known = ", ".join((*OF_PREDICTIONS, *OF_MODELS))
      raise ValueError(f"Got the measure {name!r}; the measures are {known}.")
    allowed = _options(name)
    for option, value in options.items():
      if option not in allowed:
        listed = ", ".join(allowed) or "none"
        raise ValueError(
          f"Got option {option!r} for the measure {name!r}; its options are {listed}."
        )
      if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ValueError(f"Got {option}={value!r} for the measure {name!r}; it must be above 0.")


def have_models(specifications: Sequence[str]) -> bool:
  """Say whether a measure asks the models themselves.

  Example:
    >>> have_models(["calibration"]), have_models(["calibration", "pgd:epsilon=2"])
    (False, True)
  """
  return any(_parse(text)[0] in OF_MODELS for text in specifications)


def measurer(
  specifications: Sequence[str], config: ConfigDict, splits: assembly.Splits, head: str
) -> Callable[[classifiers.Trained], dict[str, Any]]:
  """Return the function that measures a trained seed.

  Args:
    specifications: of measures.
    config: a checked configuration.
    splits: the data; the test split is used.
    head: the head's specification.

  Returns:
    From a trained seed to what was found; nothing of one that diverged.

  Raises:
    ValueError: the images do not fit the measures.
  """
  if have_models(specifications):
    robustness.check_images(splits.test)
  make_model = robustness.model_maker(config, splits, head)

  def measure(trained):
    if trained.predictions is None:
      return {}
    found, model = {}, make_model(trained)
    for name, options in map(_parse, specifications):
      if name in OF_PREDICTIONS:
        found |= OF_PREDICTIONS[name](trained.predictions, splits)
      else:
        found |= OF_MODELS[name](model, splits.test, **options)
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

  Compiling is measured too, and counted once.

  Args:
    specifications: of measures.
    config: a checked configuration.
    splits: the data.
    head: the head's specification.
    trained: a seed in any state, with predictions.
    num_seeds: seeds to be measured.
  """
  total = 0.0
  for text in specifications:
    name, options = _parse(text)
    options, share = _options(name) | options, 1.0
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


def _parse(text: str) -> tuple[str, dict[str, Any]]:
  return heads.parse(text, kind="measure", example="pgd:epsilon=2")


def _options(name: str) -> dict[str, Any]:
  """Return the options of a measure with their defaults."""
  if name in OF_PREDICTIONS:
    return {}
  parameters = inspect.signature(OF_MODELS[name]).parameters.values()
  return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
