"""Datasets kept on disk: each built once, and checked at every load, as its file has checksums."""

import contextlib
import os
import pathlib
import uuid
import warnings
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np

from softmax_research.data.dataset import Dataset, DataUnavailableError, Split, check_dataset

_ENVIRONMENT_VARIABLE = "SOFTMAX_RESEARCH_CACHE"


def cache_directory() -> pathlib.Path:
  """Return the directory that decoded datasets and compiled programs are kept in.

  It is ``$SOFTMAX_RESEARCH_CACHE``, else ``$XDG_CACHE_HOME/softmax_research``, else
  ``~/.cache/softmax_research``, and need not exist.

  Example:
    >>> isinstance(cache_directory(), pathlib.Path)
    True
  """
  if chosen := os.environ.get(_ENVIRONMENT_VARIABLE):
    return pathlib.Path(chosen).expanduser()
  base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
  return pathlib.Path(base).expanduser() / "softmax_research"


@contextlib.contextmanager
def whole_file(path: pathlib.Path) -> Iterator[BinaryIO]:
  """Open a file that appears under its name when it is complete, or not at all.

  Processes that write it together have a partial one each.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
  try:
    with partial.open("wb") as file:
      yield file
    partial.replace(path)
  finally:
    partial.unlink(missing_ok=True)  # Also where a signal interrupts it.


def load_or_build(name: str, build: Callable[[], Dataset]) -> Dataset:
  """Return the cached dataset, building it first where there is none or it is damaged.

  It is the file of that name. Damage is a warning that gives the reason; a cache that cannot be
  written is a DataUnavailableError, before anything is built.
  """
  path = cache_directory() / f"{name}.npz"
  if path.exists():
    try:
      return _read(path)
    except Exception as error:  # NumPy and zip files have many errors for damage.
      warnings.warn(
        f"damaged cache: {path}: {type(error).__name__}: {error}; building {name} again",
        stacklevel=2,
      )
  try:
    with whole_file(path) as file:
      dataset = check_dataset(build())
      facts = {"name": dataset.name, "class_names": dataset.class_names}
      if dataset.ignore_label is not None:
        facts["ignore_label"] = dataset.ignore_label
      for part in ("train", "test"):
        facts |= {f"{part}_{key}": of for key, of in getattr(dataset, part)._asdict().items()}
      np.savez(file, **facts)
  except OSError as error:
    raise DataUnavailableError(
      f"cannot write to the cache directory {path.parent} ({error}); name a directory that can be"
      f" written by the environment variable {_ENVIRONMENT_VARIABLE}"
    ) from error
  return dataset


def _read(path: pathlib.Path) -> Dataset:
  with np.load(path) as file:
    found = dict(file)
  splits = [Split(found[f"{part}_images"], found[f"{part}_labels"]) for part in ("train", "test")]
  class_names = tuple(found["class_names"].tolist())
  ignored = int(found["ignore_label"]) if "ignore_label" in found else None
  return check_dataset(Dataset(str(found["name"]), *splits, class_names, ignored))
