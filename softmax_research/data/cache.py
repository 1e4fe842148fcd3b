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


class _DamagedError(Exception):
  """A cached dataset is not what was written; the message names the file and the reason."""


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

  Args:
    name: the name of the dataset, and of its directory in the cache.
    build: makes the dataset; called only when it is needed.
    cache_dir: see ``cache_directory``.

  Returns:
    The dataset, its arrays memory-mapped and read-only.

  Raises:
    DataUnavailableError: if the cache cannot be written, or it is damaged and ``build`` fails.

  Warns:
    UserWarning: if the cache was damaged; names the file and the reason.
  """
  directory = cache_directory(cache_dir) / name
  damage = None
  if directory.exists():
    try:
      return _read(directory)
    except _DamagedError as error:
      damage = error
      warnings.warn(f"damaged cache: {error}; building {name} again", stacklevel=2)

  scratch = directory.with_name(f".{name}-{uuid.uuid4().hex}")
  try:
    # Made before the dataset is: what cannot be kept should fail before minutes of work.
    with _write_errors(directory.parent):
      scratch.mkdir(parents=True)
    try:
      dataset = check_dataset(build())
    except DataUnavailableError as error:
      if damage is None:
        raise
      raise DataUnavailableError(f"damaged cache: {damage}; to build it again: {error}") from error
    with _write_errors(directory.parent):
      _write(scratch, dataset)
      dataset = _read(scratch)  # Open files follow the rename, and outlive a later one.
      _publish(scratch, directory)
  finally:
    shutil.rmtree(scratch, ignore_errors=True)
  return dataset


def _read(directory: pathlib.Path) -> Dataset:
  manifest_path = directory / _MANIFEST
  try:
    manifest = json.loads(manifest_path.read_bytes())
    if manifest["format"] != _FORMAT:
      raise _DamagedError(f"{manifest_path}: format {manifest['format']}, not {_FORMAT}")
    train, test = (
      Split(*(_read_array(directory, f"{split}_{field}", manifest) for field in Split._fields))
      for split in ("train", "test")
    )
    dataset = Dataset(
      name=manifest["name"],
      train=train,
      test=test,
      num_classes=manifest["num_classes"],
      class_names=tuple(manifest["class_names"]),
    )
    return check_dataset(dataset)
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise _DamagedError(f"{manifest_path}: {type(error).__name__}: {error}") from error


def _read_array(directory: pathlib.Path, key: str, manifest: dict) -> np.ndarray:
  path = directory / f"{key}.npy"
  entry = manifest["arrays"][key]
  try:
    if _sha256(path) != entry["sha256"]:
      raise _DamagedError(f"{path}: its SHA-256 checksum is not the manifest's")
    return np.load(path, mmap_mode="r", allow_pickle=False)
  except OSError as error:
    raise _DamagedError(f"{path}: {error}") from error


def _write(directory: pathlib.Path, dataset: Dataset) -> None:
  arrays = {}
  for split in ("train", "test"):
    for field, array in getattr(dataset, split)._asdict().items():
      path = directory / f"{split}_{field}.npy"
      np.save(path, array, allow_pickle=False)
      arrays[path.stem] = {
        "shape": array.shape,
        "dtype": str(array.dtype),
        "sha256": _sha256(path),
      }
  manifest = {
    "format": _FORMAT,
    "name": dataset.name,
    "num_classes": dataset.num_classes,
    "class_names": dataset.class_names,
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
