"""A folder of images with boxes: read and resized, and every mistake in it named."""

import numpy as np
import PIL.Image
import pytest

from experiments.localization import material

# Width and height of each image, and its box as left, top, width and height.
_IMAGES = [
  ((20, 10), (4, 2, 6, 5)),
  ((10, 40), (0, 10, 10, 20)),
  ((20, 20), (10, 10, 10, 10)),
  ((30, 20), (3, 4, 12, 8)),
]


@pytest.fixture
def folder(tmp_path):
  """A made-up tree: two classes, each with one image for training and one for the test."""
  (tmp_path / "images" / "birds").mkdir(parents=True)
  lines = {name: [] for name in material.FILES}
  for number, ((width, height), box) in enumerate(_IMAGES, 1):
    left, top, wide, high = box
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[top : top + high, left : left + wide] = 255
    PIL.Image.fromarray(pixels).save(tmp_path / "images" / "birds" / f"{number}.png")
    lines["images.txt"].append(f"{number} birds/{number}.png")
    lines["image_class_labels.txt"].append(f"{number} {3 if number % 2 else 7}")
    lines["train_test_split.txt"].append(f"{number} {int(number <= 2)}")
    lines["bounding_boxes.txt"].append(f"{number} " + " ".join(f"{x:.1f}" for x in box))
  for name, content in lines.items():
    (tmp_path / name).write_text("\n".join(content) + "\n")
  (tmp_path / "classes.txt").write_text("3 003.Sooty_Albatross\n7 007.Parakeet_Auklet\n")
  return tmp_path


def test_boxes_follow_the_images_to_their_new_size(folder):
  train, test, names = material.read_folder(folder, size=40)
  assert names == ("003.Sooty_Albatross", "007.Parakeet_Auklet")
  assert train.images.shape == test.images.shape == (2, 40, 40, 3)
  assert train.labels.tolist() == test.labels.tolist() == [0, 1]
  expected = [[8, 8, 28, 20], [10, 0, 30, 40], [20, 20, 40, 40], [8, 4, 24, 20]]
  np.testing.assert_allclose(np.concatenate([train.boxes, test.boxes]), expected)
  for image, (top, left, bottom, right) in zip(train.images, train.boxes, strict=True):
    bright = np.argwhere(image[..., 0] > 127)
    np.testing.assert_allclose(bright.min(0), [top, left], atol=1)
    np.testing.assert_allclose(bright.max(0) + 1, [bottom, right], atol=1)


def test_rounding_may_pass_the_border_by_a_pixel(folder):
  _replace(folder, "bounding_boxes.txt", "3 10.0 10.0 10.0 10.0", "3 10.5 10.5 10.0 10.0")
  _, test, _ = material.read_folder(folder, size=20)
  assert test.boxes[0].tolist() == [10.5, 10.5, 20, 20]


@pytest.mark.parametrize(
  ("name", "line", "instead", "message"),
  [
    (
      "bounding_boxes.txt", "2 0.0 10.0 10.0 20.0", "2 5.0 10.0 10.0 20.0",
      r"2.png is 10 pixels wide and 40 high, and its box is left 5, top 10, width 10, height 20; "
      r".* lies inside its image. Correct its line",
    ),
    ("bounding_boxes.txt", "1 4.0 2.0 6.0 5.0", "1 4.0 2.0 0.0 5.0", "width 0, .* has an area"),
    ("bounding_boxes.txt", "1 4.0 2.0 6.0 5.0", "1 4.0 2.0 6.0", "Line 1 .* is '1 4.0 2.0 6.0'"),
    ("bounding_boxes.txt", "4 3.0 4.0 12.0 8.0", "", "no line for image 4, which images.txt lists"),
    ("bounding_boxes.txt", "4 3.0", "9 3.0", "no line for image 4"),
    ("images.txt", "4 birds/4.png", "", "line for image 4, which images.txt does not list"),
    ("images.txt", "4 birds/4.png", "3 birds/4.png", "Line 4 .* no id stands there twice"),
    ("images.txt", "birds/4.png", "birds/5.png", "5.png cannot be read as an image"),
    ("image_class_labels.txt", "1 3", "1 three", "Line 1 .* is '1 three'; a line is 'id class'"),
    ("train_test_split.txt", "1 1", "1 2", "Line 1 .* is '1 2'"),
    ("train_test_split.txt", "1 1", "1 0", "leaves 1 of 2 classes without an image for training"),
  ],
)  # fmt: skip
def test_mistakes_are_named(folder, name, line, instead, message):
  _replace(folder, name, line, instead)
  with pytest.raises(ValueError, match=message):
    material.read_folder(folder, size=20)


def test_a_missing_file_is_named(folder):
  (folder / "bounding_boxes.txt").unlink()
  with pytest.raises(FileNotFoundError, match=r"without bounding_boxes.txt; it needs images.txt"):
    material.read_folder(folder, size=20)


def _replace(folder, name, line, instead):
  text = (folder / name).read_text()
  assert line in text
  (folder / name).write_text(text.replace(line, instead))
