"""Image datasets of TensorFlow Datasets, decoded once into arrays.

Reading a prepared dataset (``array_record`` files) needs no TensorFlow; preparing one, on first
use, does. Once the arrays are in the cache, nothing of TFDS is imported any more.
"""

import functools
import importlib.util
import os
import pathlib
import sys
from typing import Any

import numpy as np

from softmax_research.data.cache import cache_directory, load_or_build
from softmax_research.data.dataset import Dataset, DataUnavailableError, Split

_INSTALL = 'pip install "softmax_research[tfds]"'
# Records read in one call: TFDS spends most of a single read on scheduling it. MNIST decodes in
# 5 to 9 s in blocks and in 16 to 22 s one by one; threads gain nothing, decoding holds the GIL.
_BLOCK = 1000


def load_tfds_images(name: str, *, data_dir: str | os.PathLike | None = None) -> Dataset:
  """Load an image classification dataset of TFDS: from the cache, or preparing and decoding it.

  Its images are of one shape, and its splits are ``train``, and ``test`` or else ``validation``. A
  missing one is prepared in ``data_dir``, by default ``$TFDS_DATA_DIR``, else TFDS's own default;
  that is not looked at where the cache holds the dataset.
  """
  # A TFDS name may hold a configuration behind a slash.
  return load_or_build(name.replace("/", "-"), functools.partial(_decode, name, data_dir))


def _decode(name, data_dir) -> Dataset:
  builder = _prepared_builder(name, data_dir)
  image, label = _image_and_label(builder)
  test = "test" if "test" in builder.info.splits else "validation"
  if not {"train", test} <= set(builder.info.splits):
    raise DataUnavailableError(
      f"the dataset {name} of TFDS has the splits {', '.join(builder.info.splits)}; it must have"
      " train, and test or validation"
    )
  print(
    f"Decoding {name} once, into {cache_directory()} (10 to 30 s) ...",
    file=sys.stderr,
    flush=True,
  )
  try:
    splits = [_decode_split(builder, split, image, label) for split in ("train", test)]
  except Exception as error:  # TFDS, array_record and the image decoder raise types of their own.
    raise DataUnavailableError(
      f"cannot read the prepared files in {builder.data_dir}"
      f" ({type(error).__name__}: {error}); delete that directory to have them prepared again"
    ) from error
  return Dataset(name, *splits, tuple(builder.info.features[label].names))


def _image_and_label(builder: Any) -> tuple[str, str]:
  """Return how the dataset calls its images and its labels, if it is one of this kind."""
  keys = [key for key in builder.info.supervised_keys or () if isinstance(key, str)]
  image, label = keys if len(keys) == 2 else ("image", "label")
  features = dict(builder.info.features.items())
  shape = getattr(features.get(image), "shape", None) or (None,)
  classes = getattr(features.get(label), "num_classes", None)
  if len(shape) != 3 or None in shape or features[image].np_dtype != np.uint8 or not classes:
    raise DataUnavailableError(
      f"the dataset {builder.name} of TFDS has the {image} {features.get(image)} and the {label}"
      f" {features.get(label)}; what can be read are images uint8 [H, W, C] of one shape, with a"
      " label of a known number of classes"
    )
  return image, label


def _decode_split(builder: Any, split: str, image: str, label: str) -> Split:
  source = builder.as_data_source(split=split)
  images = np.empty((len(source), *builder.info.features[image].shape), np.uint8)
  labels = np.empty(len(source), np.int32)
  for start in range(0, len(source), _BLOCK):
    block = list(range(start, min(start + _BLOCK, len(source))))
    for i, example in zip(block, source.__getitems__(block), strict=True):
      images[i], labels[i] = example[image], example[label]
  return Split(images, labels)


def _prepared_builder(name: str, data_dir: str | os.PathLike | None) -> Any:
  data_dir = data_dir or os.environ.get("TFDS_DATA_DIR")

  def unavailable(reason):
    return DataUnavailableError(
      f"{reason}. Looked for in {data_dir or '~/tensorflow_datasets'}/{name}/ are the files of the"
      " dataset's authors, if it is one of ours, and files prepared on a machine with network and"
      f" TensorFlow, by tfds.builder('{name}', data_dir=DIR, file_format='array_record')"
      ".download_and_prepare(); data_dir or TFDS_DATA_DIR names another directory. The dataset"
      " 'digits' needs neither"
    )

  if missing := _missing_packages("tensorflow_datasets", "array_record"):
    raise unavailable(f"loading {name} needs {missing}; {_INSTALL}")
  # Optional, and slow to import.
  import tensorflow_datasets as tfds  # noqa: PLC0415

  try:
    builder = tfds.builder(name, data_dir=data_dir, file_format="array_record")
  except ValueError as error:
    reason = f"cannot open {name} ({str(error).splitlines()[0]})"
    raise unavailable(f"{reason}; only array_record files are read without TensorFlow") from error
  _image_and_label(builder)  # Before gigabytes of another kind are prepared.
  if builder.is_prepared():
    return builder
  if missing := _missing_packages("tensorflow"):
    raise unavailable(f"{name} is not prepared, and preparing it needs {missing}; {_INSTALL}")
  try:
    _check_network(builder)
    builder.download_and_prepare()
  except Exception as error:  # Of the network, of the disk, of TFDS: types without a common base.
    reason = f"cannot download and prepare {name} ({type(error).__name__}: {error})"
    raise unavailable(reason) from error
  return builder


def _check_network(builder: Any) -> None:
  """Asks for one file's header: offline, TFDS retries for minutes before it gives up."""
  # A dependency of TFDS, and it takes the same proxies and certificates as TFDS's downloads.
  import requests  # noqa: PLC0415

  downloads = pathlib.Path(builder.data_dir).parents[1] / "downloads"
  if any(path.is_file() for path in downloads.rglob("*")):
    return  # Files downloaded earlier may be all that is needed.
  for url in list(builder.url_infos)[:1]:
    requests.head(url, timeout=20)


def _missing_packages(*names: str) -> str:
  return " and ".join(name for name in names if importlib.util.find_spec(name) is None)
