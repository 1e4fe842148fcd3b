"""Classifiers: from a configuration to a head's trained seeds, for every study that trains them."""

from experiments.classifiers.trained import (
  EpochHook,
  Predictions,
  Trained,
  estimate,
  evaluate,
  judge,
  load_predictions,
  make_programs,
  predict,
  prediction_path,
  save_predictions,
  speed,
  summarise,
  train,
)

__all__ = [
  "EpochHook",
  "Predictions",
  "Trained",
  "estimate",
  "evaluate",
  "judge",
  "load_predictions",
  "make_programs",
  "predict",
  "prediction_path",
  "save_predictions",
  "speed",
  "summarise",
  "train",
]
