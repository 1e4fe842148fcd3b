"""Material: from a configuration to the scenes of all splits, everything checked first."""

import pathlib
from collections.abc import Sequence

import numpy as np
from ml_collections import ConfigDict

from configs import default, localize_digits, localize_objects
from experiments import assembly
from experiments.localization import box_folder, scenes
from experiments.localization.scenes import Scenes
from softmax_research import data, registry
from softmax_research.functional.arrays import check_integer

# What makes scenes, and the file of the configuration whose keys they have.
_KINDS = {
  "digits": (scenes.digits, localize_digits),
  "objects": (scenes.objects, localize_objects),
}
# Keys of `scenes` that say how many there are and of what; the others are options of the maker.
_COUNTING = ("kind", "classes", "imbalance", "num_train", "num_validation", "num_test")


def check_config(config: ConfigDict) -> None:
  """Raise a ValueError for what can be seen to be wrong before data are loaded."""
  shown = config.get("scenes")
  kind = shown.get("kind") if isinstance(shown, ConfigDict) else None
  if kind not in _KINDS:
    raise ValueError(
      f"Got a configuration with scenes.kind={kind!r}; give "
      "--config=configs/localize_digits.py or --config=configs/localize_objects.py."
    )
  known, start = _KINDS[kind][1].get_config(), f"localize_{kind}"
  assembly.check_keys(config, known, start)
  of_scenes = ([f"scenes.{key}" for key in keys] for keys in (shown, known.scenes))
  assembly.check_keys(*of_scenes, start)
  assembly.check_config(ConfigDict({key: config[key] for key in default.get_config()}))
  for key in ("canvas", "num_train", "num_validation", "num_test"):
    check_integer(f"scenes.{key}", shown[key])
  if not shown.imbalance >= 1:
    raise ValueError(
      f"Got scenes.imbalance={shown.imbalance}; it says how many times as many scenes odd classes "
      "get as even ones, and is at least 1."
    )
  classes = tuple(shown.classes)
  most = assembly.num_classes(config)
  wrong = [label for label in classes if label not in range(most)]
  if wrong or len(set(classes)) != len(classes) or len(classes) == 1:
    raise ValueError(
      f"Got scenes.classes={classes}; give two or more different labels from 0 to {most - 1}, or "
      "() for all."
    )
  name, options = registry.parse(config.backbone)
  averages = options.get("global_average_pool") and options.get("dense") in ((), [])
  if name != "cnn" or not averages:
    raise ValueError(
      "Got a backbone without class activation maps; they need name='cnn', "
      "global_average_pool=True and dense=()."
    )


def make(config: ConfigDict) -> assembly.Splits:
  """Make the scenes of a checked configuration.

  Objects and clutter of training and validation scenes come from two parts of the training pool,
  those of test scenes from the test split. Training scenes are imbalanced as the configuration
  says; the others are balanced. The channels' statistics are those of training scenes.
  """
  name, made, names = _from_folder(config) if config.folder else _from_images(config)
  statistics = data.channel_statistics(made[0].images)
  return assembly.Splits(name, *made, len(names), names, *statistics)


def _from_images(config: ConfigDict) -> tuple[str, list[Scenes], tuple[str, ...]]:
  dataset = data.load(
    config.dataset, data_dir=config.data_dir or None, cache_dir=config.cache_dir or None
  )
  shown = config.scenes
  if dataset.train.images.ndim != 4:
    raise ValueError(f"Got dataset={config.dataset!r}; scenes are made from images.")
  classes = tuple(shown.classes) or tuple(range(dataset.num_classes))
  pool, test = (_only(split, classes) for split in (dataset.train, dataset.test))
  train, validation = data.split_train_validation(
    pool, fraction=config.validation_fraction, seed=config.split_seed
  )
  maker, _ = _KINDS[shown.kind]
  options = {key: value for key, value in shown.items() if key not in _COUNTING}
  made = []
  for number, (split, total, imbalance) in enumerate(
    (
      (train, shown.num_train, shown.imbalance),
      (validation, shown.num_validation, 1.0),
      (test, shown.num_test, 1.0),
    )
  ):
    odd = len(classes) // 2
    share = total / (len(classes) - odd + imbalance * odd)
    even, odd = (max(1, round(share * times)) for times in (1, imbalance))
    counts = data.alternating_counts(len(classes), even=even, odd=odd)
    made.append(maker(split, counts, seed=(config.split_seed, number), **options))
  names = tuple(dataset.class_names[label] for label in classes)
  return f"{shown.kind} from {config.dataset}", made, names


def _only(split: data.Split, classes: Sequence[int]) -> data.Split:
  """Keep some classes, whose labels become their places among them."""
  rows = np.flatnonzero(np.isin(split.labels, classes))
  places = np.argsort(classes)
  labels = places[np.searchsorted(np.sort(classes), split.labels[rows])]
  return data.Split(np.asarray(split.images[rows]), labels.astype(np.int32))


def _from_folder(config: ConfigDict) -> tuple[str, list[Scenes], tuple[str, ...]]:
  """Read the user's own images; some for training are set aside for validation."""
  pool, test, names = box_folder.read(config.folder, size=config.scenes.canvas)
  size = max(1, round(config.validation_fraction * len(pool.labels)))
  chosen = data.stratified_sample(pool.labels, size, seed=config.split_seed)
  kept = np.setdiff1d(np.arange(len(pool.labels)), chosen)
  parts = [Scenes(*(part[rows] for part in pool)) for rows in (kept, np.sort(chosen))]
  return f"folder {pathlib.Path(config.folder).name}", [*parts, test], names
