"""Provenance of a report: how, where, when and with what its runs were made."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from softmax_research.reporting.records import HeadRecords, as_float


class Provenance(NamedTuple):
  """Say how the runs were made.

  Attributes:
    facts: Pairs of a name and a value, such as `("device", "cpu x 1")`.
    config: Pairs of a dotted name and a value: the configuration of the runs.
  """

  facts: list[tuple[str, str]]
  config: list[tuple[str, str]]


def provenance(heads: list[HeadRecords], *, command: str | None = None) -> Provenance:
  """Collect how the runs were made.

  Args:
    heads: Heads with their runs.
    command: Command that made the results; by default the one that the last run records.

  Returns:
    Facts and configuration. A fact in which the runs differ lists every value.
  """
  runs = [run for head in heads for run in (*head.finished.values(), *head.diverged.values())]
  runs.sort(key=lambda run: str(run.get("finished_at") or ""))
  seeds = sorted({seed for head in heads for seed in (*head.finished, *head.diverged)})
  command = command or runs[-1].get("command")
  made = made_with(runs)
  facts = [
    ("command", command or "not recorded"),
    ("dataset", _dataset(runs[-1].get("dataset") or {})),
    ("runs", f"{len(runs)}: {_count(len(heads), 'head')}, seeds {', '.join(map(str, seeds))}"),
    ("device", made["device"]),
    ("versions", made["versions"]),
    ("git revision", made["git_revision"]),
    ("training time", _duration(sum(as_float(run.get("wall_seconds", 0)) for run in runs))),
    ("finished", made["finished_at"]),
  ]
  return Provenance(facts, _flatten(runs[-1].get("config") or {}))


def made_with(records: Sequence[dict[str, Any]]) -> dict[str, str]:
  """Say with what, on what, from which revision and until when records were made.

  Args:
    records: Records of runs, in any order.

  Returns:
    `versions`, `device` and `git_revision`, each with every value that the records have, and
    `finished_at`, the latest.

  Example:
    >>> found = made_with([{"device": "cpu x 1"}, {"device": "cpu x 2"}, {"device": "cpu x 1"}])
    >>> found["device"], found["versions"]
    ('cpu x 1; cpu x 2', 'not recorded')
  """
  return {
    "versions": _distinct([_versions(record.get("versions")) for record in records]),
    "device": _distinct([record.get("device") for record in records]),
    "git_revision": _distinct([record.get("git_revision") for record in records]),
    "finished_at": max((record.get("finished_at") or "" for record in records), default="")
    or "not recorded",
  }


def _dataset(dataset: dict) -> str:
  """Describe a dataset by its name and sizes."""
  sizes = [
    f"{dataset[f'num_{split}']:,} {word}"
    for split, word in (("train", "training"), ("validation", "validation"), ("test", "test"))
    if dataset.get(f"num_{split}") is not None
  ]
  if dataset.get("num_classes") is not None:
    sizes.append(_count(dataset["num_classes"], "class", "classes"))
  name = dataset.get("name") or "not recorded"
  return f"{name}: {', '.join(sizes)}" if sizes else name


def _versions(versions: dict | None) -> str | None:
  """Return versions on one line."""
  return ", ".join(f"{name} {version}" for name, version in (versions or {}).items()) or None


def _distinct(values: list[str | None]) -> str:
  """Return the distinct values in their alphabetical order, or say that there is none."""
  return "; ".join(sorted({value for value in values if value})) or "not recorded"


def _flatten(config: dict, prefix: str = "") -> list[tuple[str, str]]:
  """Return a nested configuration as dotted names and values."""
  pairs = []
  for key, value in config.items():
    if isinstance(value, dict) and value:
      pairs += _flatten(value, f"{prefix}{key}.")
    else:
      pairs.append((f"{prefix}{key}", str(value)))
  return pairs


def _duration(seconds: float) -> str:
  """Return a duration in the two largest units that it fills."""
  if math.isnan(seconds):
    return "not recorded"
  if seconds < 60:
    return f"{seconds:.1f} s"
  minutes, rest = divmod(round(seconds), 60)
  if minutes < 60:
    return f"{minutes} min {rest} s"
  return f"{minutes // 60} h {minutes % 60} min"


def _count(number: int, noun: str, plural: str | None = None) -> str:
  """Return a number with its noun."""
  return f"{number} {noun if number == 1 else plural or noun + 's'}"
