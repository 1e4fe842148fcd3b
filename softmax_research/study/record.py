"""Records: one JSON line for each seed of a cell, of one shape whatever the study.

    {"study": "compare", "cell": {"head": "sm"}, "seed": 0, "status": "finished",
     "metrics": {"test": {"accuracy": 0.97}}, "curves": {"epoch": [1]}, "measured": {},
     "config": {...}, "command": "...", "versions": {...}, "device": "...", "revision": "...",
     "time": {"finished_at": "...", "seconds": 1.5}}

`metrics` stand by split, `measured` has all else that was measured or noted, and `config` the
settings that the result depends on. Study, cell and seed name a record.
"""

import base64
import hashlib
import io
import json
import math
import os
import pathlib
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import PIL.Image

from softmax_research import registry

#: The keys of a record, each with the types of its value.
FIELDS: dict[str, tuple[type, ...]] = {
  "study": (str,),
  "cell": (dict,),
  "seed": (int, type(None)),
  "status": (str,),
  "metrics": (dict,),
  "curves": (dict,),
  "measured": (dict,),
  "config": (dict,),
  "command": (str,),
  "versions": (dict,),
  "device": (str,),
  "revision": (str,),
  "time": (dict,),
}
STATUSES = ("finished", "diverged", "failed")
NOT_RECORDED = "not recorded"
_LONGEST_NAME = 60


def check(record: Any, where: str) -> None:
  """Check the shape of a record.

  A ValueError says where it stands, and what is missing or of a wrong type.
  """
  if not isinstance(record, dict):
    raise ValueError(f"{where} is no record: it must be a JSON object with {', '.join(FIELDS)}.")
  wrong = [f"lacks {key!r}" for key in FIELDS if key not in record]
  wrong += [f"has the unknown key {key!r}" for key in record if key not in FIELDS]
  wrong += [
    f"has {key}={record[key]!r:.60}, which is no {' or '.join(kind.__name__ for kind in kinds)}"
    for key, kinds in FIELDS.items()
    if key in record and (not isinstance(record[key], kinds) or isinstance(record[key], bool))
  ]
  if not wrong and record["status"] not in STATUSES:
    wrong.append(f"has status={record['status']!r}, which is none of {', '.join(STATUSES)}")
  if not wrong and not isinstance(record["time"].get("seconds", ""), int | float | None):
    wrong.append("has a time without 'seconds', a number or null")
  if not wrong:
    wrong += [
      f"has text where a number belongs: {path}={text!r:.40}"
      for key in ("metrics", "curves")
      for path, text in _texts(record[key], key)
    ]
  if wrong:
    raise ValueError(
      f"{where} is no record: it {'; '.join(wrong)}. Remove the line, and what it stood for is "
      "made again."
    )


def read(path: os.PathLike | str) -> list[dict[str, Any]]:
  """Read the records of a JSON-lines file; a missing file has none.

  A last line without an end was cut short by a kill: it is left out with a warning, and what it
  stood for is made again. Blank lines are passed over. A ValueError names file, line and what is
  wrong.
  """
  path = pathlib.Path(path)
  if not path.exists():
    return []
  *lines, last = path.read_bytes().split(b"\n")
  if last.strip():
    warnings.warn(
      f"The last line of {path} is incomplete: a run was interrupted while it was written. "
      "What it stood for is made again.",
      stacklevel=2,
    )
  records = []
  for number, line in enumerate(lines, 1):
    if not line.strip():
      continue
    where = f"Line {number} of {path}"
    try:
      record = json.loads(line)
    except ValueError as error:
      raise ValueError(
        f"{where} is not JSON ({error}); the file was damaged. Remove the line, and what it stood "
        "for is made again."
      ) from None
    check(record, where)
    records.append(record)
  return records


def append(path: os.PathLike | str, *records: dict[str, Any]) -> None:
  """Append records as lines of JSON, all or none, and wait until they are on the disk.

  All or none, because seeds that trained together are repeated together: of fewer seeds the numbers
  could differ in their last digits. A last line that a kill cut short is removed first, so that it
  cannot spoil the new record. NaN and infinities are refused, since JSON has none.
  """
  for record in records:
    check(record, f"What was to be written to {path}")
  lines = "".join(json.dumps(record, allow_nan=False) + "\n" for record in records)
  path = pathlib.Path(path)
  with path.open("ab+", buffering=0) as file:
    file.seek(0)
    end = file.read().rfind(b"\n") + 1
    file.truncate(end)
    rest = memoryview(lines.encode())
    try:
      while rest:
        rest = rest[file.write(rest) :]
      os.fsync(file.fileno())
    except BaseException:
      file.truncate(end)  # A full disk may have taken some of the records.
      raise


def key(record: Mapping[str, Any]) -> tuple[str, str, int | None]:
  """Return what names a record: its study, its cell as text, and its seed."""
  return record["study"], json.dumps(record["cell"], sort_keys=True), record["seed"]


def keys(record: Mapping[str, Any]) -> set[tuple[str, str, int | None]]:
  """Return the keys of what a record is of: a failure may be that of several seeds."""
  failed = record["status"] == "failed"
  seeds = record["measured"].get("seeds", [record["seed"]]) if failed else [record["seed"]]
  return {(*key(record)[:2], seed) for seed in seeds}


