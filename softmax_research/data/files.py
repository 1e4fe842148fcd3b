"""Datasets from the user's own files: arrays, folders of images, and MNIST's and CIFAR's own files.

Whatever the form, `from_arrays` makes the dataset, and refuses what is wrong with it.
"""

import contextlib
import dataclasses
import gzip
import hashlib
import os
import pathlib
import pickle
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from softmax_research.data.cache import load_or_build
from softmax_research.data.dataset import Dataset, Split, check_dataset, split_train_validation

# The part of the examples that is the test split where the data name none.
_TEST_FRACTION = 0.2
_NO_LABEL = -1
# More test examples than this part of them, found in the training split too, are worth a warning.
_SHARED_FRACTION = 0.01
# More pixels a side than these are a slip of the hand, and would fill the memory.
_LARGEST_SIZE = 4096
_SPLITS = ("train_images", "train_labels", "test_images", "test_labels")
# Keras saves its datasets under these names.
_SPELLINGS = dict(zip(("x_train", "y_train", "x_test", "y_test"), _SPLITS, strict=True))
#: How names of image files end.
IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))
# CIFAR's files for training and testing, the file of class names, and the key of the labels in a
# pickle or else the number of bytes before the pixels, of which the last is the label.
_CIFAR = (
  (_BATCHES, "test_batch", "batches.meta", "labels"),
  (("train",), "test", "meta", "fine_labels"),
  (tuple(f"{batch}.bin" for batch in _BATCHES), "test_batch.bin", "batches.meta.txt", 1),
  (("train.bin",), "test.bin", "fine_label_names.txt", 2),
)
_IDX = tuple(
  f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images?idx3", "labels?idx1")
)
# What tells that data of a name lie in a directory itself, and where else they may below it.
_AT_TOP = {"mnist": f"{_IDX[0]}*", "cifar10": "data_batch_1*"}
_PLACES = {
  "mnist": ("MNIST/raw", "MNIST"),
  "fashion_mnist": ("FashionMNIST/raw", "fashion-mnist"),
  "cifar10": ("cifar-10-batches-py", "cifar-10-batches-bin"),
  "cifar100": ("cifar-100-python", "cifar-100-binary"),
}
_FORMS = (
  "a folder must hold MNIST's IDX files (train-images-idx3-ubyte.gz and so on), CIFAR's batches"
  " (data_batch_1 and so on), or a folder of images for each class, or train and test with such"
  " folders in each"
)


def from_arrays(name: str, arrays: Mapping[str, Any]) -> Dataset:
  """Make a dataset of arrays, and check all that it must be.

  Args:
    name: of the dataset.
    arrays: ``images`` and ``labels``, of which a stratified fifth is the test split; or
      ``train_images``, ``train_labels``, ``test_images`` and ``test_labels``; and, where classes
      have names, ``class_names``. Images are ``[N, H, W]`` or ``[N, H, W, C]``, vectors
      ``[N, D]``; images of whole numbers from 0 to 255 are kept so, all else as float32. Labels
      are integers from 0 to K - 1, or names; or distributions over the classes, ``[N, K]``. What
      stands in place of a label where an example has none is declared as ``ignore_label``.

  Raises:
    ValueError: if an array is missing or of another form, or a value in it is not allowed.

  Warns:
    UserWarning: if more than 1% of the test examples stand in the training split too.

  Example:
    >>> made = from_arrays("pets", {"images": np.eye(10), "labels": ["cat", "dog"] * 5})
    >>> made.train.images.shape, made.test.labels.tolist(), made.class_names
    ((8, 10), [0, 1], ('cat', 'dog'))
  """
  arrays = {
    _SPELLINGS.get(key, key): np.asarray(of) for key, of in arrays.items() if of is not None
  }
  class_names, ignored = arrays.pop("class_names", None), arrays.pop("ignore_label", None)
  parts = ("",) if "images" in arrays else ("train_", "test_")
  if set(arrays) != {f"{part}{kind}" for part in parts for kind in ("images", "labels")}:
    raise ValueError(
      f"{name}: the arrays are {', '.join(sorted(arrays)) or 'none'}; they must be images and"
      f" labels, or {', '.join(_SPLITS)}; class_names and ignore_label may stand beside them"
    )
  images = as_images(name, [arrays[f"{part}images"] for part in parts])
  labels, missing = [_as_plain(arrays[f"{part}labels"]) for part in parts], None
  if ignored is not None:
    ignored = _as_plain(ignored)
    if ignored.size != 1 or any(given.ndim != 1 for given in labels):
      raise ValueError(
        f"{name}: ignore_label is {ignored.tolist()!r} for labels of shape {labels[0].shape}; it is"
        " one number or name, which stands in place of a label where these are [N]"
      )
    missing = [given == ignored.item() for given in labels]
    labels = [given[~none] for given, none in zip(labels, missing, strict=True)]
  labels, class_names = _as_labels(name, labels, class_names)
  if ignored is not None:
    for k, none in enumerate(missing):
      if strange := np.sum(labels[k] == _NO_LABEL):
        raise ValueError(
          f"{name}: {strange} labels are neither a class nor {ignored.item()!r}, the one that is"
          " ignored"
        )
      known, labels[k] = labels[k], np.full(len(none), _NO_LABEL, np.int32)
      labels[k][~none] = known
    ignored = _NO_LABEL
  train, *test = map(Split, images, labels)
  made = Dataset(name, train, *(test or [train]), class_names, ignored)
  check_dataset(made)
  if not test:
    try:
      splits = split_train_validation(train, fraction=_TEST_FRACTION, seed=0)
    except ValueError as error:
      raise ValueError(f"{name}: {error}, or give the test split apart") from None
    made = dataclasses.replace(made, train=splits[0], test=splits[1])
  _warn_of_shared(made)
  return made


