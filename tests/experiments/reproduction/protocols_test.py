"""Protocols: inputs before training, the epoch that validation selects, and folds."""

import types

import numpy as np
import pytest

from configs import agarap2018, default, tables
from experiments import assembly
from experiments.reproduction import protocols
from softmax_research import training
from softmax_research.data import Split
from tests.experiments.reproduction import tiny


def _look_at(validation_accuracies):
  """Look after each epoch at a model of one example, which is right in every second epoch.

  Another one has no label, so that nothing is right or wrong.
  """
  test = types.SimpleNamespace(images=np.zeros((2, 2)), labels=np.array([0, -1]))
  splits = types.SimpleNamespace(test=test, ignore_label=-1)
  calls = []

  def predict(states, images):
    calls.append(states)
    return np.array([[[0.0, -1.0] if states % 2 else [-1.0, 0.0]] * 2])

  programs = types.SimpleNamespace(predict=predict)
  look = protocols.looker(splits)
  curves = {"epoch": [], "validation_accuracy": []}
  for epoch, accuracy in enumerate(validation_accuracies, 1):
    curves["epoch"].append(epoch)
    curves["validation_accuracy"].append(accuracy)
    look(programs, epoch, [curves])
  return curves, calls


def test_the_test_split_is_looked_at_only_where_validation_is_best_so_far():
  curves, calls = _look_at([0.5, 0.4, 0.6, 0.6])
  assert curves["test_accuracy"] == [1.0, None, 1.0, None]
  assert calls == [1, 3]
  chosen = protocols.selected(curves)
  assert (chosen["epoch"], chosen["validation_accuracy"], chosen["accuracy"]) == (3, 0.6, 1.0)


def test_the_first_of_equal_epochs_is_selected_though_a_later_one_tests_better():
  curves, _ = _look_at([0.1, 0.9, 0.9])  # The second epoch is wrong on the test split.
  chosen = protocols.selected(curves)
  assert (chosen["epoch"], chosen["accuracy"], chosen["error"]) == (2, 0.0, 1.0)


def test_a_seed_that_diverged_at_once_has_nothing_selected():
  curves = {"epoch": [], "validation_accuracy": []}
  protocols.looker(None)(None, None, [curves])
  assert protocols.selected(curves) is None


def test_folds_part_the_examples_by_class_and_never_change():
  split = Split(np.arange(40.0)[:, None], np.arange(40) % 4)
  folds = list(protocols.folds_of(split, 5))
  held = np.concatenate([of.images[:, 0] for _, of in folds])
  np.testing.assert_array_equal(np.sort(held), np.arange(40))
  for rest, of in folds:
    np.testing.assert_array_equal(np.bincount(of.labels), [2] * 4)
    assert not set(rest.images[:, 0]) & set(of.images[:, 0]) and len(rest.labels) == 32
  again = list(protocols.folds_of(split, 5))
  assert all((a[1].images == b[1].images).all() for a, b in zip(folds, again, strict=True))


def test_a_model_is_carried_over_folds_of_as_many_batches_alone():
  labels = np.repeat(np.arange(2, dtype=np.int32), (10, 11))  # The folds have 10 or 11 of them.
  split = Split(np.zeros((21, 1), np.float32), labels)
  setting = tables.setting(default.get_config(batch_size=5), [("m", "softmax")], folds=2)
  protocols.check_folds(split, setting)
  setting.carry_over = True
  protocols.check_folds(split, setting)
  setting.train.batch_size = 11
  with pytest.raises(ValueError, match="batch_size=11"):
    protocols.check_folds(split, setting)  # The smaller rest has no whole batch.
  split = Split(np.zeros((23, 1), np.float32), np.arange(23, dtype=np.int32) % 2)
  setting.train.batch_size = 4
  with pytest.raises(ValueError, match=r"have \[2, 3\] batches"):
    protocols.check_folds(split, setting)


def test_folds_are_summarised_by_the_population_deviation():
  found = protocols.summarise_folds([0.9, 1.0])
  assert found["cv_accuracy"] == pytest.approx(0.95) and found["cv_std"] == pytest.approx(0.05)


@pytest.mark.parametrize("carry_over", [False, True])
@pytest.mark.parametrize("bad_fold", [None, 0, 2, 4])
def test_a_seed_is_finished_if_all_folds_are(monkeypatch, carry_over, bad_fold):
  calls = iter(range(5))

  def fit(*_, **__):
    bad = next(calls) == bad_fold
    accuracies = [0.9] if bad else [0.9, 0.97]  # It diverges after an epoch.
    curves = {"epoch": [1, 2][: len(accuracies)], "validation_accuracy": accuracies}
    diverged = training.Divergence(40, 1.0) if bad else None
    return training.Fit(None, [curves], [diverged], 1.0, False)

  def judge(context, programs, fit, splits, predictions, seconds):
    assert predictions == ["predictions"]
    status = "diverged" if fit.diverged[0] else "finished"
    return [types.SimpleNamespace(record={"status": status, "measured": {}})]

  epochs = []  # Of the programs, whose learning rate may fall over them.
  stub = types.SimpleNamespace(
    make_programs=lambda _, config, *rest: epochs.append(config.num_epochs),
    fit=fit,
    predict=lambda *_: ["predictions"],
    judge=judge,
  )
  monkeypatch.setattr(protocols, "classifiers", stub)
  setting = tiny.variant().settings.folds
  setting.folds, setting.carry_over = 5, carry_over
  context = types.SimpleNamespace(seeds=(0,))
  splits = types.SimpleNamespace(train=Split(np.zeros((50, 2)), np.arange(50) % 2))
  monkeypatch.setattr(protocols.measures, "measurer", lambda *_: lambda of: {})
  (made,) = protocols.cross_validate(context, setting, setting.train, splits, {})
  assert made["status"] == ("finished" if bad_fold is None else "diverged")
  assert ("cv_accuracy" in made["measured"]) == (bad_fold is None)
  assert epochs == [setting.train.num_epochs * (5 if carry_over else 1)]


def test_principal_components_are_uncorrelated_and_fitted_to_training_alone():
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (900, 20, 20, 1)).astype(np.uint8)
  images[:, 0] = 7  # Pixels that never vary.
  labels = (np.arange(900) % 2).astype(np.int32)
  parts = [Split(images[i::3], labels[i::3]) for i in range(3)]
  splits = assembly.Splits("made up", *parts, ("a", "b"), np.zeros(1), np.ones(1))
  changed = protocols.principal_components(splits)
  flat = changed.train.images.reshape(300, -1)
  assert changed.test.images.shape == (300, 16, 16, 1)
  covariance = flat.T @ flat / len(flat)
  off = covariance - np.diag(np.diag(covariance))
  assert np.abs(off).max() < 1e-3 * covariance.max()
  assert (np.diff(np.diag(covariance)) < 1e-3).all()
  other = splits._replace(test=Split(255 - parts[2].images, parts[2].labels))
  again = protocols.principal_components(other)
  np.testing.assert_array_equal(again.train.images, changed.train.images)


def test_inputs_can_be_left_as_they_are_measured():
  config = agarap2018.get_config().cpu.settings
  standardised = protocols.load_splits(config.wdbc_standardised)
  measured = protocols.load_splits(config.wdbc)
  np.testing.assert_array_equal(measured.train.images, standardised.train.images)
  images, mean, std = measured.train.images, measured.mean, measured.std
  np.testing.assert_array_equal((images - mean) / std, images)
  assert images.max() > 1000 and standardised.mean.max() > 100  # Areas in pixels.
