"""Boxes, against counting of positions."""

import numpy as np
import pytest

from softmax_research.information import (
  Box,
  bounding_box,
  intersection_over_union,
  scale_box,
)


def _mask(box, shape=(12, 15)):
  mask = np.zeros(shape, bool)
  mask[box.top : box.bottom, box.left : box.right] = True
  return mask


def _random_box(rng):
  top, bottom = sorted(rng.choice(13, 2, replace=False))
  left, right = sorted(rng.choice(16, 2, replace=False))
  return Box(int(top), int(left), int(bottom), int(right))


def test_overlap_equals_counting():
  rng = np.random.default_rng(0)
  for _ in range(100):
    first, second = _random_box(rng), _random_box(rng)
    a, b = _mask(first), _mask(second)
    expected = (a & b).sum() / (a | b).sum()
    assert intersection_over_union(first, second) == pytest.approx(expected)


def test_a_bright_rectangle_is_found_and_dim_or_small_ones_are_not():
  image = np.zeros((12, 15))
  image[2:6, 3:9] = 1.0
  image[8:10, 1:3] = 0.9
  image[9:12, 10:15] = 0.1
  assert bounding_box(image) == Box(2, 3, 6, 9)
  assert bounding_box(image, threshold=0.05) == Box(2, 3, 6, 9)
  image[5:10, 8:11] = 0.2  # Joins what is dim to what is bright.
  assert bounding_box(image, threshold=0.05) == Box(2, 3, 12, 15)


def test_corners_connect_and_a_map_without_evidence_has_the_whole_image():
  assert bounding_box(np.eye(4)) == Box(0, 0, 4, 4)
  assert bounding_box(-np.ones((3, 5))) == Box(0, 0, 3, 5)


def test_boxes_scale_with_their_image():
  box = Box(1, 2, 3, 6)
  assert scale_box(box, (4, 8), (28, 28)) == pytest.approx((7.0, 7.0, 21.0, 21.0))


@pytest.mark.parametrize(
  "box", [Box(-1, 0, 2, 2), Box(0, 0, 5, 2), Box(0, 1, 2, 1), Box(0, 0, 2, 9)]
)
def test_boxes_outside_of_the_image_are_errors(box):
  with pytest.raises(ValueError, match="on an image of 4 rows and 8 columns"):
    scale_box(box, (4, 8), (8, 16))


@pytest.mark.parametrize(
  ("call", "message"),
  [
    (lambda: bounding_box(np.zeros((2, 3, 3))), r"shape \(2, 3, 3\)"),
    (lambda: bounding_box([[np.nan]]), "finite"),
    (lambda: bounding_box(np.eye(3), threshold=0.0), "threshold=0.0"),
    (lambda: intersection_over_union(Box(0, 0, 0, 2), Box(0, 0, 1, 1)), "no area"),
  ],
)
def test_bad_input_is_named(call, message):
  with pytest.raises(ValueError, match=message):
    call()
