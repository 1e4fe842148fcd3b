"""Datasets kept as arrays on disk: built once, checked at every load, memory-mapped.

A dataset is a directory of four ``.npy`` files and a ``manifest.json`` with their shapes, types
and SHA-256 checksums. It appears under its name by one rename, when it is complete, so no
process ever sees half of one. Checksums are verified at every load: that reads the files once
(0.2 s for the 184 MB of CIFAR-10), and leaves them in the page cache for the training.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import uuid
import warnings
from collections.abc import Callable, Iterator

import numpy as np

from softmax_research.data.dataset import Dataset, DataUnavailableError, Split, check_dataset

_ENVIRONMENT_VARIABLE = "SOFTMAX_RESEARCH_CACHE"
_FORMAT = 1
_MANIFEST = "manifest.json"


def cache_directory(cache_dir: str | os.PathLike | None = None) -> pathlib.Path:
  """Return the directory that decoded datasets are kept in.

  Args:
    cache_dir: the directory; by default ``$SOFTMAX_RESEARCH_CACHE``, else
      ``$XDG_CACHE_HOME/softmax_research``, else ``~/.cache/softmax_research``.

  Returns:
    The directory, which need not exist.

  Example:
    >>> cache_directory("/tmp/arrays").name
    'arrays'
  """
  chosen = cache_dir or os.environ.get(_ENVIRONMENT_VARIABLE)
  if chosen:
    return pathlib.Path(chosen).expanduser()
  base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
  return pathlib.Path(base).expanduser() / "softmax_research"


def load_or_build(
  name: str, build: Callable[[], Dataset], *, cache_dir: str | os.PathLike | None = None
) -> Dataset:
  """Return the cached dataset, building it first where there is none or it is damaged.

  It lies in the directory of that name, and its arrays are memory-mapped and read-only. Damage is
  a warning that gives the reason; a cache that cannot be written is a DataUnavailableError.
  """
  directory = cache_directory(cache_dir) / name
  if directory.exists():
    try:
      return _read(directory)
    except (OSError, ValueError, KeyError, TypeError) as error:
      warnings.warn(
        f"damaged cache: {directory}: {type(error).__name__}: {error}; building {name} again",
        stacklevel=2,
      )
  scratch = directory.with_name(f".{name}-{uuid.uuid4().hex}")
  try:
    # Made before the dataset is: what cannot be kept should fail before minutes of work.
    with _write_errors(directory.parent):
      scratch.mkdir(parents=True)
    dataset = check_dataset(build())
    with _write_errors(directory.parent):
      _write(scratch, dataset)
      dataset = _read(scratch)  # Open files follow the rename, and outlive a later one.
      _publish(scratch, directory)
  finally:
    shutil.rmtree(scratch, ignore_errors=True)
  return dataset


def _read(directory: pathlib.Path) -> Dataset:
  manifest = json.loads((directory / _MANIFEST).read_bytes())
  if manifest["format"] != _FORMAT:
    raise ValueError(f"{_MANIFEST} has the format {manifest['format']}, not {_FORMAT}")

  def read(key):
    path = directory / f"{key}.npy"
    if _sha256(path) != manifest["arrays"][key]["sha256"]:
      raise ValueError(f"the SHA-256 checksum of {path.name} is not that of {_MANIFEST}")
    return np.load(path, mmap_mode="r", allow_pickle=False)

  splits = [Split(read(f"{part}_images"), read(f"{part}_labels")) for part in ("train", "test")]
  class_names = tuple(manifest["class_names"])
  facts = manifest["num_classes"], class_names, manifest.get("ignore_label")
  return check_dataset(Dataset(manifest["name"], *splits, *facts))


def _write(directory: pathlib.Path, dataset: Dataset) -> None:
  arrays = {}
  for split in ("train", "test"):
    for field, array in getattr(dataset, split)._asdict().items():
      path = directory / f"{split}_{field}.npy"
      np.save(path, array, allow_pickle=False)
      arrays[path.stem] = {"shape": array.shape, "dtype": str(array.dtype), "sha256": _sha256(path)}
  manifest = {
    "format": _FORMAT,
    "name": dataset.name,
    "num_classes": dataset.num_classes,
    "class_names": dataset.class_names,
    "ignore_label": dataset.ignore_label,
    "arrays": arrays,
  }
  (directory / _MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _publish(scratch: pathlib.Path, directory: pathlib.Path) -> None:
  """Puts a complete directory in its place, where a damaged or an equal one may stand."""
  replaced = scratch.with_name(f"{scratch.name}-replaced")
  try:
    directory.rename(replaced)
  except FileNotFoundError:
    pass
  try:
    scratch.rename(directory)
  except OSError:
    # Another process may have put its own in place since: that one is as good.
    if not directory.is_dir():
      raise
  finally:
    shutil.rmtree(replaced, ignore_errors=True)


@contextlib.contextmanager
def _write_errors(directory: pathlib.Path) -> Iterator[None]:
  try:
    yield
  except OSError as error:
    raise DataUnavailableError(
      f"cannot write to the cache directory {directory} ({error}); name a directory that can be"
      f" written, with cache_dir or the environment variable {_ENVIRONMENT_VARIABLE}"
    ) from error


def _sha256(path: pathlib.Path) -> str:
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()
