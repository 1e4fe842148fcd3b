"""Variant: one of the ways in which a paper's table is made, and what all of them share."""

import dataclasses
import re
from typing import Any

from ml_collections import ConfigDict

from softmax_research.reporting import papers


@dataclasses.dataclass(frozen=True)
class Variant:
  """Hold a checked variant of a paper's table.

  Attributes:
    paper: the paper's numbers.
    variant: the variant's name.
    config: the variant; see `configs/tables.py` and `configs/studies.py`.
  """

  paper: papers.Paper
  variant: str
  config: ConfigDict

  def setting(self, name: str) -> ConfigDict:
    """Return a setting."""
    return self.config.settings[name]

  def seeds(self, setting: str) -> int:
    """Return how many runs of each method a setting has."""
    raise NotImplementedError

  def describe(self) -> dict[str, Any]:
    """Return the table as JSON holds it."""
    return {"paper": self.paper.name, "variant": self.variant} | self.config.to_dict()


def check_methods(name: str, setting: ConfigDict) -> None:
  """Check that a setting has methods, each under a name of its own.

  Raises:
    ValueError: it has not.
  """
  labels = [label for label, _ in setting.methods]
  if not labels or len(set(labels)) < len(labels):
    raise ValueError(f"{name}: got the methods {labels}; give at least one, and each name once.")


def compile_only(only: str) -> re.Pattern[str]:
  """Return the regular expression of `--only`.

  Raises:
    ValueError: it is none.
  """
  try:
    return re.compile(only)
  except re.error as error:
    raise ValueError(f"Got --only={only!r}, no regular expression ({error}).") from None