def read(path: str | os.PathLike, *, size: int | None = None) -> Dataset:
  """Read a dataset from a file or a folder.

  Args:
    path: an ``npz`` file with the arrays of `from_arrays`; or a folder: of images by class, with
      or without ``train`` and ``test`` above the classes; of MNIST's IDX files; of CIFAR-10's or
      CIFAR-100's batches, binary or for Python. All as their authors give them.
    size: height and width to which the images of a folder are scaled; none may be given where
      they are of one size.

  Raises:
    ValueError: if there is nothing of these forms, or a file is damaged; see also `from_arrays`.
    DataUnavailableError: if the cache cannot be written.

  Example:
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "pets.npz")
    >>> np.savez(path, images=np.eye(10), labels=["cat", "dog"] * 5)
    >>> read(path).class_names
    ('cat', 'dog')
  """
  path = pathlib.Path(path).expanduser()
  check_path(path)
  form, name = _form(path), path.resolve().name
  if size is not None and form is not _read_images:
    raise ValueError(f"{path}: got size={size}; a folder of images alone takes one")
  _check_size(path, size)
  if form is not _read_images:
    return from_arrays(name, form(path))
  files = [file for part in _image_files(path).values() for file, _ in part]
  facts = []
  for file in files:
    with _reading(file):  # A link may lead nowhere.
      facts.append((str(file), file.stat().st_size, file.stat().st_mtime_ns))
  digest = hashlib.sha256(repr((str(path.resolve()), size, facts)).encode()).hexdigest()

  def build():
    print(f"Decoding {len(files)} images of {path} once ...", file=sys.stderr, flush=True)
    return from_arrays(name, _read_images(path, size))

  return load_or_build(f"{name}-{digest[:12]}", build)


def check_path(path: pathlib.Path) -> None:
  """Raise a ValueError if there are no data of these forms."""
  check_exists(path)
  if _form(path) is None:
    wrong = f"holds no data: {_FORMS}" if path.is_dir() else "is no npz file; write one by np.savez"
    raise ValueError(f"{path} {wrong}")


def check_exists(path: pathlib.Path) -> None:
  """Raise a ValueError if there is nothing at a path."""
  if not path.exists():
    raise ValueError(
      f"{path} is no file and no folder; give a path from {pathlib.Path.cwd()}, or a whole one"
    )


def read_images(path: pathlib.Path, *, size: int | None = None) -> tuple[list[str], np.ndarray]:
  """Read images without labels: of an ``npy`` or ``npz`` file, of a folder, or a single one.

  Returns:
    Their names, which are numbers where they have none, and the images ``[N, ...]``.
  """
  path = pathlib.Path(path).expanduser()
  check_exists(path)
  if path.suffix in (".npy", ".npz"):
    arrays = _read_numpy(path)
    keys = [key for key in ("images", "test_images", "x_test") if key in arrays]
    if not keys:
      raise ValueError(f"{path} has the arrays {', '.join(arrays)}; images must be among them")
    (images,) = as_images(str(path), [arrays[keys[0]]])
    return [str(i) for i in range(len(images))], images
  _check_size(path, size)
  files = [path] if path.is_file() else list_visible(path)
  files = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
  if not files:
    raise ValueError(f"{path} holds no images; they end in {', '.join(IMAGE_SUFFIXES)}, npy or npz")
  names = [str(file.relative_to(path)) if path.is_dir() else file.name for file in files]
  return names, _decode(files, size)


