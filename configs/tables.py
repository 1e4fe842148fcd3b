"""Tables: the form of a paper's configuration, whose variants hold settings and methods.

`get_config()` of a paper returns `paper`, the name of its numbers, and two variants: `full`, the
paper's protocol, and `cpu`, what two cores can run. A variant holds `seeds`, `seeds_together`,
`deviations` from the paper, in words, and `settings` by name.
"""

from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

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
  # What becomes of the images before training; see experiments/reproduction/inputs.py.
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


def setting(train: ConfigDict, methods: Sequence[tuple[str, str]], **options: Any) -> ConfigDict:
  """Return a setting: how models are trained, and which methods are compared.

  Args:
    train: the keys of `configs/default.py`; `heads` and `seeds` are set for each cell.
    methods: pairs of a name and a head.
    **options: keys of a setting other than their defaults.

  Raises:
    ValueError: an option is unknown.

  Example:
    >>> from configs import default
    >>> setting(default.get_config(), [("softmax", "softmax")]).protocol
    'train'
  """
  if unknown := sorted(set(options) - set(_SETTING)):
    raise ValueError(f"a setting has no {', '.join(unknown)}; it has {', '.join(_SETTING)}")
  return ConfigDict(_SETTING | {"methods": tuple(methods), "train": train} | options)


def variant(
  settings: dict[str, ConfigDict], *, deviations: Sequence[str], seeds: int = 5
) -> ConfigDict:
  """Return a variant of a paper's table.

  Args:
    settings: of `setting`, by name.
    deviations: each difference from the paper's protocol, a sentence.
    seeds: runs of each method.
  """
  return ConfigDict(
    {
      "seeds": seeds,
      # Seeds that train in one program; 0 for all of them.
      "seeds_together": 0,
      "deviations": tuple(deviations),
      "settings": ConfigDict(settings),
    }
  )


def table(paper: str, *, full: ConfigDict, cpu: ConfigDict) -> ConfigDict:
  """Return the configuration of a paper's table."""
  return ConfigDict({"paper": paper, "full": full, "cpu": cpu})
