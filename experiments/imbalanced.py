"""Imbalanced data: classes made unequal, test sets for them, and predictions under a prior."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from configs import default, imbalance_mnist
from experiments import assembly
from softmax_research import data, functional, registry
from softmax_research.functional.arrays import check_integer
from softmax_research.training.metrics import bins_of

#: For each judgement what it is, in the order of the report.
JUDGEMENTS = {
  "balanced": "the test split, every class weighing the same",
  "training": "the test split, classes weighing as in training",
  "capped": "test_range of the training split, capped as training is",
}
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
  check_integer("size", size, 1, len(labels), "So many examples are in train_range.")
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
  common = set(default.get_config()) & set(known)
  assembly.check_config(default.get_config(**{key: config[key] for key in common}))
  registry.split(config.control_heads)
  for name in names(config):
    PROFILES.parse(name)
  ranges = {key: _check_range(key, config[key]) for key in _RANGES}
  taken = sorted((interval, key) for key, interval in ranges.items() if interval)
  for (first, key), (second, other) in itertools.pairwise(taken):
    if second[0] < first[1]:
      raise ValueError(
        f"Got {key}={first} and {other}={second}, which share examples; what is tested must not be "
        "trained on. Give ranges that lie apart."
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
    if np.any(split.labels == dataset.ignore_label):
      raise ValueError(
        f"The {where} of {dataset.name} has examples without a label, which nothing judges. Leave "
        "them out."
      )
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


def judge(setting: Setting, head: str, validation: np.ndarray, test: np.ndarray) -> dict[str, Any]:
  """Judge a run's log-probabilities on the validation split and on the test sets of its setting.

  Returns:
    For `validation` and each of `JUDGEMENTS` that there is a dictionary: `as_is` the metrics of
    the predictions, `moved` of those moved by `functional.shift_prior` from the prior they were
    made under to the one that they are judged under.
  """
  counts = setting.counts
  training, balanced = counts / counts.sum(), np.full(len(counts), 1 / len(counts))
  own = prior_of_predictions(head, training)
  num_test = len(setting.test.labels)
  cases = {
    "validation": (validation, setting.splits.validation.labels, balanced),
    "balanced": (test[:num_test], setting.test.labels, balanced),
    "training": (test[:num_test], setting.test.labels, training),
  }
  if setting.capped is not None:
    labels = setting.capped.labels
    present = np.bincount(labels, minlength=len(counts)) / len(labels)
    cases["capped"] = (test[num_test:], labels, present)
  return {
    name: {
      "as_is": evaluate_under(log_probs, labels, prior),
      "moved": evaluate_under(_move(log_probs, own, prior), labels, prior),
    }
    for name, (log_probs, labels, prior) in cases.items()
  }


def prior_of_predictions(head: str, training: np.ndarray) -> np.ndarray:
  r"""Return the class prior behind a head's predictions, `[K]`, by that of training, `[K]`.

  A loss with the prior inside leaves it out of the predictions; :math:`\tau \log P` in the loss
  leaves :math:`P^{1 - \tau}`.

  Example:
    >>> prior_of_predictions("pc_softmax", np.array([0.8, 0.2])).tolist()
    [0.5, 0.5]
  """
  name, options = registry.parse(head)
  tau = {"pc_softmax": 1.0, "prior_shift": 1.0, "logit_adjusted": options.get("tau", 1.0)}
  power = training ** (1 - tau.get(name, 0.0))
  return power / power.sum()


def evaluate_under(log_probs: np.ndarray, labels: np.ndarray, prior: np.ndarray) -> dict[str, Any]:
  r"""Compute metrics as they would be were the classes drawn by a prior.

  .. math:: w_i = \pi_{y_i} / n_{y_i}

  weights the examples, where n counts those of each class; p(x | y) stays as it is. The prior of a
  class without examples is 0.

  Returns:
    `accuracy`, `macro_accuracy` (which no prior changes), `nll` (None where it is infinite), `ece`
    and `per_class_accuracy` `[K]` (None for a class without examples).
  """
  log_probs = np.asarray(log_probs, np.float64)
  counts = np.bincount(labels, minlength=len(prior))
  weights = prior[labels] / counts[labels]
  right = np.argmax(log_probs, axis=1) == labels
  per_class = np.bincount(labels, weights=right, minlength=len(prior)) / np.maximum(counts, 1)
  confidence = np.exp(np.max(log_probs, axis=1))
  gaps = np.bincount(bins_of(confidence), weights=weights * (right - confidence))
  nll = -np.sum(weights * log_probs[np.arange(len(labels)), labels])
  return {
    "accuracy": float(weights @ right),
    "macro_accuracy": float(per_class[counts > 0].mean()),
    "nll": float(nll) if np.isfinite(nll) else None,
    "ece": float(np.abs(gaps).sum()),
    "per_class_accuracy": [
      float(value) if count else None for value, count in zip(per_class, counts, strict=True)
    ],
  }


def _move(log_probs: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
  with np.errstate(divide="ignore"):  # A test set may lack a class.
    priors = [jnp.asarray(np.log(prior), jnp.float32) for prior in (before, after)]
  return np.asarray(functional.shift_prior(log_probs, *priors))