def list_visible(folder: pathlib.Path) -> list[pathlib.Path]:
  """List what is below a folder in order, but for what is hidden or in a hidden folder.

  Programs keep copies and previews there, as Jupyter does in ``.ipynb_checkpoints``.
  """

  def is_hidden(path):
    return any(part.startswith(".") for part in path.relative_to(folder).parts)

  return sorted(path for path in folder.rglob("*") if not is_hidden(path))


def find(name: str, directory: str | os.PathLike | None) -> pathlib.Path | None:
  """Return where data that have a name of ours lie under a directory, or None."""
  if not directory:
    return None
  directory = pathlib.Path(directory).expanduser()
  if name in _AT_TOP and any(directory.glob(_AT_TOP[name])):
    return directory
  places = [directory / place for place in (f"{name}.npz", name, *_PLACES.get(name, ()))]
  return next((place for place in places if _form(place) is not None), None)


def _form(path: pathlib.Path) -> Callable[..., dict[str, Any]] | None:
  """Return what reads the arrays of a file or a folder; None where nothing does."""
  if not path.is_dir():
    return _read_numpy if path.suffix == ".npz" and path.is_file() else None
  if any(path.glob(_AT_TOP["mnist"])):
    return _read_idx
  if _cifar_files(path):
    return _read_cifar
  return _read_images if any(_image_files(path).values()) else None


def as_images(name: str, parts: Sequence[np.ndarray]) -> list[np.ndarray]:
  """Return images and vectors in the types and shapes of a dataset."""
  for images in parts:
    if images.dtype.kind not in "biuf" or images.ndim not in (2, 3, 4):
      raise ValueError(
        f"{name}: images are {images.dtype} {images.shape}; they must be numbers [N, H, W],"
        " [N, H, W, C], or [N, D] for vectors"
      )
    if images.ndim == 4 and images.shape[1] <= 4 < images.shape[3]:
      raise ValueError(
        f"{name}: images have the shape {images.shape}; channels come last: give"
        " np.moveaxis(images, 1, -1)"
      )
  pixels = all(
    images.ndim > 2
    and images.dtype.kind in "iu"
    and (not images.size or (images.min() >= 0 and images.max() <= 255))
    for images in parts
  )
  with np.errstate(over="ignore"):  # What float32 cannot hold is infinite, and refused as such.
    parts = [images.astype(np.uint8 if pixels else np.float32, copy=False) for images in parts]
  return [images[..., None] if images.ndim == 3 else images for images in parts]


def _as_labels(
  name: str, parts: Sequence[np.ndarray], class_names: np.ndarray | None
) -> tuple[list[np.ndarray], tuple[str, ...]]:
  """Return labels as int32, or distributions as float32, and the names of the classes."""
  names = None if class_names is None else tuple(_as_text(class_names).ravel().tolist())
  if names and len(set(names)) < len(names):
    raise ValueError(f"{name}: class_names are {', '.join(names)}; each must be there once")
  if all(labels.ndim == 2 and labels.dtype.kind == "f" for labels in parts):
    names = names or tuple(map(str, range(parts[0].shape[1])))
    return [labels.astype(np.float32) for labels in parts], names
  for labels in parts:
    if labels.ndim != 1 or not labels.size:
      raise ValueError(
        f"{name}: labels have the shape {labels.shape}; they must be [N], with N of at least 1,"
        " or distributions, [N, K] of a floating-point type"
      )
  if all(labels.dtype.kind in "US" for labels in parts):
    names = names or tuple(np.unique(np.concatenate(parts)).tolist())
    index = {text: k for k, text in enumerate(names)}
    parts = [np.array([index.get(text, -1) for text in labels.tolist()]) for labels in parts]
  if not all(labels.dtype.kind in "biu" for labels in parts):
    raise ValueError(
      f"{name}: labels are {parts[0].dtype}; they must be integers from 0 to K - 1, or names: give"
      " labels.astype(int), if they are whole"
    )
  present = np.unique(parts[0][parts[0] >= 0])
  gap = next((k for k, label in enumerate(present) if k != label), len(present))
  if gap < max(2, len(names) if names else int(present.max(initial=0)) + 1):
    called = f" ({names[gap]})" if names and gap < len(names) else ""
    if names and len(present) == 1:
      called = f", all have 0 ({names[0]})"
    raise ValueError(
      f"{name}: no training example has the label {gap}{called}; there must be two classes or more,"
      " numbered from 0 without a gap, each with examples: np.unique(labels, return_inverse=True)"
      " numbers them so"
    )
  limits = np.iinfo(np.int32)
  parts = [labels.astype(np.int64).clip(limits.min, limits.max) for labels in parts]
  return [labels.astype(np.int32) for labels in parts], names or tuple(map(str, range(gap)))


