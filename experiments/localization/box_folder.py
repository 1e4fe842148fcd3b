"""Box folder: a user's own images with boxes, in the layout of CUB-200-2011."""

import pathlib
from typing import Any, NamedTuple

import numpy as np
import PIL.Image

from experiments.localization.scenes import Scenes
from softmax_research import information

# What each file says of an image after its id.
_FILES = {
  "images.txt": "path",
  "image_class_labels.txt": "class",
  "train_test_split.txt": "1 for training or 0 for test",
  "bounding_boxes.txt": "left top width height",
}
# Boxes that count pixels from 1, or were rounded, may pass the border by so much: they are cut.
_ROUNDING = 1.0


class Folder(NamedTuple):
  """Hold what a folder has: images for training, and for the test."""

  train: Scenes
  test: Scenes
  class_names: tuple[str, ...]


def read(folder: pathlib.Path | str, *, size: int) -> Folder:
  """Read images and boxes, both resized to a square.

  The folder has `images/` and, with a line for each image that begins with its id: `images.txt`
  (path below `images/`), `image_class_labels.txt` (class), `train_test_split.txt` (1 for training,
  0 for test) and `bounding_boxes.txt` (left, top, width and height in pixels). `classes.txt` (a
  class's number and name) may be missing. All lines and all boxes are checked before an image is
  decoded. A box may pass the border by a pixel, as rounded ones do, and is cut there.

  Args:
    folder: its path.
    size: S, the side of the square.

  Returns:
    RGB images and their boxes in the squares. Classes are numbered in the order of their numbers.

  Raises:
    FileNotFoundError: a file is missing.
    ValueError: a line cannot be read, an image lacks a line, a box lies outside its image, an
      image cannot be decoded, or a class has no image for training or none is for the test.
  """
  folder = pathlib.Path(folder)
  fields = {name: _read_lines(folder, name) for name in _FILES}
  paths = fields["images.txt"]
  if not paths:
    raise ValueError(f"Got {folder / 'images.txt'} without a line; list each image as 'id path'.")
  for name, lines in fields.items():
    if missing := [key for key in paths if key not in lines]:
      raise ValueError(
        f"{folder / name} has no line for image {missing[0]} ({paths[missing[0]]}), nor for "
        f"{len(missing) - 1} others; each image of images.txt needs one: 'id {_FILES[name]}'."
      )
    if unknown := [key for key in lines if key not in paths]:
      raise ValueError(
        f"{folder / name} has a line for image {unknown[0]}, which images.txt does not list; "
        "remove it, or list the image."
      )
  boxes = {key: _parse_box(folder, key, text) for key, text in fields["bounding_boxes.txt"].items()}
  in_train = np.array(
    [_choice(folder, key, fields["train_test_split.txt"][key]) for key in paths], bool
  )
  classes = [_number(folder, key, fields["image_class_labels.txt"][key]) for key in paths]
  numbers = sorted(set(classes))
  labels = np.searchsorted(numbers, classes).astype(np.int32)
  names = _class_names(folder, numbers)
  lacking = np.setdiff1d(np.arange(len(numbers)), labels[in_train])
  if len(lacking) or in_train.all() or len(numbers) < 2:
    raise ValueError(
      f"{folder / 'train_test_split.txt'} leaves {len(lacking)} of {len(numbers)} classes without "
      f"an image for training and {np.sum(~in_train)} images for the test; there must be two "
      "classes, an image of each for training, and one for the test."
    )
  squares = [_scaled_box(folder / "images" / path, boxes[key], size) for key, path in paths.items()]
  images = np.stack([_decode(folder / "images" / path, size) for path in paths.values()])
  every = Scenes(images, labels, np.array(squares, np.float64))
  train, test = (Scenes(*(part[rows] for part in every)) for rows in (in_train, ~in_train))
  return Folder(train, test, names)


def _read_lines(folder: pathlib.Path, name: str) -> dict[str, str]:
  """Return what a file says of each id."""
  path = folder / name
  if not path.is_file():
    raise FileNotFoundError(
      f"Got the folder {folder} without {name}; it needs {', '.join(_FILES)} and images/, as "
      "CUB-200-2011 has them."
    )
  found: dict[str, str] = {}
  for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
    if not line.strip():
      continue
    key, _, rest = line.strip().partition(" ")
    if not rest or key in found:
      problem = "stands there twice" if key in found else "has nothing behind its id"
      raise ValueError(
        f"Line {number} of {path} is {line!r}, whose image {problem}; give each one line, as "
        f"'id {_FILES.get(name, 'name')}'."
      )
    found[key] = rest.strip()
  return found


def _parse_box(folder: pathlib.Path, key: str, text: str) -> information.Box:
  try:
    left, top, width, height = map(float, text.split())
  except ValueError:
    raise ValueError(_explain(folder, "bounding_boxes.txt", key, text)) from None
  return information.Box(top, left, top + height, left + width)


def _number(folder: pathlib.Path, key: str, text: str) -> int:
  if not text.isdigit():
    raise ValueError(_explain(folder, "image_class_labels.txt", key, text))
  return int(text)


def _choice(folder: pathlib.Path, key: str, text: str) -> bool:
  if text not in ("0", "1"):
    raise ValueError(_explain(folder, "train_test_split.txt", key, text))
  return text == "1"


def _explain(folder: pathlib.Path, name: str, key: str, text: str) -> str:
  return f"{folder / name} has {text!r} for image {key}; a line is 'id {_FILES[name]}'."


def _class_names(folder: pathlib.Path, numbers: list[int]) -> tuple[str, ...]:
  names: dict[str, Any] = {}
  if (folder / "classes.txt").is_file():
    names = _read_lines(folder, "classes.txt")
  return tuple(names.get(str(number), str(number)) for number in numbers)


def _scaled_box(path: pathlib.Path, box: information.Box, size: int) -> information.Box:
  """Check a box against its image's size and carry it over to the square."""
  try:
    with PIL.Image.open(path) as image:
      width, height = image.size
  except OSError as error:
    raise ValueError(f"{path} cannot be read as an image ({error}).") from None
  inside = information.Box(
    _cut(box.top, height), _cut(box.left, width), _cut(box.bottom, height), _cut(box.right, width)
  )
  try:
    return information.scale_box(inside, (height, width), (size, size))
  except ValueError:
    raise ValueError(
      f"{path} is {width} pixels wide and {height} high, and its box is left {box.left:g}, top "
      f"{box.top:g}, width {box.right - box.left:g}, height {box.bottom - box.top:g}; a box has an "
      "area and lies inside its image. Correct its line in bounding_boxes.txt: 'id left top width "
      "height', in pixels."
    ) from None


def _cut(edge: float, limit: int) -> float:
  """Move an edge that rounding put just outside to the border."""
  nearest = min(max(edge, 0.0), float(limit))
  return nearest if abs(edge - nearest) <= _ROUNDING else edge


def _decode(path: pathlib.Path, size: int) -> np.ndarray:
  try:
    with PIL.Image.open(path) as image:
      resized = image.convert("RGB").resize((size, size), PIL.Image.Resampling.BILINEAR)
      return np.asarray(resized)
  except OSError as error:
    raise ValueError(f"{path} cannot be read as an image ({error}).") from None
