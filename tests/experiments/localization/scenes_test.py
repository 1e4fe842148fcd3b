"""Scenes: their boxes are exact, and they follow from their seed."""

import numpy as np
import pytest

from experiments.localization import material, scenes
from softmax_research import data

_DIGITS = data.load("digits").test
_OPTIONS = {"canvas": 24, "sizes": (6, 8, 12), "pieces": 0, "piece": 3}
_COUNTS = [3] * 10


def _bounds(mask):
  rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
  return [rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]


def test_a_box_bounds_the_digits_ink():
  made = scenes.digits(_DIGITS, _COUNTS, seed=(0,), **_OPTIONS)
  assert made.images.shape == (30, 24, 24, 1) and made.images.dtype == np.uint8
  assert np.bincount(made.labels).tolist() == _COUNTS
  bounds = [_bounds(image[..., 0] > 0) for image in made.images]
  np.testing.assert_array_equal(made.boxes, bounds)
  longer = np.maximum(made.boxes[:, 2] - made.boxes[:, 0], made.boxes[:, 3] - made.boxes[:, 1])
  assert set(longer) <= {5, 6, 7, 8, 11, 12} and len(set(longer)) >= 3


def test_clutter_changes_neither_digit_nor_box():
  # The first scene's digit is drawn before its clutter.
  plain = scenes.digits(_DIGITS, [1], seed=(4,), **_OPTIONS)
  cluttered = scenes.digits(_DIGITS, [1], seed=(4,), **_OPTIONS | {"pieces": 9})
  np.testing.assert_array_equal(plain.boxes, cluttered.boxes)
  assert np.all(cluttered.images >= plain.images)
  assert np.sum(cluttered.images > 0) > np.sum(plain.images > 0) + 9


def test_a_box_bounds_the_picture():
  # Each picture has one shade of its own, by which it is known again.
  shades = np.arange(1, 101, dtype=np.uint8)
  pictures = np.broadcast_to(shades[:, None, None, None], (100, 8, 8, 3))
  split = data.Split(pictures, (shades % 2).astype(np.int32))
  made = scenes.objects(split, [10, 10], seed=(0,), canvas=20, sizes=(5, 9), tile=4, blur=1)
  for image, label, (top, left, bottom, right) in zip(*made, strict=True):
    assert bottom - top == right - left and bottom - top in (5, 9)
    shade = image[top, left, 0]
    assert shade % 2 == label
    assert np.all(image[top:bottom, left:right] == shade)
    around = np.ones((20, 20), bool)
    around[top:bottom, left:right] = False
    # A tile shows this shade once in a hundred times.
    assert np.mean(image[around] == shade) < 0.2
  assert len(set(made.boxes[:, 0])) > 5


@pytest.mark.parametrize("kind", ["digits", "objects"])
def test_scenes_follow_from_their_seed(kind):
  def make(seed):
    if kind == "digits":
      return scenes.digits(_DIGITS, [1] * 10, seed=seed, **_OPTIONS | {"pieces": 2})
    return scenes.objects(_DIGITS, [1] * 10, seed=seed, canvas=16, sizes=(8,), tile=4, blur=3)

  first, again, other = make((0, 1)), make((0, 1)), make((0, 2))
  for one, two in zip(first, again, strict=True):
    np.testing.assert_array_equal(one, two)
  assert not np.array_equal(first.images, other.images)


def test_images_repeat_only_when_a_class_is_used_up():
  labels = np.repeat([0, 1], [3, 50])
  chosen = scenes.choose_objects(labels, [7, 20], np.random.default_rng(0))
  times = np.bincount(chosen, minlength=53)
  assert sorted(times[:3]) == [2, 2, 3]
  assert times[3:].max() == 1 and times[3:].sum() == 20


def test_chosen_classes_get_new_labels():
  split = material._only(data.Split(np.arange(6), np.array([5, 2, 0, 2, 5, 1])), (5, 2))
  assert split.images.tolist() == [0, 1, 3, 4] and split.labels.tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"sizes": (30,)}, "sizes=30; it must be an integer between 4 and 24"),
    ({"piece": 9}, "piece=9; it must be an integer between 1 and 8"),
  ],
)
def test_what_does_not_fit_is_refused(options, message):
  with pytest.raises(ValueError, match=message):
    scenes.digits(_DIGITS, _COUNTS, seed=(0,), **_OPTIONS | options)


def test_a_class_without_images_is_refused():
  with pytest.raises(ValueError, match="no image of class 1"):
    scenes.choose_objects(np.zeros(4, int), [1, 1], np.random.default_rng(0))
