"""Evaluation: the maps of a trained network scored, and some of them kept to be shown."""

import functools
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from experiments import assembly, runs
from experiments.localization import maps, scores
from experiments.localization.scenes import Material
from experiments.many.task import in_batches
from softmax_research import data, information, training

_NUM_EXAMPLES = 6

Judge = Callable[[training.TrainState, runs.Predictions], tuple[dict[str, Any], dict[str, Any]]]


def make_judge(config: ConfigDict, material: Material, splits: assembly.Splits) -> Judge:
  """Make the function that judges a trained network's maps.

  Args:
    config: a checked configuration.
    material: the scenes.
    splits: the same as splits.

  Returns:
    A function of one seed's state and its predictions. It returns the localisation for a record,
    and examples as arrays by name.
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
      "levels": scores.LEVELS,
      "thresholds": scores.THRESHOLDS,
      "maps": scored,
      "fixed_box": fixed,
      "mean_share": maps.mean_share(state.params["head"]["kernel"]),
    }
    return localisation, _examples(material, predicted, test_maps[:, :, 0], scored)

  return judge


def _examples(material, predicted, test_maps, scored) -> dict[str, np.ndarray]:
  """Collect the first test scenes with their maps, and the boxes found in these."""
  level = scores.LEVELS.index(0.5)
  cuts = [scored[kind]["plain"]["chosen"]["thresholds"][level] for kind in maps.KINDS]
  rows = slice(0, _NUM_EXAMPLES)
  found = [
    [information.bounding_box(one, threshold=cut) for one, cut in zip(of_scene, cuts, strict=True)]
    for of_scene in test_maps[rows]
  ]
  names = np.array(material.class_names)
  return {
    "images": material.test.images[rows],
    "labels": names[material.test.labels[rows]],
    "predicted": names[predicted[rows]],
    "boxes": material.test.boxes[rows],
    "maps": test_maps[rows],
    "found": np.array(found),
  }


def example_path(workdir: pathlib.Path, head: str, seed: int) -> pathlib.Path:
  """Name the file of a run's examples."""
  return workdir / "examples" / f"{runs.file_name(head)}-seed{seed}.npz"


def save_examples(
  workdir: pathlib.Path, head: str, seed: int, examples: dict[str, np.ndarray]
) -> None:
  """Write examples whole or not at all."""
  path = example_path(workdir, head, seed)
  path.parent.mkdir(exist_ok=True)
  partial = path.with_suffix(".partial")
  with partial.open("wb") as file:
    np.savez_compressed(file, **examples)
  partial.replace(path)


def summarise(record: dict[str, Any]) -> str:
  """Say in a line how a run ended."""
  text = runs.summarise(record)
  if "localisation" not in record:
    return text
  level = scores.LEVELS.index(0.5)
  found = record["localisation"]["maps"]
  shares = [f"{kind} {found[kind]['plain']['chosen']['known'][level]:.1%}" for kind in maps.KINDS]
  return f"{text}; boxes found at 0.5: {', '.join(shares)}"