def unique(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
  """Return of each name one record: the first that is no failure, or else the last failure.

  So files of several machines are merged by concatenation, in any order and with repetitions, and a
  failure goes away once all its seeds are there.
  """
  records = list(records)
  done = {key(record) for record in records if record["status"] != "failed"}
  chosen: dict[tuple, dict[str, Any]] = {}
  for record in records:
    if record["status"] != "failed":
      chosen.setdefault(key(record), record)
    elif not keys(record) <= done:
      chosen[key(record)] = record
  return list(chosen.values())


def look_up(record: Mapping[str, Any], path: str) -> float:
  """Return a number of a record, as it stands there.

  Args:
    record: a record.
    path: `accuracy` is of the test split, or else below `measured`; with slashes it leads there
      from the record, as `metrics/validation/nll`, or else from `measured`, as `noise/accuracy`; of
      a list a part is the index, as `curves/seconds/0`.

  Returns:
    The number; NaN where there is none. JSON has no infinity: the null of an NLL stands for it,
    since a label had probability zero.

  Example:
    >>> record = {"metrics": {"test": {"nll": None}}, "measured": {"noise": {"accuracy": 0.5}}}
    >>> look_up(record, "nll"), look_up(record, "noise/accuracy"), look_up(record, "ece")
    (inf, 0.5, nan)
  """
  return next(_at(record, path), math.nan)


def has(records: Iterable[Mapping[str, Any]], path: str) -> bool:
  """Say whether a record has a number, or a null, at a path; see `look_up`."""
  return any(True for record in records for _ in _at(record, path))


def check_path(records: Iterable[Mapping[str, Any]], path: str) -> None:
  """Raise a ValueError if records are finished and none has a number at a path; see `look_up`.

  That is a path with a typing error, of which a table would be dashes.
  """
  finished = [record for record in records if record["status"] == "finished"]
  if finished and not has(finished, path):
    metrics, measured = finished[0]["metrics"].get("test", {}), finished[0]["measured"]
    known = [*_numbers(metrics), *_numbers(measured)]
    raise ValueError(
      f"Got the measure {path!r}, which no finished record has; they have {', '.join(known)}."
      f"{registry.closest(path, known)}"
    )


def describe(cell: Mapping[str, Any]) -> str:
  """Name a cell for a person."""
  parts = []
  for name, value in cell.items():
    if isinstance(value, Mapping):
      parts.append(", ".join(f"{k.rpartition('.')[2]}={v}" for k, v in value.items()))
    elif isinstance(value, str):
      parts.append(value)
    else:
      parts.append(f"{name}={value}")
  return " / ".join(parts)


def file_name(cell: Mapping[str, Any], *more: Any) -> str:
  """Name a file or a directory that belongs to a cell alone.

  Names that a person can read collide where they are cut or where signs are replaced, so a digest
  of the whole, and of what else tells it from others, stands behind.
  """
  readable = re.sub(r"[^A-Za-z0-9=._-]+", "_", describe(cell))[:_LONGEST_NAME].strip("._")
  whole = json.dumps([cell, *more], sort_keys=True)
  return f"{readable}-{hashlib.sha256(whole.encode()).hexdigest()[:12]}"


def span(numbers: Sequence[int]) -> str:
  """List numbers in order, of more than two in a row the first and the last."""
  if len(numbers) > 2 and list(numbers) == list(range(numbers[0], numbers[-1] + 1)):
    return f"{numbers[0]} to {numbers[-1]}"
  return ", ".join(map(str, numbers))


def duration(seconds: float) -> str:
  """Return a duration in the two largest units that it fills.

  Example:
    >>> duration(59.94), duration(61), duration(7260)
    ('59.9 s', '1 min 1 s', '2 h 1 min')
  """
  if math.isnan(seconds):
    return NOT_RECORDED
  if seconds < 60:
    return f"{seconds:.1f} s"
  minutes, rest = divmod(round(seconds), 60)
  if minutes < 60:
    return f"{minutes} min {rest} s"
  return f"{minutes // 60} h {minutes % 60} min"


def to_text(picture: np.ndarray) -> str:
  """Encode a picture of bytes, `[H, W]`, `[H, W, 1]` or `[H, W, 3]`, as JSON can hold it: a PNG.

  Example:
    >>> from_text(to_text(np.array([[0, 255]], np.uint8))).tolist()
    [[0, 255]]
  """
  encoded = io.BytesIO()
  gray = picture.ndim == 3 and picture.shape[2] == 1
  PIL.Image.fromarray(picture[..., 0] if gray else picture).save(encoded, "png")
  return base64.b64encode(encoded.getvalue()).decode()


def from_text(text: str) -> np.ndarray:
  """Decode what `to_text` returned."""
  return np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(text))))


def _at(record: Mapping[str, Any], path: str) -> Iterator[float]:
  """Yield the numbers that a path may mean, the one that it means first."""
  parts = path.split("/")
  starts = [record, record["measured"]]
  if len(parts) == 1:
    starts = [record["metrics"].get("test", {}), record["measured"]]
  for node in starts:
    try:
      for part in parts:
        node = node[int(part) if isinstance(node, list) else part]
    except (LookupError, TypeError, ValueError):  # There is nothing at that path.
      continue
    if node is None:
      yield math.inf if parts[-1] == "nll" else math.nan
    elif isinstance(node, int | float):
      yield float(node)


def _numbers(node: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
  for name, part in node.items():
    if isinstance(part, dict):
      yield from _numbers(part, f"{prefix}{name}/")
    elif isinstance(part, int | float):
      yield prefix + name


def _texts(node: Any, path: str) -> Iterable[tuple[str, str]]:
  if isinstance(node, str):
    yield path, node
  elif isinstance(node, dict):
    for name, part in node.items():
      yield from _texts(part, f"{path}/{name}")
  elif isinstance(node, list):
    for part in node:
      yield from _texts(part, path)
