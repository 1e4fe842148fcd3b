"""Material: from a configuration, or a folder of one's own, to the scenes, all checked first."""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import PIL.Image
from ml_collections import ConfigDict

from configs import default, localize_digits, localize_objects
from experiments import assembly
from experiments.localization import scenes
from experiments.localization.scenes import Scenes
from softmax_research import data, information, registry
from softmax_research.functional.arrays import check_integer

# What makes scenes, and the file of the configuration whose keys they have.
_KINDS = {
  "digits": (scenes.digits, localize_digits),
  "objects": (scenes.objects, localize_objects),
}
# Keys of `scenes` that say how many there are and of what; the others are options of the maker.
_COUNTING = ("kind", "classes", "imbalance", "num_train", "num_validation", "num_test")
# Boxes that count pixels from 1, or were rounded, may pass the border by so much: they are cut.
_ROUNDING = 1.0


def check_config(config: ConfigDict) -> None:
  shown = config.get("scenes")
  kind = shown.get("kind") if isinstance(shown, ConfigDict) else None
  if kind not in _KINDS:
    raise ValueError(
      f"Got a configuration with scenes.kind={kind!r}; give "
      "--config=configs/localize_digits.py or --config=configs/localize_objects.py."
    )
  known, start = _KINDS[kind][1].get_config(), f"localize_{kind}"
  assembly.check_keys(config, known, start)
  of_scenes = ([f"scenes.{key}" for key in keys] for keys in (shown, known.scenes))
  assembly.check_keys(*of_scenes, start)
  assembly.check_config(ConfigDict({key: config[key] for key in default.get_config()}))
  for key in ("canvas", "num_train", "num_validation", "num_test"):
    check_integer(f"scenes.{key}", shown[key])
  if not shown.imbalance >= 1:
    raise ValueError(
      f"Got scenes.imbalance={shown.imbalance}; it says how many times as many scenes odd classes "
      "get as even ones, and is at least 1."
    )
  classes = tuple(shown.classes)
  most = assembly.num_classes(config)
  wrong = [label for label in classes if label not in range(most)]
  if wrong or len(set(classes)) != len(classes) or len(classes) == 1:
    raise ValueError(
      f"Got scenes.classes={classes}; give two or more different labels from 0 to {most - 1}, or "
      "() for all."
    )
  name, options = registry.parse(config.backbone)
  averages = options.get("global_average_pool") and options.get("dense") in ((), [])
  if name != "cnn" or not averages:
    raise ValueError(
      "Got a backbone without class activation maps; they need name='cnn', "
      "global_average_pool=True and dense=()."
    )


def make(config: ConfigDict) -> assembly.Splits:
  """Make the scenes of a checked configuration.

  Objects and clutter of training and validation scenes come from two parts of the training pool,
  those of test scenes from the test split. Training scenes are imbalanced as the configuration
  says; the others are balanced. The channels' statistics are those of training scenes.
  """
  name, made, names = _from_folder(config) if config.folder else _from_images(config)
  statistics = data.channel_statistics(made[0].images)
  return assembly.Splits(name, *made, names, *statistics)


def _from_images(config: ConfigDict) -> tuple[str, list[Scenes], tuple[str, ...]]:
  dataset = assembly.load_dataset(config)
  shown = config.scenes
  if dataset.train.images.ndim != 4 or dataset.train.labels.ndim != 1:
    raise ValueError(f"Got dataset={config.dataset!r}; scenes are made from images of one class.")
  classes = tuple(shown.classes) or tuple(range(dataset.num_classes))
  pool, test = (_only(split, classes) for split in (dataset.train, dataset.test))
  train, validation = data.split_train_validation(
    pool, fraction=config.validation_fraction, seed=config.split_seed
  )
  maker, _ = _KINDS[shown.kind]
  options = {key: value for key, value in shown.items() if key not in _COUNTING}
  made = []
  for number, (split, total, imbalance) in enumerate(
    (
      (train, shown.num_train, shown.imbalance),
      (validation, shown.num_validation, 1.0),
      (test, shown.num_test, 1.0),
    )
  ):
    odd = len(classes) // 2
    share = total / (len(classes) - odd + imbalance * odd)
    even, odd = (max(1, round(share * times)) for times in (1, imbalance))
    counts = data.alternating_counts(len(classes), even=even, odd=odd)
    made.append(maker(split, counts, seed=(config.split_seed, number), **options))
  names = tuple(dataset.class_names[label] for label in classes)
  return f"{shown.kind} from {config.dataset}", made, names


def _only(split: data.Split, classes: Sequence[int]) -> data.Split:
  """Keep some classes, whose labels become their places among them."""
  rows = np.flatnonzero(np.isin(split.labels, classes))
  places = np.argsort(classes)
  labels = places[np.searchsorted(np.sort(classes), split.labels[rows])]
  return data.Split(np.asarray(split.images[rows]), labels.astype(np.int32))


def _from_folder(config: ConfigDict) -> tuple[str, list[Scenes], tuple[str, ...]]:
  pool, test, names = read_folder(config.folder, size=config.scenes.canvas)
  size = max(1, round(config.validation_fraction * len(pool.labels)))
  chosen = data.stratified_sample(pool.labels, size, seed=config.split_seed)
  kept = np.setdiff1d(np.arange(len(pool.labels)), chosen)
  parts = [Scenes(*(part[rows] for part in pool)) for rows in (kept, np.sort(chosen))]
  return f"folder {pathlib.Path(config.folder).name}", [*parts, test], names


