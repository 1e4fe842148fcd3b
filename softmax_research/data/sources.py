"""Datasets by name: one dictionary says where each comes from."""

import functools
import os

from softmax_research.data.dataset import Dataset, check_dataset
from softmax_research.data.embedded import digits, spiral, wdbc
from softmax_research.data.tfds_images import load_tfds_images

# Files that were prepared elsewhere often name CIFAR-10's classes by number.
_CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip

# A source takes data_dir and cache_dir; what is made in memory has no use for them.
_SOURCES = {
  "digits": lambda **_: digits(),
  "spiral": lambda **_: spiral(),
  "wdbc": lambda **_: wdbc(),
  "mnist": functools.partial(load_tfds_images, "mnist"),
  "fashion_mnist": functools.partial(load_tfds_images, "fashion_mnist"),
  "cifar10": functools.partial(load_tfds_images, "cifar10", class_names=_CIFAR10_CLASSES),
  "cifar100": functools.partial(load_tfds_images, "cifar100"),
}

#: The data sets that `load` knows, with their numbers of classes.
NUM_CLASSES = {
  "digits": 10,
  "spiral": 3,
  "wdbc": 2,
  "mnist": 10,
  "fashion_mnist": 10,
  "cifar10": 10,
  "cifar100": 100,
}


def load(
  name: str,
  *,
  data_dir: str | os.PathLike | None = None,
  cache_dir: str | os.PathLike | None = None,
) -> Dataset:
  """Load a dataset by name and check its labels, shapes and types.

  ``digits``, ``spiral`` and ``wdbc`` need no files. The others come through TensorFlow Datasets:
  prepared on first use (which downloads, and needs the ``tfds`` extra), decoded once, kept as
  arrays in the cache and memory-mapped after that, their checksums verified at every load.

  Args:
    name: a key of ``NUM_CLASSES``.
    data_dir: directory of prepared TFDS datasets; by default ``$TFDS_DATA_DIR``, else TFDS's
      own default.
    cache_dir: directory of decoded arrays; by default ``$SOFTMAX_RESEARCH_CACHE``, else
      ``$XDG_CACHE_HOME/softmax_research``, else ``~/.cache/softmax_research``.

  Returns:
    The dataset.

  Raises:
    ValueError: if the name is unknown, or the data is not valid (see ``check_dataset``).
    DataUnavailableError: if the data cannot be had on this machine; the message says what to
      install or where to put files.

  Example:
    >>> from softmax_research import data
    >>> dataset = data.load("digits")
    >>> dataset.train.images.shape, dataset.num_classes
    ((1437, 8, 8, 1), 10)
  """
  if name not in _SOURCES:
    raise ValueError(f"unknown dataset {name!r}; there are: {', '.join(NUM_CLASSES)}")
  return check_dataset(_SOURCES[name](data_dir=data_dir, cache_dir=cache_dir))
