"""Measures of models: specifications, how long they take, angles of features and their figure."""

import re
import types

import numpy as np
import pytest

from experiments import reproduce
from experiments.reproduction import measures
from softmax_research.study import figure_style
from tests.experiments.reproduction import tiny


@pytest.mark.parametrize(
  ("specification", "message"),
  [
    ("pdg", "'pdg'; the measures are calibration, class_separation, features"),
    ("pgd:eps=2", "'eps' for the measure 'pgd'; its options are epsilon=8.0"),
    ("pgd:epsilon=0", "epsilon=0 for the measure 'pgd'; it must be above 0"),
    ("calibration:bins=3", "'bins' for the measure 'calibration'; its options are none"),
  ],
)
def test_measures_that_there_are_not_are_refused(specification, message):
  with pytest.raises(ValueError, match=message):
    measures.check([specification])


@pytest.mark.parametrize(("labels", "ignored"), [(np.array([0, -1]), -1), (np.eye(2), None)])
def test_measures_need_a_class_of_each_example(labels, ignored):
  splits = types.SimpleNamespace(test=types.SimpleNamespace(labels=labels), ignore_label=ignored)
  with pytest.raises(ValueError, match="Got the measures predictions for examples that have no"):
    measures.measurer(["predictions"], None, splits, "softmax")


def test_an_estimate_counts_compiling_once_and_images_and_seeds_as_often_as_there_are(monkeypatch):
  clock, asked = [0.0], []

  def measurer(specifications, *_):
    asked.append(specifications)

    def measure(trained):
      # Compiling takes 3 s; the rest 1 s.
      clock[0] += 1.0 if measure.compiled else 4.0
      measure.compiled = True

    measure.compiled = False
    return measure

  monkeypatch.setattr(measures, "measurer", measurer)
  monkeypatch.setattr(measures.time, "perf_counter", lambda: clock[0])
  splits = types.SimpleNamespace(test=types.SimpleNamespace(labels=range(450)))
  found = measures.estimate(["noise:num_images=5000", "features"], None, splits, "", None, 2)
  assert found == (3 + 2 * 4.5) + (3 + 2)
  assert "num_images=100" in asked[0][0] and asked[1] == ["features"]


def _at(*degrees):
  angles = np.radians(degrees)
  return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_angles_are_those_of_points_placed_by_hand():
  # Weights at 0, 90 and 180 degrees; lengths must not matter, nor a class's number of images.
  kernel = (_at(0, 90, 180) * [[1], [5], [0.1]]).T
  placed = _at(10, 20, 30, 90, 100) * np.array([[1], [9], [0.5], [1], [2]])
  found = measures.angles(placed, kernel, np.array([0, 0, 0, 1, 1]))
  assert found["angle_to_weight"] == pytest.approx((20 + 5) / 2)
  # Class 0 has its mean direction at 20 degrees, class 1 at 95.
  assert found["angle_within_class"] == pytest.approx((20 / 3 + 5) / 2)
  # To the nearest other weights: 70, 50, 30 in class 0; 90 and 80 - 10 in class 1.
  assert found["angle_margin"] == pytest.approx((50 + 80) / 2)


def test_class_separation_is_that_of_all_pairs():
  rng = np.random.default_rng(0)
  labels = np.repeat([0, 1, 2], [4, 6, 5])
  points = rng.normal(size=(15, 3)) + 2 * np.eye(3)[labels]
  units = points / np.linalg.norm(points, axis=1, keepdims=True)
  distances = 1 - units @ units.T
  between = np.array(
    [[distances[np.ix_(labels == j, labels == k)].mean() for k in range(3)] for j in range(3)]
  )
  expected = 1 - np.diag(between).mean() / between.mean()
  assert measures.separation(7 * points, labels) == pytest.approx(expected)
  assert 0 < expected < 1
  assert measures.separation(_at(0, 0, 90, 90), np.array([0, 0, 1, 1])) == pytest.approx(1)


def test_features_of_no_length_have_right_angles_with_everything():
  found = measures.angles(np.zeros((2, 3)), np.eye(3), np.array([0, 1]))
  assert found["angle_to_weight"] == pytest.approx(90)
  assert found["angle_margin"] == pytest.approx(0)


def test_a_head_without_a_vector_of_weights_for_each_class_is_refused():
  settings = tiny.variant()
  settings.settings.mnist.methods = (("m=2", "softmax"), ("tree", "hierarchical"))
  left = [{"setting": "mnist", "method": name} for name in ("m=2", "tree")]
  reproduce.prepare(settings, left[:1])
  with pytest.raises(ValueError, match="a vector of weights a class; hierarchical"):
    reproduce.prepare(settings, left)


def test_the_figure_has_a_panel_a_method_with_its_accuracy():
  run = {
    "metrics": {"test": {"accuracy": 0.987}},
    "measured": {
      "dataset": {"class_names": ["zero", "one"]},
      "angle_within_class": 4.25,
      "plane": {"points": [[1.0, 0.0, 2.0, 0.1], [0.0, 1.0]], "weights": [[1.0, 0.0], [0.0, 0.0]]},
    },
  }
  plot = measures.plot_plane("features", {"softmax": run, "m=2": run, "m=4": run})
  svg = figure_style.to_svg(plot.figure, plot.name)
  assert svg.count("98.70 %") == 3 and "4.2°" in svg and "m=4" in svg
  assert "0.2" not in re.findall(r">([^<>]+)</text>", svg)  # The fourth place has no axes.
  assert "zero" in svg and "one<" not in svg  # Weights of no length have no direction.
