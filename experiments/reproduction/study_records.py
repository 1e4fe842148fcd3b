"""Study records: what a study appended to its results, as the records of a paper's table."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

_KEPT = ("versions", "device", "git_revision", "finished_at")


def translate(
  script: str, records: Sequence[Mapping[str, Any]], name: str, setting: ConfigDict
) -> list[dict[str, Any]]:
  """Take a setting's runs out of a study's records.

  Args:
    script: a key of `READERS`.
    records: the study's.
    name: the setting's.
    setting: of `configs/studies.py`.

  Returns:
    A record for each method and seed, with `metrics` of the test split as `observe` reads them.
  """
  methods = {own: method for method, own in setting.methods}
  return [
    {"kind": "run", "setting": name, "method": methods[run["head"]]} | run
    for record in records
    for run in READERS[script](record, setting.where)
    if run["head"] in methods
  ]


def _information(record: Mapping[str, Any], where: ConfigDict) -> Iterator[dict[str, Any]]:
  """Read a cell of `mutual_information`; `where` has parts of the cell.

  Metrics: `information`, the estimate, and `bias`, what it is above the truth; both in nats.
  """
  if any(record["cell"].get(key) != value for key, value in where.items()):
    return
  for run in record["runs"]:
    estimate = run["estimate"]
    bias = None if estimate is None else estimate - run["truth"]
    yield _run(record, run["estimator"], run["seed"], {"information": estimate, "bias": bias}) | {
      "wall_seconds": record["seconds"] / len(record["runs"])
    }


def _imbalance(record: Mapping[str, Any], where: ConfigDict) -> Iterator[dict[str, Any]]:
  """Read a run of `imbalance`; `where` has its `setting` and the `judgement` of its predictions.

  Metrics: `accuracy`, `macro_accuracy`, `nll` and `ece`.
  """
  if record["setting"] != where.setting:
    return
  judged = record["metrics"] and record["metrics"][where.judgement]["as_is"]
  yield _run(record, record["head"], record["seed"], judged) | {
    "wall_seconds": record["wall_seconds"]
  }


def _many(record: Mapping[str, Any], where: ConfigDict) -> Iterator[dict[str, Any]]:
  """Read a run of `many_classes`.

  Metrics: those of its test split, the `minutes` of its training and `step_ms`, of a step.
  """
  seconds, steps = (record["curves"][key][-1] for key in ("seconds", "steps"))
  judged = record["metrics"] and record["metrics"]["test"]
  yield _run(
    record,
    record["head"],
    record["seed"],
    judged and judged | {"minutes": seconds / 60, "step_ms": 1000 * seconds / steps},
  ) | {"wall_seconds": seconds}


#: For each script what turns one of its records into runs.
READERS: dict[str, Callable[..., Iterator[dict[str, Any]]]] = {
  "imbalance": _imbalance,
  "many_classes": _many,
  "mutual_information": _information,
}


def _run(record, head, seed, test) -> dict[str, Any]:
  return {
    "head": head,
    "seed": seed,
    "status": record.get("status", "finished"),
    "metrics": test and {"test": dict(test)},
    "measured": {},
  } | {key: record[key] for key in _KEPT}
