"""Provenance: how, where, when and with what records were made, for every study alike."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from softmax_research.study.record import NOT_RECORDED, duration
from softmax_research.study.study import flatten


class Provenance(NamedTuple):
  """Say how records were made: facts, as `("device", "cpu x 1")`, and settings by dotted names."""

  facts: list[tuple[str, str]]
  config: list[tuple[str, str]]


def provenance(
  records: Sequence[Mapping[str, Any]],
  *,
  command: str | None = None,
  config: Mapping[str, Any] | None = None,
) -> Provenance:
  """Collect how records were made; a fact in which they differ lists every value.

  The command is by default what the records name, and the settings those of the last record.
  """
  # An ensemble follows from runs, and is none.
  runs = [made for made in records if "ensemble" not in made["cell"]]
  runs.sort(key=lambda made: str(made["time"].get("finished_at") or ""))
  last = runs[-1] if runs else {}
  datasets = [_dataset(made["measured"].get("dataset")) for made in runs]
  seconds = [s for made in runs if (s := made["time"].get("seconds")) is not None]
  facts = [
    ("command", command or _distinct([made["command"] for made in runs])),
    ("dataset", _distinct(datasets)),
    ("runs", _runs(runs)),
    ("device", _distinct([made["device"] for made in runs])),
    ("versions", _distinct([", ".join(map(" ".join, m["versions"].items())) for m in runs])),
    ("git revision", _distinct([made["revision"] for made in runs])),
    ("time of the runs", duration(sum(seconds) if seconds else math.nan)),
    ("finished", (last.get("time") or {}).get("finished_at") or NOT_RECORDED),
  ]
  if not any(datasets):
    del facts[1]
  settings = flatten(last.get("config") or {} if config is None else config)
  return Provenance(facts, [(name, str(value)) for name, value in settings.items()])


def _runs(runs: Sequence[Mapping[str, Any]]) -> str:
  cells = len({str(made["cell"]) for made in runs})
  seeds = sorted({made["seed"] for made in runs if made["seed"] is not None})
  text = f"{len(runs)}: {_count(cells, 'cell')}"
  if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
    return f"{text}, seeds {seeds[0]} to {seeds[-1]}"
  return f"{text}, seeds {', '.join(map(str, seeds))}" if seeds else text


def _dataset(dataset: Any) -> str | None:
  if not isinstance(dataset, Mapping):
    return str(dataset) if dataset else None
  sizes = [
    f"{dataset[f'num_{split}']:,} {word}"
    for split, word in (("train", "training"), ("validation", "validation"), ("test", "test"))
    if dataset.get(f"num_{split}") is not None
  ]
  if dataset.get("num_classes") is not None:
    sizes.append(_count(dataset["num_classes"], "class", "classes"))
  name = str(dataset.get("name") or NOT_RECORDED)
  return f"{name}: {', '.join(sizes)}" if sizes else name


def _distinct(values: Sequence[str | None]) -> str:
  """Return the distinct values, in the order of their first record."""
  return "; ".join(dict.fromkeys(value for value in values if value)) or NOT_RECORDED


def _count(number: int, noun: str, plural: str | None = None) -> str:
  return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
