"""Results on disk: one JSON line for each finished run, and the configuration beside them."""

import json
import os
import pathlib
import warnings
from typing import Any


def append(path: os.PathLike | str, *records: dict[str, Any]) -> None:
  """Append records as lines of JSON, all or none, and wait until they are on the disk.

  All or none, because runs that trained together are repeated together: of seeds that are fewer the
  numbers could differ in their last digits. A last line that a kill cut short is removed first, so
  that it cannot spoil the new record.

  Args:
    path: the JSON-lines file; made if missing.
    *records: dictionaries that JSON can hold; NaN and infinities are refused.

  Raises:
    ValueError: a record holds a number that JSON cannot.
    OSError: the file cannot be written.
  """
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


def read(path: os.PathLike | str) -> list[dict[str, Any]]:
  """Read the records of a JSON-lines file; a missing file has none.

  A last line without an end was cut short by a kill: it is left out with a warning, and the run
  that it stood for is made again.

  Args:
    path: the JSON-lines file.

  Returns:
    The records, in the order of the file.

  Raises:
    ValueError: a line other than the last is not JSON.
  """
  path = pathlib.Path(path)
  if not path.exists():
    return []
  *lines, last = path.read_bytes().split(b"\n")
  if last:
    warnings.warn(
      f"The last line of {path} is incomplete: a run was interrupted while it was written. "
      "What it stood for is repeated.",
      stacklevel=2,
    )
  records = []
  for number, line in enumerate(lines, 1):
    try:
      records.append(json.loads(line))
    except ValueError as error:
      raise ValueError(
        f"Line {number} of {path} is not JSON ({error}); the file was damaged. Remove the line, "
        "and the run that it stood for is made again."
      ) from None
  return records


def check_config(
  workdir: os.PathLike | str, config: dict[str, Any], *, may_change: tuple[str, ...] = ()
) -> None:
  """Keep one configuration to a working directory.

  The first call writes `config.json`; later calls compare with it.

  Args:
    workdir: an existing directory.
    config: a dictionary that JSON can hold, possibly nested.
    may_change: top-level keys that may differ, because they say which runs to make rather than
      what a run is.

  Raises:
    ValueError: the configuration differs from the one that the directory's results were made
      with; the message says how.
  """
  path = pathlib.Path(workdir) / "config.json"
  config = json.loads(json.dumps(config))
  if path.exists():
    before = json.loads(path.read_text())
    old, new = flatten(before), flatten(config)
    changes = [
      f"  {key}: {old.get(key, 'absent')!r} -> {new.get(key, 'absent')!r}"
      for key in sorted(old | new)
      if old.get(key) != new.get(key) and key.partition(".")[0] not in may_change
    ]
    if changes:
      raise ValueError(
        f"The results in {workdir} were made with another configuration:\n"
        + "\n".join(changes)
        + "\nGive another --workdir, or the former values."
      )
  partial = path.with_suffix(".partial")
  partial.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
  partial.replace(path)


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
  """Turn a nested dictionary into one of dotted keys.

  Example:
    >>> flatten({"a": 1, "b": {"c": 2}})
    {'a': 1, 'b.c': 2}
  """
  flat = {}
  for key, value in config.items():
    if isinstance(value, dict):
      flat |= flatten(value, f"{prefix}{key}.")
    else:
      flat[prefix + key] = value
  return flat