def _as_plain(labels: np.ndarray) -> np.ndarray:
  """Return labels of a single column as ``[N]``, and bytes and texts of any length as text."""
  labels = labels[:, 0] if labels.shape[1:] == (1,) else labels
  # Programs that read tables have texts as objects.
  is_text = labels.dtype.kind in "OT" and all(isinstance(label, str) for label in labels.flat)
  return _as_text(labels) if is_text or labels.dtype.kind == "S" else labels


def _as_text(names: np.ndarray) -> np.ndarray:
  """Return names as text; bytes are UTF-8, and what is none is shown as such."""
  if names.dtype.kind == "S":
    return np.char.decode(names, "utf-8", "backslashreplace")
  return np.array(names.tolist(), str)  # NumPy casts no StringDType to it.


def _check_size(path: pathlib.Path, size: int | None) -> None:
  if size is not None and not (isinstance(size, int) and 1 <= size <= _LARGEST_SIZE):
    raise ValueError(f"{path}: got size={size}; it must be from 1 to {_LARGEST_SIZE} pixels")


def _warn_of_shared(made: Dataset) -> None:
  seen = {hash(image.tobytes()) for image in made.train.images}
  shared = sum(hash(image.tobytes()) in seen for image in made.test.images)
  if shared > _SHARED_FRACTION * len(made.test.labels):
    warnings.warn(
      f"{made.name}: {shared} of {len(made.test.labels)} test examples stand in the training split"
      " too, so that they test no generalisation; remove them from one of the two",
      stacklevel=3,
    )


