"""Protocol: a variant of a paper's table, checked before any work."""

import hashlib
import json
from typing import Any

from ml_collections import ConfigDict

from experiments import assembly, runs
from experiments.reproduction import inputs, measures, search
from experiments.reproduction.variant import Variant, check_methods
from softmax_research.reporting import papers

VARIANTS = ("full", "cpu")
_PROTOCOLS = ("train", "cross_validation")
# Keys of a setting on which a run's results do not depend; what a search chose is in the training.
_NO_CAUSES = (
  "train",
  "methods",
  "metrics",
  "published",
  "search",
  "search_seeds",
  "seeds",
  "optional",
)


class Protocol(Variant):
  """Hold a checked variant of a table that this package trains; see `configs/tables.py`."""

  def seeds(self, setting: str) -> int:
    """Return how many runs of each method a setting has."""
    # Of a table recorded earlier a setting has no number of its own.
    return self.setting(setting).get("seeds", 0) or self.config.seeds

  def train_config(
    self, setting: str, head: str, num_seeds: int, values: search.Values = ()
  ) -> ConfigDict:
    """Return the configuration, as of `configs/default.py`, that trains one method."""
    config = self.setting(setting).train.copy_and_resolve_references()
    config.heads, config.seeds = head, num_seeds
    search.change(config, values)
    return config

  def fingerprint(self, setting: str, head: str, values: search.Values = ()) -> str:
    """Name what a method's results depend on, in 12 digits."""
    plain = runs.to_json(self.train_config(setting, head, 1, values))
    rest = self.setting(setting).to_dict()
    for key in _NO_CAUSES:
      rest.pop(key, None)
    text = json.dumps([plain, rest], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]

  def describe(self) -> dict[str, Any]:
    """Return the protocol as JSON holds it; where data lie is not part of it."""
    plain = super().describe()
    for setting in plain["settings"].values():
      del setting["train"]["data_dir"], setting["train"]["cache_dir"]
    return plain


def seeds_together(config: ConfigDict, variant: str) -> int:
  """Return the most seeds that train in one program; unlike `make_protocol` it asks JAX nothing.

  Raises:
    ValueError: it is no configuration of a paper, or there are no seeds.
  """
  if "paper" not in config or variant not in config:
    raise ValueError(
      f"Got a configuration without a paper or without the variant {variant!r}; give the "
      "configuration of a paper, as configs/liu2016.py."
    )
  chosen = config[variant]
  if not isinstance(chosen.seeds, int) or chosen.seeds < 1 or chosen.seeds_together < 0:
    raise ValueError(
      f"Got seeds={chosen.seeds!r}, seeds_together={chosen.seeds_together!r}; there must be at "
      "least 1 seed, and 0 (all) or more of them in one program."
    )
  return chosen.seeds_together or chosen.seeds


def make_protocol(config: ConfigDict, variant: str) -> Protocol:
  """Check a paper's configuration and take one variant of it.

  Args:
    config: of `configs/tables.py`.
    variant: `full` or `cpu`.

  Returns:
    The protocol.

  Raises:
    ValueError: it is no configuration of a paper, or a value is bad; the message says which.
  """
  seeds_together(config, variant)
  chosen = config[variant]
  protocol = Protocol(papers.load(config.paper), variant, chosen)
  for name, setting in chosen.settings.items():
    _check_setting(protocol, name, setting)
  return protocol


def _check_setting(protocol: Protocol, name: str, setting: ConfigDict) -> None:
  check_methods(name, setting)
  if setting.protocol not in _PROTOCOLS:
    raise ValueError(
      f"{name}: got protocol={setting.protocol!r}; it must be one of {', '.join(_PROTOCOLS)}."
    )
  if setting.num_train < 0:
    raise ValueError(f"{name}: got num_train={setting.num_train}; pass 0 for all, or more.")
  if setting.get("seeds", 0) < 0:
    raise ValueError(
      f"{name}: got seeds={setting.seeds}; pass 0 for as many as the variant has, or more."
    )
  inputs.check_transform(setting.transform)
  measures.check_names(setting.measures)
  whole = setting.protocol == "train" and setting.transform == "none"
  if measures.have_models(setting.measures) and not whole:
    raise ValueError(
      f"{name}: got measures={setting.measures} with protocol={setting.protocol!r} and "
      f"transform={setting.transform!r}; models are asked of images, under the protocol 'train' "
      "without a transform."
    )
  search.check(setting, protocol.seeds(name))
  for _, head in setting.methods:
    for values in search.trials(setting) or [()]:
      assembly.check_config(protocol.train_config(name, head, 1, values))
