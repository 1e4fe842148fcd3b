"""Measures: what is measured on trained models beside their accuracy, by name.

Those of predictions know a model's log-probabilities; those of models can ask a model of any
image, and have options, as `pgd:epsilon=2`.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from ml_collections import ConfigDict

from experiments import assembly, runs
from experiments.reproduction import calibration, features, robustness
from softmax_research import heads, training


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


def of_predictions(
  specifications: Sequence[str], predictions: runs.Predictions, splits: assembly.Splits
) -> dict[str, Any]:
  """Measure one model's predictions.

  Args:
    specifications: of measures; those of models are passed over.
    predictions: the model's.
    splits: the data.

  Returns:
    What each measure found, in one dictionary.
  """
  found = {}
  for name in specifications:
    if name in OF_PREDICTIONS:
      found |= OF_PREDICTIONS[name](predictions, splits)
  return found


def of_models(
  specifications: Sequence[str],
  config: ConfigDict,
  splits: assembly.Splits,
  programs: training.ParallelPrograms,
  head: str,
  seeds: Sequence[int],
) -> Callable[[training.TrainState], list[dict[str, Any]]] | None:
  """Return the function that measures the trained models of a cell.

  Args:
    specifications: of measures; those of predictions are passed over.
    config: a checked configuration.
    splits: the data; the test split is used.
    programs: that train the cell.
    head: the cell's.
    seeds: likewise.

  Returns:
    From trained states to what was found, a dictionary a run; None where nothing is to be measured.

  Raises:
    ValueError: the images do not fit the measures.
  """
  if not have_models(specifications):
    return None
  robustness.check_images(splits.test)
  parsed = [_parse(text) for text in specifications]
  chosen = [(OF_MODELS[name], options) for name, options in parsed if name in OF_MODELS]

  def measure(states):
    found = []
    for model in robustness.models(config, splits, programs, states, head, seeds):
      each = [function(model, splits.test, **options) for function, options in chosen]
      found.append({key: value for of in each for key, value in of.items()})
    return found

  return measure


def _parse(text: str) -> tuple[str, dict[str, Any]]:
  return heads.parse(text, kind="measure", example="pgd:epsilon=2")


def _options(name: str) -> list[str]:
  if name in OF_PREDICTIONS:
    return []
  parameters = inspect.signature(OF_MODELS[name]).parameters.values()
  return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]


#: Functions of a model's predictions and the data, by name.
OF_PREDICTIONS: dict[str, Callable[..., dict[str, Any]]] = {"calibration": calibration.calibrations}

#: Functions of a model and a split, by name.
OF_MODELS: dict[str, Callable[..., dict[str, Any]]] = {
  **robustness.MEASURES,
  "features": features.measure,
}
