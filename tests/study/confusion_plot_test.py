"""Confusion matrices are shares of the true class, averaged over seeds."""

import numpy as np
import pytest

from softmax_research.study import group
from softmax_research.study.confusion_plot import confusion_plot
from tests.study.fake_records import make_diverged, make_run


def _with_confusion(seed, matrix):
  record = make_run("a", seed)
  record["metrics"]["test"]["confusion"] = matrix
  return record


def test_shares_are_averaged_over_seeds():
  runs = [
    _with_confusion(0, [[8, 2, 0], [0, 5, 0], [0, 0, 0]]),
    _with_confusion(1, [[9, 0, 1], [1, 4, 0], [0, 0, 0]]),
  ]
  (axes,) = confusion_plot(group(runs), ["x", "y", "z"]).axes
  numbers = {text.get_position(): text.get_text() for text in axes.texts}
  # Positions are (column, row); the third class has no examples.
  assert numbers == {(0, 0): "85", (1, 0): "10", (2, 0): "5.0", (0, 1): "10", (1, 1): "90"}
  alpha = np.asarray(axes.images[0].get_array())[..., 3]
  assert alpha[0, 1] == alpha[1, 0] == pytest.approx(0.85) and alpha[2, 0] == 0
  assert [label.get_text() for label in axes.get_xticklabels()] == ["x", "y", "z"]


def test_perfect_heads_are_drawn():
  (axes,) = confusion_plot(group([_with_confusion(0, [[3, 0], [0, 4]])]), []).axes
  assert [text.get_text() for text in axes.texts] == ["100", "100"]


def test_many_classes_have_neither_numbers_nor_names():
  names = [f"class {i}" for i in range(40)]
  run = make_run("a", 0, class_names=names, per_class=2)
  (axes,) = confusion_plot(group([run]), names).axes
  assert not axes.texts and axes.images[0].get_array().shape == (40, 40, 4)
  assert "class 0" not in [label.get_text() for label in axes.get_xticklabels()]


def test_many_panels_are_small_and_have_no_numbers():
  runs = []
  for i in range(12):
    runs.append(_with_confusion(0, [[3, 1], [0, 4]]))
    runs[-1]["cell"] = {"head": f"head {i}"}
  figure = confusion_plot(group(runs), ["cat", "dog"])
  assert len(figure.axes) == 12 and not any(axes.texts for axes in figure.axes)


def test_without_finished_runs_there_is_no_figure():
  assert confusion_plot(group([make_diverged("a", 0)]), []) is None
