"""Worst images: which are shown, how they are named, and what is no image."""

import numpy as np
import pytest

from softmax_research.study import group
from softmax_research.study.worst_images import MOST_ROWS, shared_by_all, worst_images, worst_tiles
from tests.study.fake_records import make_ensemble, make_png, make_run

_NAMES = ["cat", "dog"]


def _tiles(**worst):
  records = []
  for head, entries in worst.items():
    records += [make_run(head, 0), make_ensemble(head, [0, 1], images=1)]
    records[-1]["measured"]["worst"] = entries
  return worst_tiles(group(records), _NAMES)


def _entry(index=0, probability=0.25, png=None):
  png = png or make_png(np.random.default_rng(0))
  return {"index": index, "label": 1, "predicted": 0, "probability": probability, "png": png}


def test_tiles_name_classes_and_probability():
  (tile,) = _tiles(a=[_entry(7)])["a"]
  assert tile[:4] == (7, "dog", "cat", "25.0%")


@pytest.mark.parametrize(
  ("probability", "text"),
  [(0.996, "99.6%"), (0.01, "1.0%"), (0.0042, "0.42%"), (0.0001, "0.01%"), (1e-9, "< 0.01%")],
)
def test_probabilities(probability, text):
  assert _tiles(a=[_entry(probability=probability)])["a"][0].probability == text


def test_a_class_without_a_name_is_numbered():
  assert _tiles(a=[_entry() | {"label": 5}])["a"][0].label == "5"


@pytest.mark.parametrize("png", [None, "", "no base64!", "aGVsbG8=", '"><script>'])
def test_what_is_no_png_is_left_out(png):
  assert _tiles(a=[_entry() | {"png": png}]) == {}


def test_heads_without_ensemble_or_images_have_no_tiles():
  tiles = worst_tiles(group([make_run("a", 0), make_run("b", 0)]), _NAMES)
  assert tiles == {} and shared_by_all(tiles) == 0


def test_images_shared_by_all_heads_are_counted():
  tiles = _tiles(a=[_entry(1), _entry(2), _entry(3)], b=[_entry(3), _entry(1), _entry(9)])
  assert shared_by_all(tiles) == 2


def test_twelve_images_a_head_are_drawn_with_their_words():
  tiles = _tiles(a=[_entry(i) for i in range(20)], b=[_entry()])
  (axes,) = worst_images(tiles).axes
  assert len(axes.images) == 13
  texts = [text.get_text() for text in axes.texts]
  assert texts[0] == "a" and texts[1] == "dog → cat\n25.0%" and texts[13] == "b"


def test_right_predictions_are_called_right():
  (axes,) = worst_images(_tiles(a=[_entry() | {"predicted": 1}])).axes
  assert axes.texts[1].get_text() == "dog, right\n25.0%"


def test_long_class_names_are_broken_and_clipped():
  records = [make_run("a", 0), make_ensemble("a", [0, 1], images=1)]
  records[-1]["measured"]["worst"] = [_entry()]
  names = ["a rather long class name", "airplane"]
  (axes,) = worst_images(worst_tiles(group(records), names)).axes
  assert axes.texts[1].get_text() == "airplane →\na rather long…\n25.0%"


def test_of_many_heads_the_first_are_drawn():
  (axes,) = worst_images(_tiles(**{f"head{i}": [_entry()] for i in range(24)})).axes
  assert len(axes.images) == MOST_ROWS