def _box(text: str) -> information.Box:
  left, top, width, height = map(float, text.split())
  return information.Box(top, left, top + height, left + width)


#: What each file says of an image after its id, and how that is read.
FILES: dict[str, tuple[str, Callable[[str], Any]]] = {
  "images.txt": ("path", str),
  "image_class_labels.txt": ("class", int),
  "train_test_split.txt": ("1 for training or 0 for test", ("0", "1").index),
  "bounding_boxes.txt": ("left top width height", _box),
}
_NAMES = "classes.txt"


def read_folder(folder: pathlib.Path | str, *, size: int) -> tuple[Scenes, Scenes, tuple[str, ...]]:
  """Read images and boxes of the user's own, both resized to a square.

  As that of CUB-200-2011 it has `images/` and, with a line for each image that begins with its id:
  `images.txt` (path below `images/`), `image_class_labels.txt` (class), `train_test_split.txt` (1
  for training, 0 for test) and `bounding_boxes.txt` (left, top, width and height in pixels).
  `classes.txt` (a class's number and name) may be missing. All lines and all boxes are checked
  before an image is decoded. A box may pass the border by a pixel, as rounded ones do, and is cut
  there.

  Args:
    folder: its path.
    size: S, the side of the square.

  Returns:
    RGB images and their boxes in the squares, for training and for the test, and the names of the
    classes, which are numbered in the order of their numbers.

  Raises:
    FileNotFoundError: a file is missing.
    ValueError: a line cannot be read, an image lacks a line, a box lies outside its image, an
      image cannot be decoded, or a class has no image for training or none is for the test.
  """
  folder = pathlib.Path(folder)
  paths, classes, in_train, boxes = found = [_read(folder, name) for name in FILES]
  if not paths:
    raise ValueError(f"Got {folder / 'images.txt'} without a line; list each image as 'id path'.")
  for (name, (meaning, _)), lines in zip(FILES.items(), found, strict=True):
    if wrong := sorted(lines.keys() ^ paths.keys()):
      has, lists = ("no", "lists") if wrong[0] in paths else ("a", "does not list")
      raise ValueError(
        f"{folder / name} has {has} line for image {wrong[0]}, which images.txt {lists}; each of "
        f"its images needs one, and nothing else has any: 'id {meaning}'."
      )
  numbers, labels = np.unique([classes[key] for key in paths], return_inverse=True)
  train = np.array([in_train[key] for key in paths], bool)
  lacking = np.setdiff1d(labels, labels[train])
  if len(lacking) or train.all() or len(numbers) < 2:
    raise ValueError(
      f"{folder / 'train_test_split.txt'} leaves {len(lacking)} of {len(numbers)} classes without "
      f"an image for training and {np.sum(~train)} images for the test; there must be two "
      "classes, an image of each for training, and one for the test."
    )
  names = _read(folder, _NAMES) if (folder / _NAMES).is_file() else {}
  opened = {key: folder / "images" / path for key, path in paths.items()}
  squares = [_scale(path, boxes[key], size) for key, path in opened.items()]
  images = [
    _open(path, lambda of: of.convert("RGB").resize((size, size), PIL.Image.Resampling.BILINEAR))
    for path in opened.values()
  ]
  every = Scenes(np.stack(images), labels.astype(np.int32), np.array(squares, np.float64))
  parts = (Scenes(*(part[rows] for part in every)) for rows in (train, ~train))
  return *parts, tuple(names.get(str(number), str(number)) for number in numbers)


def _read(folder: pathlib.Path, name: str) -> dict[str, Any]:
  """Return what a file says of each id."""
  path, (meaning, parse) = folder / name, FILES.get(name, ("name", str))
  if not path.is_file():
    raise FileNotFoundError(
      f"Got the folder {folder} without {name}; it needs {', '.join(FILES)} and images/, as "
      "CUB-200-2011 has them."
    )
  found: dict[str, Any] = {}
  for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
    key, _, rest = line.strip().partition(" ")
    try:
      if key in found or (key and not rest):
        raise ValueError
      found |= {key: parse(rest.strip())} if key else {}
    except ValueError:
      raise ValueError(
        f"Line {number} of {path} is {line!r}; a line is 'id {meaning}', and no id stands there "
        "twice."
      ) from None
  return found


def _scale(path: pathlib.Path, box: information.Box, size: int) -> information.Box:
  """Check a box against its image's size and carry it over to the square."""
  width, height = _open(path, lambda image: image.size).tolist()
  nearest = np.clip(box, 0, (height, width, height, width))
  rounded = np.where(np.abs(np.subtract(box, nearest)) <= _ROUNDING, nearest, box).tolist()
  try:
    return information.scale_box(information.Box(*rounded), (height, width), (size, size))
  except ValueError:
    raise ValueError(
      f"{path} is {width} pixels wide and {height} high, and its box is left {box.left:g}, top "
      f"{box.top:g}, width {box.right - box.left:g}, height {box.bottom - box.top:g}; a box has an "
      "area and lies inside its image. Correct its line in bounding_boxes.txt: 'id left top width "
      "height', in pixels."
    ) from None


def _open(path: pathlib.Path, look: Callable[[PIL.Image.Image], Any]) -> np.ndarray:
  try:
    with PIL.Image.open(path) as image:
      return np.asarray(look(image))
  except OSError as error:
    raise ValueError(f"{path} cannot be read as an image ({error}).") from None
