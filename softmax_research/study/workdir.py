"""The working directory of a study: results, configuration, checkpoints, and a lock on them."""

import contextlib
import datetime
import errno
import fcntl
import json
import os
import pathlib
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from softmax_research.data.cache import whole_file
from softmax_research.study import record

_CONFIG = "config.json"


class StorageError(OSError):
  """Raised where the working directory cannot be written: what is finished there is kept."""


@contextlib.contextmanager
def locked(workdir: pathlib.Path, shard: tuple[int, int] | None = None) -> Iterator[None]:
  """Make the working directory, and keep other processes from it while this one works there.

  Runs with different shards may share it, a run without one may not share it with any. The system
  gives a lock back when its process ends, however it ends, so none is left behind. A ValueError
  names the process that works there, an OSError says that the directory cannot be written.
  """
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / "lock").touch()
  except OSError as error:
    raise OSError(
      f"Got --workdir={workdir}, which cannot be written ({error.strerror}). Give a directory that "
      "can be."
    ) from None
  with contextlib.ExitStack() as stack:
    if shard is not None:
      stack.enter_context(_lock(workdir / "lock", fcntl.LOCK_SH, workdir))
    stack.enter_context(_lock(workdir / f"lock{_suffix(shard)}", fcntl.LOCK_EX, workdir))
    yield


def results_path(workdir: pathlib.Path, shard: tuple[int, int] | None = None) -> pathlib.Path:
  """Name the file that a run appends its records to."""
  return workdir / f"results{_suffix(shard)}.jsonl"


def read(workdir: os.PathLike | str) -> list[dict[str, Any]]:
  """Read the records of a working directory, of all its shards, each name once."""
  workdir = pathlib.Path(workdir)
  paths = [workdir / "results.jsonl", *sorted(workdir.glob("results-*-of-*.jsonl"))]
  return record.unique(r for path in paths for r in record.read(path))


@contextlib.contextmanager
def storage_errors(path: pathlib.Path) -> Iterator[None]:
  """Raise a StorageError in place of an OSError of what is written to a path."""
  try:
    yield
  except OSError as error:
    raise StorageError(error.errno, error.strerror or str(error), str(path)) from error


def append(path: pathlib.Path, records: Sequence[dict[str, Any]]) -> None:
  """Append records; a StorageError says that they cannot be written."""
  with storage_errors(path):
    record.append(path, *records)


def write_whole(path: pathlib.Path, content: bytes) -> None:
  """Write a file whole or not at all; a StorageError says that it cannot be written."""
  with storage_errors(path), whole_file(path) as file:
    file.write(content)


def write_config(workdir: pathlib.Path, name: str, settings: Mapping[str, Any]) -> None:
  """Note which study with which settings was run last, so that its report can be made anew."""
  text = json.dumps({"study": name, "settings": settings}, indent=2, sort_keys=True)
  write_whole(workdir / _CONFIG, f"{text}\n".encode())


def read_config(workdir: os.PathLike | str) -> tuple[str, dict[str, Any]]:
  """Return the study's name and settings that `write_config` wrote; else raise a ValueError."""
  path = pathlib.Path(workdir) / _CONFIG
  try:
    plain = json.loads(path.read_text(encoding="utf-8"))
    return plain["study"], dict(plain["settings"])
  except FileNotFoundError:
    raise ValueError(
      f"There is no {path}, which says what study the results are of. Run the study's command "
      "again: it makes only what is missing, and writes the file."
    ) from None
  except (ValueError, TypeError, KeyError) as error:
    raise ValueError(
      f"{path} is no configuration of a study ({type(error).__name__}: {error}). Remove it, and "
      "run the study's command again: it makes only what is missing, and writes the file."
    ) from None


def is_full_or_read_only(error: Exception) -> bool:
  """Say whether an error is of the storage, where no other cell would do better."""
  of_storage = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG)
  return isinstance(error, StorageError) or (
    isinstance(error, OSError) and error.errno in of_storage
  )


def remove(directory: pathlib.Path) -> None:
  """Remove a directory of checkpoints whose records are written, and its parent once empty."""
  shutil.rmtree(directory, ignore_errors=True)
  with contextlib.suppress(OSError):
    directory.parent.rmdir()


def _suffix(shard: tuple[int, int] | None) -> str:
  return "" if shard is None else f"-{shard[0]}-of-{shard[1]}"


@contextlib.contextmanager
def _lock(path: pathlib.Path, kind: int, workdir: pathlib.Path) -> Iterator[None]:
  with path.open("a+", encoding="utf-8") as file:
    try:
      fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
      file.seek(0)
      holder = file.read().strip() or "another process"
      raise ValueError(
        f"{workdir} is in use by {holder}. Wait until it ends, stop it, or give another --workdir."
      ) from None
    except OSError:  # A file system without locks: better unlocked than not at all.
      yield
      return
    now = datetime.datetime.now().isoformat(timespec="seconds")
    file.truncate(0)
    if kind == fcntl.LOCK_EX:
      file.write(f"process {os.getpid()} on {platform.node()}, since {now}\n")
    else:
      file.write("runs with --shard\n")
    file.flush()
    yield
