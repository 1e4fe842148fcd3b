"""Evaluation: the maps of a trained network scored, and some of them kept to be shown."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from experiments import assembly, classifiers, pictures
from experiments.localization import maps, scores
from experiments.localization.scenes import Material
from experiments.many.task import in_batches
from softmax_research import data, information, training

_NUM_EXAMPLES = 6

#: From a state and its predictions to the localisation and to examples.
Judge = Callable[[training.TrainState, classifiers.Predictions], tuple[dict[str, Any], list[dict]]]


def make_judge(config: ConfigDict, material: Material, splits: assembly.Splits) -> Judge:
  """Make the function that judges a trained network's maps.

  Args:
    config: a checked configuration.
    material: the scenes.
    splits: the same as splits.

  Returns:
    A function of one seed's state and its predictions. It returns the localisation and examples,
    both for a record.
  """
  preprocess = functools.partial(data.standardise, mean=splits.mean, std=splits.std)
  compute = maps.make_mapper(config.backbone.to_dict(), preprocess)
  fixed = scores.fixed_box(material.validation.boxes, material.test.boxes)

  def maps_of(state, scenes, log_probs):
    def batch(*arrays):
      return (compute(state.params, state.model_state, *arrays),)

    return in_batches(batch, scenes.images, scenes.labels, log_probs)[0]

  def judge(state, predictions):
    test = material.test
    predicted = np.argmax(predictions.test, axis=1)
    validation_maps = maps_of(state, material.validation, predictions.validation)
    test_maps = maps_of(state, test, predictions.test)
    scored = {
      kind: {
        smoothing: scores.score(
          validation_maps[:, i, j],
          material.validation.boxes,
          test_maps[:, i, j],
          test.boxes,
          predicted == test.labels,
        )
        for j, smoothing in enumerate(maps.SMOOTHINGS)
      }
      for i, kind in enumerate(maps.KINDS)
    }
    localisation = {
      "levels": list(scores.LEVELS),
      "thresholds": list(scores.THRESHOLDS),
      "maps": scored,
      "fixed_box": fixed,
      "mean_share": maps.mean_share(state.params["head"]["kernel"]),
    }
    return localisation, _examples(material, predicted, test_maps[:, :, 0], scored)

  return judge


def _examples(material, predicted, test_maps, scored) -> list[dict[str, Any]]:
  """Return the first test scenes with their maps, and the boxes found in these, for a record."""
  level = scores.LEVELS.index(0.5)
  cuts = [scored[kind]["plain"]["chosen"]["thresholds"][level] for kind in maps.KINDS]
  test, names = material.test, material.class_names
  return [
    {
      "image": pictures.to_text(test.images[i].squeeze()),
      "label": names[test.labels[i]],
      "predicted": names[predicted[i]],
      "box": list(map(float, test.boxes[i])),
      "maps": [pictures.to_text(_as_bytes(activation)) for activation in test_maps[i]],
      "found": [
        list(map(float, information.bounding_box(activation, threshold=cut)))
        for activation, cut in zip(test_maps[i], cuts, strict=True)
      ],
    }
    for i in range(min(_NUM_EXAMPLES, len(test.labels)))
  ]


def _as_bytes(activation: np.ndarray) -> np.ndarray:
  """Return a map's positive part in 256 steps of its maximum, which a picture cannot tell apart."""
  positive = np.maximum(activation, 0)
  return np.round(255 * positive / max(positive.max(), np.finfo(np.float32).tiny)).astype(np.uint8)
