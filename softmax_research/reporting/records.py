"""Results as records: read a JSON-lines file and group its runs by head."""

import dataclasses
import json
import math
import pathlib
import warnings

from softmax_research.heads import split as split_specifications

# What every record of a kind must hold for a report to be made from it; other kinds are kept.
_REQUIRED = {
  "run": ("head", "seed", "status", "metrics"),
  "ensemble": ("head", "seeds", "metrics"),
}


@dataclasses.dataclass(frozen=True)
class HeadRecords:
  """Hold the records of one head.

  Attributes:
    name: The head as it was given in the flag, such as `taylor:order=4`.
    finished: Finished runs by seed, in the order of the seeds.
    diverged: Diverged runs by seed, in the order of the seeds.
    ensemble: The record of the ensemble of the seeds, or None.
  """

  name: str
  finished: dict[int, dict]
  diverged: dict[int, dict]
  ensemble: dict | None

  def values(self, metric: str, *, split: str = "test") -> dict[int, float]:
    """Return one metric of every finished run, by seed."""
    return {seed: metric_value(run, metric, split=split) for seed, run in self.finished.items()}


def metric_value(record: dict, metric: str, *, split: str = "test") -> float:
  """Return one metric of a record.

  JSON has no infinity: the null of an NLL stands for it, since a label had probability zero. Any
  other null is NaN.
  """
  metrics = record["metrics"][split]
  if metric == "nll" and "nll" in metrics and metrics["nll"] is None:
    return math.inf
  return as_float(metrics.get(metric))


def as_float(value: float | None) -> float:
  """Return a number of a record as a float, with null as NaN."""
  return math.nan if value is None else float(value)


def read_records(path: str | pathlib.Path) -> list[dict]:
  """Read a results file, one JSON object a line.

  A process that is killed while it appends leaves half a line at the end: that line is left out
  with a warning. Half a line anywhere else means that the file was damaged in another way.

  Args:
    path: A JSON-lines file.

  Returns:
    The records, in the order of the file.

  Raises:
    FileNotFoundError: There is no such file.
    ValueError: A line before the last is not JSON, a record lacks a field that its kind needs, or
      the file holds no record.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise FileNotFoundError(
      f"no results file at '{path}'; give the results.jsonl of an experiment's workdir"
    )
  lines = path.read_bytes().split(b"\n")
  records = []
  for number, line in enumerate(lines, start=1):
    if not line.strip():
      continue
    try:
      record = json.loads(line.decode("utf-8"))
    except ValueError as error:  # both UnicodeDecodeError and JSONDecodeError
      if number == len(lines):  # no line end behind it
        warnings.warn(f"'{path}', line {number} is cut off; it is left out", stacklevel=2)
        break
      raise ValueError(
        f"'{path}', line {number} is not JSON ({error}); only a last line without an end may be "
        "cut off: remove the line and run the experiment again to repeat that run"
      ) from error
    _check(record, f"'{path}', line {number}")
    records.append(record)
  if not records:
    raise ValueError(f"'{path}' holds no results yet; let at least one run finish")
  return records


def group_by_head(records: list[dict]) -> list[HeadRecords]:
  """Group records by head, in the order in which the experiment was given its heads.

  A later record of the same head and seed replaces an earlier one. The configuration gives the
  order, because a run that was repeated stands at the end of the file; a head that it does not
  name comes after, in the order of the file.

  Args:
    records: Records as `read_records` returns them.

  Returns:
    One `HeadRecords` for each head that has a run.

  Raises:
    ValueError: No record is a run, or the runs are of different datasets.
  """
  runs = {(r["head"], r["seed"]): r for r in records if r["kind"] == "run"}
  ensembles = {r["head"]: r for r in records if r["kind"] == "ensemble"}
  if not runs:
    raise ValueError("the results hold no run; let at least one run finish")
  datasets = sorted({str(r.get("dataset", {}).get("name")) for r in runs.values()})
  if len(datasets) > 1:
    raise ValueError(
      f"the results mix the datasets {', '.join(datasets)}; make one report for each of them"
    )
  heads = []
  for name in _in_order(list(dict.fromkeys(head for head, _ in runs)), records):
    by_seed = {seed: run for (head, seed), run in sorted(runs.items()) if head == name}
    finished = {seed: run for seed, run in by_seed.items() if run["status"] == "finished"}
    diverged = {seed: run for seed, run in by_seed.items() if run["status"] == "diverged"}
    heads.append(HeadRecords(name, finished, diverged, ensembles.get(name)))
  return heads


def _check(record: object, where: str) -> None:
  """Raise when a record lacks what its kind needs."""
  if not isinstance(record, dict) or not isinstance(record.get("kind"), str):
    raise ValueError(f"{where} is not a record: it must be a JSON object with a 'kind'")
  missing = [key for key in _REQUIRED.get(record["kind"], ()) if key not in record]
  if missing:
    raise ValueError(f"{where}: the {record['kind']} record lacks {', '.join(missing)}")
  if record["kind"] != "run":
    return
  if record["status"] not in ("finished", "diverged"):
    raise ValueError(
      f"{where}: status '{record['status']}' is unknown; it must be 'finished' or 'diverged'"
    )
  if record["status"] == "finished" and not isinstance((record["metrics"] or {}).get("test"), dict):
    raise ValueError(f"{where}: the run is finished but has no metrics of the test split")


def _in_order(names: list[str], records: list[dict]) -> list[str]:
  """Sort head names as the last configuration gives them; unnamed ones keep their order."""
  configs = [r["config"] for r in records if isinstance(r.get("config"), dict)]
  given = configs[-1].get("heads", ()) if configs else ()
  given = split_specifications(given) if isinstance(given, str) else tuple(given)
  return sorted(names, key=lambda name: given.index(name) if name in given else len(given))
