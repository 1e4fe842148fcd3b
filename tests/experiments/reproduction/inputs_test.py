"""Inputs: what becomes of images before training."""

import numpy as np

from configs import agarap2018
from experiments import assembly
from experiments.reproduction import inputs
from softmax_research import data


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
