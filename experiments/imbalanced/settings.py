"""Settings: a data set with its classes made unequal, and the test sets that judge it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from configs import default, imbalance_mnist
from experiments import assembly
from softmax_research import data, registry

_RANGES = ("train_range", "validation_range", "test_range")


class Setting(NamedTuple):
  """Hold a training set of unequal classes with its validation and test sets.

  Attributes:
    splits: for training; its test split holds the test sets one after the other.
    test: the data set's own test split.
    capped: a part of its training split capped as the training set is, or None.
  """

  splits: assembly.Splits
  test: data.Split
  capped: data.Split | None

  @property
  def counts(self) -> np.ndarray:
    """Return the number of training examples of each class, `[K]`."""
    return np.bincount(self.splits.train.labels, minlength=self.splits.num_classes)

  def describe(self) -> dict[str, Any]:
    """Return the record of the data that stands beside a result."""
    return self.splits.describe() | {
      "num_test": len(self.test.labels),
      "num_capped": 0 if self.capped is None else len(self.capped.labels),
      "class_counts": self.counts.tolist(),
    }


def natural(num_classes: int, labels: np.ndarray, *, size: int) -> np.ndarray:
  """Leave the classes of the first examples as they come."""
  if not 1 <= size <= len(labels):
    raise ValueError(
      f"Got size={size!r} for the setting 'natural'; it must be an integer from 1 to "
      f"{len(labels)}, the examples in train_range."
    )
  return np.bincount(labels[:size], minlength=num_classes)


#: Class counts by name: functions of the number of classes; of `natural`, also of the labels.
PROFILES = registry.Registry(
  "setting",
  {
    "alternating": data.alternating_counts,
    "long_tailed": data.long_tailed_counts,
    "natural": natural,
    "step": data.step_counts,
  },
  example="step:largest=1000:ratio=10",
  given=("num_classes", "labels"),
)


def check_config(config: ConfigDict) -> None:
  known = imbalance_mnist.get_config()
  assembly.check_keys(config, known, "imbalance_mnist")
  common = default.get_config()
  for key in set(common) & set(known):
    common[key] = config[key]
  assembly.check_config(common)
  registry.split(config.control_heads)
  for name in names(config):
    PROFILES.parse(name)
  taken = [(key, _check_range(key, config[key])) for key in _RANGES]
  taken = [(key, interval) for key, interval in taken if interval]
  for i, (key, (start, stop)) in enumerate(taken):
    for other, (other_start, other_stop) in taken[:i]:
      if start < other_stop and other_start < stop:
        raise ValueError(
          f"Got {other}=({other_start}, {other_stop}) and {key}=({start}, {stop}), which share "
          "examples; what is tested must not be trained on. Give ranges that lie apart."
        )


def heads_of(config: ConfigDict, name: str) -> list[str]:
  """Return the heads that train in a setting: in a control those of `control_heads` alone."""
  trained = registry.split(config.heads)
  only = registry.split(config.control_heads) if is_control(config, name) else trained
  return [head for head in trained if head in only]


def is_control(config: ConfigDict, name: str) -> bool:
  """Say whether a setting is a control: its classes are within a factor of 2, or as they come.

  Its name says so, since which heads train has to be known before the data are loaded.
  """
  profile, options = PROFILES.parse(name)
  if profile == "natural":
    return True
  counts = PROFILES.find(profile)(assembly.num_classes(config), **options)
  return max(counts) < 2 * min(counts)


def names(config: ConfigDict) -> tuple[str, ...]:
  """Return the settings' specifications."""
  return registry.split(config.settings, kind=PROFILES.kind, example=PROFILES.example)


def make_settings(config: ConfigDict, wanted: Sequence[str]) -> dict[str, Setting]:
  """Load the data and make settings of a checked configuration, by their specifications."""
  dataset = assembly.load_dataset(config)
  pool, validation, capped = (_cut(dataset, key, config[key]) for key in _RANGES)
  for where, split in (("test split", dataset.test), ("validation_range", validation)):
    missing = np.setdiff1d(np.arange(dataset.num_classes), split.labels)
    if missing.size:
      raise ValueError(
        f"The {where} of {dataset.name} holds no example of the classes {missing.tolist()}; every "
        "class is judged. Give a longer range."
      )
  return {name: _make(name, dataset, pool, validation, capped, config) for name in wanted}


def _make(name, dataset, pool, validation, capped, config) -> Setting:
  profile, options = PROFILES.parse(name)
  labels = (pool.labels,) if profile == "natural" else ()
  counts = PROFILES.find(profile)(dataset.num_classes, *labels, **options)
  train = data.keep_first(pool, counts)
  found = np.bincount(train.labels, minlength=dataset.num_classes)
  for label in np.flatnonzero((found < counts) | (found == 0)):
    raise ValueError(
      f"The setting {name!r} needs {max(counts[label], 1)} training examples of class {label}; "
      f"train_range={tuple(config.train_range)} holds {np.sum(pool.labels == label)}. Ask for "
      "fewer, or give a longer range."
    )
  # Training knows one test split, so the test sets stand in one behind the other.
  test, together = dataset.test, dataset.test
  if capped is not None:
    capped = data.keep_first(capped, counts)
    together = data.Split(
      np.concatenate([test.images, capped.images]), np.concatenate([test.labels, capped.labels])
    )
  return Setting(assembly.make_splits(dataset, train, validation, together), test, capped)


def _cut(dataset: data.Dataset, key: str, interval: tuple[int, ...]) -> data.Split | None:
  if not len(interval):
    return None
  start, stop = interval
  if stop > len(dataset.train.labels):
    raise ValueError(
      f"Got {key}=({start}, {stop}) for {dataset.name}, whose training split holds "
      f"{len(dataset.train.labels)} examples; a range must not end beyond them."
    )
  return data.Split(*(array[start:stop] for array in dataset.train))


def _check_range(key: str, interval: Any) -> tuple[int, ...]:
  if key == "test_range" and isinstance(interval, list | tuple) and not interval:
    return ()
  pair = isinstance(interval, list | tuple) and len(interval) == 2
  if not (pair and all(type(end) is int for end in interval) and 0 <= interval[0] < interval[1]):
    raise ValueError(
      f"Got {key}={interval!r}; it must be two places in the training split, the first below the "
      "second, as (0, 40000)" + (", or () for none." if key == "test_range" else ".")
    )
  return tuple(interval)
