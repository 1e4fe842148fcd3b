"""Calibration after training, and the transforms of inputs."""

import types

import numpy as np
import pytest
from scipy import special

from configs import agarap2018
from experiments import assembly, runs
from experiments.reproduction import calibration, inputs
from softmax_research import data


def _overconfident(factor, size=4000, classes=4):
  """Labels drawn from softmax of logits, and a model that believes `factor` times the logits."""
  rng = np.random.default_rng(0)
  logits = rng.normal(scale=1.5, size=(size, classes))
  labels = (special.softmax(logits, 1).cumsum(1) > rng.random((size, 1))).argmax(1)
  return special.log_softmax(factor * logits, axis=1), labels.astype(np.int32)


def test_the_temperature_is_the_factor_of_overconfidence():
  assert calibration.temperature(*_overconfident(3.0)) == pytest.approx(3.0, rel=0.05)


def test_every_way_calibrates_and_only_ways_that_may_change_a_decision_do():
  log_probs, labels = _overconfident(3.0)
  half = len(labels) // 2
  splits = types.SimpleNamespace(
    validation=types.SimpleNamespace(labels=labels[:half]),
    test=types.SimpleNamespace(labels=labels[half:]),
  )
  found = calibration.calibrations(runs.Predictions(log_probs[:half], log_probs[half:]), splits)
  before = found["uncalibrated"]
  assert before["ece"] > 0.1
  for way in calibration.METHODS:
    assert found[way]["ece"] < before["ece"] / 2 and found[way]["nll"] < before["nll"]
  assert found["temperature scaling"]["error"] == before["error"]


def test_principal_components_are_uncorrelated_and_fitted_to_training_alone():
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (600, 20, 20, 1)).astype(np.uint8)
  images[:, 0] = 7  # Pixels that never vary.
  labels = (np.arange(600) % 2).astype(np.int32)
  parts = [data.Split(images[i::3], labels[i::3]) for i in range(3)]
  splits = assembly.Splits("made up", *parts, 2, ("a", "b"), np.zeros(1), np.ones(1))
  changed = inputs.principal_components(splits)
  flat = changed.train.images.reshape(200, -1)
  assert changed.test.images.shape == (200, 16, 16, 1)
  covariance = flat.T @ flat / len(flat)
  off = covariance - np.diag(np.diag(covariance))
  assert np.abs(off).max() < 1e-3 * covariance.max()
  assert (np.diff(np.diag(covariance)) < 1e-3).all()
  other = splits._replace(test=data.Split(255 - parts[2].images, parts[2].labels))
  again = inputs.principal_components(other)
  np.testing.assert_array_equal(again.train.images, changed.train.images)


def test_inputs_can_be_left_as_they_are_measured():
  config = agarap2018.get_config().cpu.settings
  standardised = inputs.load_splits(config.wdbc_standardised)
  measured = inputs.load_splits(config.wdbc)
  np.testing.assert_array_equal(measured.train.images, standardised.train.images)
  images, mean, std = measured.train.images, measured.mean, measured.std
  np.testing.assert_array_equal((images - mean) / std, images)
  assert images.max() > 1000 and standardised.mean.max() > 100  # Areas in pixels.
