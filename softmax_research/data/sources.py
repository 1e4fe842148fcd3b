"""Datasets by text: names, files and folders, and functions of the user's own; all are checked."""

import dataclasses
import functools
import hashlib
import importlib.util
import inspect
import os
import pathlib
import re
from collections.abc import Mapping

import numpy as np

from softmax_research import registry
from softmax_research.data import documents, files
from softmax_research.data.dataset import Dataset, Split, check_dataset, split_train_validation
from softmax_research.data.label_flips import flip_labels, flip_probabilities
from softmax_research.data.tfds_images import load_tfds_images
from softmax_research.functional.arrays import check_at_least, check_integer

#: The datasets that have a name of ours, with their numbers of classes.
NUM_CLASSES = {
  "digits": 10,
  "spiral": 3,
  "iris": 3,
  "wdbc": 2,
  "wine": 3,
  "mnist": 10,
  "fashion_mnist": 10,
  "cifar10": 10,
  "cifar100": 100,
  "topics": 24,
}
# Files that were prepared elsewhere often name classes by number.
_CLASS_NAMES = {
  "mnist": tuple("0123456789"),
  "fashion_mnist": (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
    "Ankle boot",
  ),
  "cifar10": (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
  ),
}  # fmt: skip


def load(name: str, *, data_dir: str | os.PathLike | None = None) -> Dataset:
  """Load a dataset and check its labels, shapes and types.

  What has to be decoded is kept in `cache_directory`.

  Args:
    name: one of

      - a key of ``NUM_CLASSES``. ``digits``, ``spiral``, ``iris``, ``wdbc``, ``wine`` and
        ``topics`` need no files. The others are taken from files of their authors or of any other
        form that `read` takes under ``data_dir``, as ``data_dir/mnist``; else through TensorFlow
        Datasets;
      - the path of a file or a folder; see `read`;
      - ``tfds:NAME``, an image classification dataset of TensorFlow Datasets;
      - ``texts:PATH``, a folder of texts by class; see `read_texts`;
      - ``label_noise:of=NAME:rate=0.2``, any of these with wrong labels; see `label_noise`;
      - ``package.module.name``, a function of your own that returns a `Dataset`, or a dictionary
        with the arrays of `from_arrays`. It may take ``data_dir``.

      Options follow as ``:option=value``, as in ``spiral:num_arms=5``.
    data_dir: directory of files and of prepared TFDS datasets; by default ``$TFDS_DATA_DIR``,
      else TFDS's own default.

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
  made = _SOURCES.make(_spelt(name), data_dir)
  return check_dataset(made if isinstance(made, Dataset) else files.from_arrays(name, made))


def check_name(name: str) -> None:
  """Raise a ValueError if a text names no dataset, or gives it an option that it does not take.

  Args:
    name: see `load`.

  Example:
    >>> check_name("spiral:num_arms=5")
  """
  source, options = _SOURCES.parse(_spelt(name))
  if source == "label_noise":
    check_name(options["of"])
  elif source != "texts" and (path := _path_of(name)):
    files.check_path(path)


def fingerprint(name: str) -> str | None:
  """Return a digest of the file or the folder that a text names; of images the size must do.

  Args:
    name: see `load`.

  Returns:
    The digest; None of what is no file or folder.

  Example:
    >>> fingerprint("digits") is None
    True
  """
  path = _path_of(name)
  return _fingerprint(path, path.stat().st_mtime_ns) if path and path.exists() else None


@functools.lru_cache
def _fingerprint(path: pathlib.Path, changed: int) -> str:
  """Return the digest of a path; it is computed anew where the path was changed."""

  def digest(file):
    with file.open("rb") as opened:
      return hashlib.file_digest(opened, "sha256").hexdigest()[:12]

  def facts(file):
    # Labels that were changed, and pixels that are not compressed, leave a file's size.
    is_image = file.suffix.lower() in files.IMAGE_SUFFIXES
    return str(file.relative_to(path)), file.stat().st_size if is_image else digest(file)

  if path.is_file():
    return digest(path)
  inner = sorted(facts(file) for file in files.list_visible(path) if file.is_file())
  return hashlib.sha256(repr(inner).encode()).hexdigest()[:12]


def _path_of(name: str) -> pathlib.Path | None:
  """Return the path that a text names, if it is one."""
  text, options = registry.parse(_spelt(name))
  if text == "label_noise":
    return _path_of(options["of"])
  if text == "texts" and "path" in options:
    return pathlib.Path(options["path"]).expanduser()
  is_path = text not in _SOURCES and (os.sep in text or os.path.exists(text))
  return pathlib.Path(text).expanduser() if is_path else None


def digits() -> Dataset:
  r"""Return scikit-learn's 1,797 real 8x8 handwritten digits.

  The original pixels count ink from 0 to 16; they are scaled to the 0 to 255 of the other
  image datasets, :math:`\operatorname{round}(255\,x/16)`, which loses nothing, so that one
  ``standardise`` serves all. scikit-learn names no test split: a fixed stratified sample of
  360 examples (20%) is the test split here, the same on every machine. The split knows no
  writers, as the data name none, so a writer's digits lie on both sides of it: an accuracy on
  it is for comparing variants, not for comparing with splits by writer.

  Returns:
    1,437 training and 360 test examples, ``uint8 [N, 8, 8, 1]``, in 10 classes.

  Example:
    >>> from softmax_research import data
    >>> dataset = data.digits()
    >>> dataset.train.images.shape, dataset.test.images.shape
    ((1437, 8, 8, 1), (360, 8, 8, 1))

  Reference: Alpaydin and Kaynak (1998), Optical Recognition of Handwritten Digits, UCI.
  """
  # The file alone: to import scikit-learn takes longer than all else that a training imports.
  package = pathlib.Path(importlib.util.find_spec("sklearn").origin).parent
  rows = np.loadtxt(package / "datasets" / "data" / "digits.csv.gz", delimiter=",")
  images = np.rint(rows[:, :64] * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
  return _with_test_split("digits", images, rows[:, 64], 360, tuple("0123456789"))


def spiral(
  num_arms: int = 3,
  *,
  num_train: int = 3000,
  num_test: int = 1500,
  turns: float = 0.75,
  noise: float = 0.04,
  seed: int = 0,
) -> Dataset:
  r"""Draw points on the arms of a spiral, for pictures of decision regions.

  .. math::

    x = r \,(\cos\varphi, \sin\varphi) + \varepsilon, \qquad
    \varphi = 2\pi \left(\frac{y}{K} + \text{turns}\cdot r\right), \quad
    r \sim U(0.05, 1), \quad \varepsilon \sim N(0, \text{noise}^2)

  Args:
    num_arms: K, the number of classes; at least 2.
    num_train: number of training points; labels take turns, so classes are of equal size.
    num_test: number of test points.
    turns: how often an arm winds around the origin.
    noise: standard deviation of each coordinate around its arm.
    seed: chooses the points; not negative.

  Returns:
    Points ``float32 [N, 2]`` in ``num_arms`` classes.

  Raises:
    ValueError: if there are fewer than two arms, fewer points than arms, or negative noise.

  Example:
    >>> from softmax_research import data
    >>> data.spiral(4, num_train=8).train.labels.tolist()
    [0, 1, 2, 3, 0, 1, 2, 3]
  """
  check_integer("num_arms", num_arms, 2, remedy="Each class has one.")
  if min(num_train, num_test) < num_arms:
    raise ValueError(
      f"num_train and num_test must be at least num_arms={num_arms}, a point for each arm;"
      f" got {num_train} and {num_test}"
    )
  check_at_least("noise", noise, 0, "It is a standard deviation.")
  rng = np.random.default_rng(seed)

  def draw(size):
    labels = np.arange(size, dtype=np.int32) % num_arms
    radius = rng.uniform(0.05, 1.0, size)
    angle = 2 * np.pi * (labels / num_arms + turns * radius)
    points = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points += noise * rng.standard_normal((size, 2))
    return Split(points.astype(np.float32), labels)

  return Dataset(
    name="spiral",
    train=draw(num_train),
    test=draw(num_test),
    class_names=tuple(f"arm {k}" for k in range(num_arms)),
  )


def label_noise(
  *, of: str, rate: float, flips: str = "symmetric", seed: int = 0, data_dir=None
) -> Dataset:
  """Load a dataset and make some labels of its training pool wrong.

  The validation split, which is taken out of the pool, has wrong labels too, as in practice, where
  nobody knows which are right. The test split keeps its own.

  Args:
    of: the dataset, as `load` takes it; in brackets where it has options.
    rate: the share of labels that are wrong, in [0, 1].
    flips: see `flip_probabilities`.
    seed: chooses the labels; not negative.
    data_dir: that of `load`.

  Raises:
    ValueError: if an option is out of range, or as `load` does.

  Example:
    >>> noisy, clean = label_noise(of="digits", rate=0.4), digits()
    >>> round(float(np.mean(noisy.train.labels != clean.train.labels)), 1)
    0.4
    >>> bool(np.all(noisy.test.labels == clean.test.labels))
    True
  """
  clean = load(of, data_dir=data_dir)
  if clean.ignore_label is not None:
    raise ValueError(
      f"Got of={of!r}, where examples may lack a label; give data without those: a wrong label is "
      "made of a right one."
    )
  transition = flip_probabilities(clean.num_classes, flips=flips, rate=rate)
  labels = flip_labels(clean.train.labels, transition, seed=seed)
  name = f"{clean.name} with {100 * rate:g} % {flips} label noise"
  return dataclasses.replace(clean, name=name, train=Split(clean.train.images, labels))


def _measurements(name: str, loader: str, num_test: int) -> Dataset:
  """Return vectors that come with scikit-learn, a fixed stratified sample being the test split.

  That is three tenths, the same on every machine, as the data name no split. Measurements have
  their own units, and may differ in size a thousandfold; `standardise` brings them to one.
  """
  # scikit-learn takes seconds to import; who trains on another dataset does not wait for it.
  from sklearn import datasets  # noqa: PLC0415

  source = getattr(datasets, loader)()
  points = source.data.astype(np.float32)
  return _with_test_split(name, points, source.target, num_test, source.target_names)


def _with_test_split(name, images, labels, num_test, class_names) -> Dataset:
  pool = Split(images, labels.astype(np.int32))
  train, test = split_train_validation(pool, num_validation=num_test, seed=0)
  return Dataset(name, train, test, tuple(map(str, class_names)))


def _load_named(name: str, *, data_dir=None) -> Dataset:
  """Load images that have a name of ours from files under the directory, or through TFDS."""
  class_names = _CLASS_NAMES.get(name)
  path = files.find(name, data_dir or os.environ.get("TFDS_DATA_DIR"))
  if path is None:
    found = load_tfds_images(name, data_dir=data_dir)
  else:
    found = files.read(path)
  if found.num_classes != NUM_CLASSES[name]:
    raise ValueError(
      f"{path} holds {found.num_classes} classes, and {name} has {NUM_CLASSES[name]}; put {name}"
      " there, or give the path as the dataset"
    )
  return dataclasses.replace(found, name=name, class_names=class_names or found.class_names)


def _spelt(name: str) -> str:
  """Return a text as all are spelt: `tfds:NAME` as `tfds:name=NAME`, `texts:` likewise."""
  for source, option in (("tfds", "name"), ("texts", "path")):
    name = re.sub(rf"^\s*{source}:(?=[^:=]*(:|$))", f"{source}:{option}=", name)
  return name


def _call(source, options, data_dir):
  """Call a source with the directory of data, if it takes it."""
  signature = inspect.signature(source)
  options = ({"data_dir": data_dir} if "data_dir" in signature.parameters else {}) | options
  try:
    signature.bind(**options)
  except TypeError as error:
    raise ValueError(
      f"Got a dataset {error}; write it as tfds:cifar10, or as my_data.mine:option=value."
    ) from None
  return source(**options)


_SOURCES = registry.Registry(
  "dataset",
  {
    "digits": digits,
    "spiral": spiral,
    "iris": functools.partial(_measurements, "iris", "load_iris", 45),
    "wdbc": functools.partial(_measurements, "wdbc", "load_breast_cancer", 171),
    "wine": functools.partial(_measurements, "wine", "load_wine", 53),
    **{
      name: functools.partial(_load_named, name)
      for name in ("mnist", "fashion_mnist", "cifar10", "cifar100")
    },
    "tfds": load_tfds_images,
    "topics": documents.topics,
    "texts": documents.read_texts,
    "label_noise": label_noise,
  },
  example="digits, spiral:num_arms=5, or the path of an npz file",
  given=("data_dir",),
  build=_call,
  contract="returns a data.Dataset, or a dictionary of the arrays images and labels",
  accepts=lambda made: isinstance(made, Dataset | Mapping),
  reader=files.read,
)
