import dataclasses

import numpy as np
import pytest

from softmax_research.data import Dataset, Split, check_dataset


def _images(size=4, shape=(2, 2, 1)):
  return Split(np.zeros((size, *shape), np.uint8), (np.arange(size) % 2).astype(np.int32))


def _points(value):
  return Split(np.full((2, 2), value, np.float32), np.array([0, 1], np.int32))


VALID = Dataset("tiny", _images(), _images(2), 2, ("even", "odd"))


@pytest.mark.parametrize("split", [_images(), _points(0.5)])
def test_a_valid_dataset_is_returned_as_it_is(split):
  dataset = dataclasses.replace(VALID, train=split, test=split)
  assert check_dataset(dataset) is dataset


@pytest.mark.parametrize(
  "train, message",
  [
    (Split(_images().images, np.array([0, 1, 0, 2], np.int32)), r"1 labels.*\[0, 2\).*is 2"),
    (Split(_images().images, np.array([0, -1, 0, 1], np.int32)), r"1 labels.*is -1"),
    (Split(_images().images, np.zeros(4, np.int64)), "labels are int64"),
    (Split(_images().images, np.zeros(3, np.int32)), r"labels are int32 \(3,\)"),
    (Split(_images().images.astype(np.float32), _images().labels), "images are float32"),
    (Split(_images().images[..., 0], _images().labels), r"images are uint8 \(4, 2, 2\)"),
    (_images(0), "images are empty"),
    (_images(shape=(0, 2, 1)), "images are empty"),
    (_images(shape=(2, 3, 1)), r"train images are uint8 \(2, 3, 1\)"),
    (_points(np.nan), "not finite"),
    (_points(np.inf), "not finite"),
  ],
)
@pytest.mark.parametrize("where", ["train", "test"])
def test_what_is_wrong_is_named(train, message, where):
  if message.startswith("train images") and where == "test":
    message = message.replace("train", "test")
  with pytest.raises(ValueError, match=f"tiny.*{message}"):
    check_dataset(dataclasses.replace(VALID, **{where: train}))


def test_class_names_must_match_the_number_of_classes():
  with pytest.raises(ValueError, match="1 class names for 2 classes"):
    check_dataset(dataclasses.replace(VALID, class_names=("even",)))
