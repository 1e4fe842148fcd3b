"""The epoch that the validation split chooses, and folds of cross-validation."""

import types

import numpy as np
import pytest

from experiments.reproduction import cross_validation, selection


def _look_at(validation_accuracies):
  """Look after each epoch at a model of one example, which is right in every second epoch."""
  splits = types.SimpleNamespace(
    test=types.SimpleNamespace(images=np.zeros((1, 2)), labels=np.array([0]))
  )
  calls = []

  def predict(states, images):
    calls.append(states)
    return np.array([[[0.0, -1.0] if states % 2 else [-1.0, 0.0]]])

  programs = types.SimpleNamespace(predict=predict)
  look = selection.looker(programs, splits)
  curves = {"epoch": [], "validation_accuracy": []}
  for epoch, accuracy in enumerate(validation_accuracies, 1):
    curves["epoch"].append(epoch)
    curves["validation_accuracy"].append(accuracy)
    look(epoch, [curves])
  return curves, calls


def test_the_test_split_is_looked_at_only_where_validation_is_best_so_far():
  curves, calls = _look_at([0.5, 0.4, 0.6, 0.6])
  assert curves["test_accuracy"] == [1.0, None, 1.0, None]
  assert calls == [1, 3]
  chosen = selection.selected(curves)
  assert (chosen["epoch"], chosen["validation_accuracy"], chosen["accuracy"]) == (3, 0.6, 1.0)


def test_the_first_of_equal_epochs_is_chosen_though_a_later_one_tests_better():
  curves, _ = _look_at([0.1, 0.9, 0.9])  # The second epoch is wrong on the test split.
  chosen = selection.selected(curves)
  assert (chosen["epoch"], chosen["accuracy"], chosen["error"]) == (2, 0.0, 1.0)


def test_a_run_that_diverged_at_once_has_nothing_selected():
  look = selection.looker(None, None)
  curves = {"epoch": [], "validation_accuracy": []}
  look(None, [curves])
  assert selection.selected(curves) is None


def test_folds_part_the_examples_by_class_and_never_change():
  labels = np.arange(40) % 4
  folds = cross_validation.stratified_folds(labels, 5)
  np.testing.assert_array_equal(np.sort(np.concatenate(folds)), np.arange(40))
  for fold in folds:
    np.testing.assert_array_equal(np.bincount(labels[fold]), [2] * 4)
  again = cross_validation.stratified_folds(labels, 5)
  assert all((a == b).all() for a, b in zip(folds, again, strict=True))


def test_folds_are_summarised_by_the_population_deviation():
  found = cross_validation.summarise([0.9, 1.0])
  assert found["cv_accuracy"] == pytest.approx(0.95) and found["cv_std"] == pytest.approx(0.05)