def _read_numpy(path: pathlib.Path) -> dict[str, np.ndarray]:
  """Read the arrays of an npz file; the one of an npy file is of images."""
  try:
    loaded = np.load(path, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
      return {"images": loaded}
    with loaded:
      return dict(loaded)
  except Exception as error:  # NumPy and zip files have many errors for damage.
    raise ValueError(
      f"{path} cannot be read ({type(error).__name__}: {error}); save arrays of numbers and texts"
      " by np.savez"
    ) from error


def _read_idx(path: pathlib.Path) -> dict[str, np.ndarray]:
  """Read MNIST's four files, whole or compressed."""
  arrays = {}
  for key, pattern in zip(_SPLITS, _IDX, strict=True):
    found = sorted(path.glob(f"{pattern}*"))
    if not found:
      raise ValueError(f"{path} holds no {pattern.replace('?', '-')}; put it beside the others")
    arrays[key] = _parse_idx(found[0])
  return arrays


def _parse_idx(file: pathlib.Path) -> np.ndarray:
  with _reading(file):
    content = (gzip.decompress if file.suffix == ".gz" else bytes)(file.read_bytes())
    if content[:3] != b"\0\0\x08":
      raise ValueError(f"it begins with {content[:4].hex()}, where IDX files of bytes have 000008")
    shape = np.frombuffer(content, ">i4", content[3], 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(shape)


def _cifar_files(path: pathlib.Path) -> tuple | None:
  return next((files for files in _CIFAR if (path / files[0][0]).is_file()), None)


def _read_cifar(path: pathlib.Path) -> dict[str, Any]:
  """Read CIFAR's batches, of either number of classes and of either form."""
  train, test, names, labels = _cifar_files(path)
  parse = _parse_binary if isinstance(labels, int) else _parse_pickle
  arrays = {}
  for part, files in (("train", train), ("test", (test,))):
    if missing := [name for name in files if not (path / name).is_file()]:
      raise ValueError(f"{path} holds no {missing[0]}; put it beside the others")
    batches = [parse(path / name, labels) for name in files]
    pixels, arrays[f"{part}_labels"] = (np.concatenate(of) for of in zip(*batches, strict=True))
    arrays[f"{part}_images"] = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
  if (path / names).is_file():
    with _reading(path / names):
      if isinstance(labels, int):
        arrays["class_names"] = (path / names).read_text("utf-8").split()
      else:
        arrays["class_names"] = list(
          _unpickle(path / names)[labels.replace("labels", "label_names")]
        )
  return arrays


def _parse_binary(file: pathlib.Path, num_labels: int) -> tuple[np.ndarray, np.ndarray]:
  with _reading(file):
    rows = np.fromfile(file, np.uint8).reshape(-1, num_labels + 3072)
  return rows[:, num_labels:], rows[:, num_labels - 1]


def _parse_pickle(file: pathlib.Path, key: str) -> tuple[np.ndarray, np.ndarray]:
  with _reading(file):
    found = _unpickle(file)
    # What would lose something is refused, as pixels that were divided by 255 are.
    pixels = np.asarray(found["data"]).astype(np.uint8, casting="safe").reshape(-1, 3072)
    labels = np.asarray(found[key]).astype(np.int64, casting="safe")
    if labels.shape != pixels.shape[:1]:
      raise ValueError(f"it has {len(pixels)} images and labels of shape {labels.shape}")
    return pixels, labels


class _ArraysAlone(pickle.Unpickler):
  """Unpickle arrays and bytes, and nothing that could run a stranger's program."""

  def find_class(self, module: str, name: str) -> Any:
    if name == "_reconstruct":
      return np.zeros(0).__reduce__()[0]  # NumPy's own, wherever it lies in this version.
    if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
      return getattr(np, name)
    if (module, name) == ("_codecs", "encode"):  # How Python writes bytes in its old protocols.
      return lambda text, encoding: text.encode("latin1")
    raise pickle.UnpicklingError(f"it asks for {module}.{name}; arrays and bytes alone are read")


def _unpickle(file: pathlib.Path) -> dict[str, Any]:
  """Return a dictionary that Python 2 or 3 pickled, its keys as text."""
  with file.open("rb") as opened:
    found = _ArraysAlone(opened, encoding="bytes").load()
  return {key.decode() if isinstance(key, bytes) else key: of for key, of in found.items()}


def _image_files(path: pathlib.Path) -> dict[str, list[tuple[pathlib.Path, str]]]:
  """List the images below a folder with their classes, by the part that they are in."""
  found = {}
  for part in ("train", "test") if (path / "train").is_dir() else ("",):
    folders = sorted((path / part).glob("[!.]*/"))
    found[part] = [
      (file, folder.name)
      for folder in folders
      for file in list_visible(folder)
      if file.suffix.lower() in IMAGE_SUFFIXES
    ]
  return found


def _read_images(path: pathlib.Path, size: int | None = None) -> dict[str, Any]:
  found = {part: files for part, files in _image_files(path).items() if files}
  folders = {folder.name for folder in path.glob("[!.]*/")}
  if folders & {"train", "test"} and folders - set(found):
    raise ValueError(
      f"{path} holds the folders {', '.join(sorted(folders))}; where there is train or test,"
      " training images stand by class in train, test images in test, and nothing beside them"
    )
  files = [file for part in found.values() for file, _ in part]
  images = np.split(_decode(files, size), np.cumsum([len(part) for part in found.values()])[:-1])
  arrays = {}
  for (part, of), pixels in zip(found.items(), images, strict=True):
    part = f"{part}_" if len(found) > 1 else ""
    arrays |= {f"{part}images": pixels, f"{part}labels": [name for _, name in of]}
  return arrays


def _decode(files: Sequence[pathlib.Path], size: int | None) -> np.ndarray:
  """Return images of one size, ``uint8 [N, H, W, C]``, gray if all of them are."""
  import PIL.Image  # noqa: PLC0415  # Few datasets need it.

  images, modes = [], set()
  for file in files:
    with _reading(file), PIL.Image.open(file) as image:
      modes.add(image.mode)
      if image.mode[0] in "IF":
        raise ValueError(f"its pixels are {image.mode}, not of 8 bits; save them in an npz file")
      image = image.convert("RGB")
    images.append(np.asarray(image if size is None else image.resize((size, size))))
    if images[-1].shape != images[0].shape:
      (h, w, _), (first_h, first_w, _) = images[-1].shape, images[0].shape
      raise ValueError(
        f"{file} has {w} x {h} pixels, and {files[0]} has {first_w} x {first_h}; scale all to one"
        " size by the option size, as path:size=32"
      )
  stacked = np.stack(images)
  return stacked[..., :1] if modes <= {"1", "L"} else stacked


@contextlib.contextmanager
def _reading(file: pathlib.Path) -> Iterator[None]:
  """Raise a ValueError that names the file where reading it fails, as damage may in any way."""
  try:
    yield
  except Exception as error:
    raise ValueError(
      f"{file} cannot be read ({type(error).__name__}: {error}); get it anew, or remove it"
    ) from error
