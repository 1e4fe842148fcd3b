"""Studies: the form of a paper's configuration whose numbers are those of existing studies.

As in `configs/tables.py`, `get_config()` returns `paper` and two variants. A variant holds
`deviations` from the paper, in words, `studies` by name, which are runs of other scripts, and
`settings` by name, which say what of a study's results stands beside which numbers of the paper.
"""

from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict


def study(script: str, *arguments: str, seeds: int, seconds: float) -> ConfigDict:
  """Return a study.

  Args:
    script: a module of `experiments`, as `many_classes`.
    *arguments: its flags but for `--workdir`; `{seeds}` stands for the number of seeds.
    seeds: runs of each method.
    seconds: estimate of the time of the whole, on two cores.

  Example:
    >>> study("many_classes", "--config.seeds={seeds}", seeds=2, seconds=60).seeds
    2
  """
  return ConfigDict(
    {"script": script, "arguments": arguments, "seeds": seeds, "seconds": float(seconds)}
  )


def setting(
  study: str,
  methods: Sequence[tuple[str, str]],
  *,
  metrics: Sequence[str],
  published: str = "",
  **where: Any,
) -> ConfigDict:
  """Return a setting.

  Args:
    study: its name.
    methods: pairs of a name, as the paper's data have it, and the study's own name.
    metrics: what the table shows; see `experiments/reproduction/study_records.py`.
    published: the setting's name in the paper's data; by default its own.
    **where: which of the study's records it takes.
  """
  return ConfigDict(
    {
      "study": study,
      "methods": tuple(methods),
      "metrics": tuple(metrics),
      "published": published,
      "protocol": "study",
      "where": where,
    }
  )


def variant(
  studies: dict[str, ConfigDict], settings: dict[str, ConfigDict], *, deviations: Sequence[str]
) -> ConfigDict:
  """Return a variant: studies and settings by name, and each difference from the paper."""
  return ConfigDict(
    {
      "studies": ConfigDict(studies),
      "settings": ConfigDict(settings),
      "deviations": tuple(deviations),
    }
  )
