"""Tables: the form of a paper's configuration, whose variants hold settings and methods.

`get_config()` of a paper returns `paper`, the name of its numbers, and two variants: `full`, the
paper's protocol, which `experiments.reproduce` runs by default, and `cpu`, what two cores can run.
A variant holds `seeds`, `deviations`, every difference from the paper in words, and `settings` by
name. Where a paper's numbers are those of other experiments, it also holds these as `studies`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from configs import default

_SETTING = {
  # What is compared: a name, as the paper's data have it, and a head.
  "methods": (),
  # What the table shows beside the paper's numbers.
  "metrics": ("accuracy",),
  # "train", or "cross_validation" on the training split.
  "protocol": "train",
  "folds": 10,
  # Whether a fold goes on with the model of the one before, which has seen its examples.
  "carry_over": False,
  # Examples of the training split that are used; 0 for all.
  "num_train": 0,
  # What becomes of the images before training; see experiments/reproduction/protocols.py.
  "transform": "none",
  # What is measured on a trained model beside its accuracy; see
  # experiments/reproduction/measures.py.
  "measures": (),
  # The setting's name in the paper's data; by default its own.
  "published": "",
  # Keys of `train` with the values to try, as (("optimizer.learning_rate", (1e-3, 1e-2)),): each
  # method takes those of its best trial on the validation split.
  "search": (),
  "search_seeds": 1,
  # Runs of each method; 0 for as many as the variant says.
  "seeds": 0,
  # Whether its cells are skipped, not failed, where its data are not there.
  "optional": False,
}


def cnn(
  dataset: str,
  stages: Sequence[Sequence[int]],
  dense: int,
  num_epochs: int,
  batch_size: int,
  *,
  net: Mapping[str, Any],
  **changes: Any,
) -> ConfigDict:
  """Return the training of a convolutional net with a dense layer and other options of its own."""
  return default.get_config(
    dataset=dataset,
    backbone={"name": "cnn", "stages": stages, "dense": (dense,), **net},
    num_epochs=num_epochs,
    batch_size=batch_size,
    **changes,
  )


def setting(train: ConfigDict, methods: Sequence[tuple[str, str]], **options: Any) -> ConfigDict:
  """Return a setting: how models are trained, which methods are compared, and other options.

  Of the training's configuration `heads` and `seeds` are set for each cell.
  """
  if unknown := sorted(set(options) - set(_SETTING)):
    raise ValueError(f"a setting has no {', '.join(unknown)}; it has {', '.join(_SETTING)}")
  return ConfigDict(_SETTING | {"methods": tuple(methods), "train": train} | options)


def setting_of_study(
  study: str,
  methods: Sequence[tuple[str, Mapping[str, Any]]],
  *,
  metrics: Sequence[str],
  published: str = "",
  **items: Any,
) -> ConfigDict:
  """Return a setting whose cells are another study's.

  Args:
    study: its name among the variant's `studies`.
    methods: pairs of a name, as the paper's data have it, and items of the study's cell.
    metrics: what the table shows; see `experiments/reproduction/borrowed.py`.
    published: the setting's name in the paper's data; by default its own.
    **items: of the cells of all methods. What is no item of a cell says which of a record's numbers
      count.
  """
  return ConfigDict(
    {
      "study": study,
      "methods": tuple((name, dict(of_method)) for name, of_method in methods),
      "metrics": tuple(metrics),
      "protocol": "study",
      "published": published,
      "items": items,
    }
  )


def variant(
  settings: Mapping[str, ConfigDict],
  *deviations: str,
  seeds: int = 5,
  studies: Mapping[str, tuple[str, Mapping[str, Any]]] | None = None,
) -> ConfigDict:
  """Return a variant of a paper's table: settings and studies by name, and runs of each method.

  Of another study, some of whose cells are the table's, there are its name in records and settings:
  its configuration, or `seeds` and what else is not as by default.
  """
  lent = {key: {"name": of, "settings": own} for key, (of, own) in (studies or {}).items()}
  return ConfigDict(
    {
      "seeds": seeds,
      "deviations": deviations,
      "settings": ConfigDict(settings),
      "studies": lent,
    }
  )


def table(
  paper: str, *, full: ConfigDict, cpu: ConfigDict, deviations: Sequence[str] = ()
) -> ConfigDict:
  """Return a paper's table; the deviations are those of both variants, before their own."""
  found = ConfigDict({"paper": paper, "full": full, "cpu": cpu})
  for variant in ("full", "cpu"):
    found[variant].deviations = (*deviations, *found[variant].deviations)
  return found


def num_seeds(variant: ConfigDict, name: str) -> int:
  """Return how many runs of each method a variant's setting has."""
  setting = variant.settings[name]
  if setting.protocol == "study":
    return variant.studies[setting.study].settings.seeds
  return setting.seeds or variant.seeds
