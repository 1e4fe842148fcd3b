"""Corruptions: the moments that their definitions give, on grey images far from black and white."""

import numpy as np
import pytest

from experiments.reproduction import corruptions

_GREY = np.full((40, 32, 32, 3), 0.5)


@pytest.mark.parametrize("severity", corruptions.SEVERITIES)
def test_moments_are_the_stated_ones(severity):
  std = (0.04, 0.06, 0.08, 0.09, 0.10)[severity - 1]
  photons = (500, 250, 100, 75, 50)[severity - 1]
  share = (0.01, 0.02, 0.03, 0.05, 0.07)[severity - 1]
  expected = {
    "gaussian": std,
    "uniform": std,
    "shot": np.sqrt(0.5 / photons),
    "impulse": 0.5 * np.sqrt(share),
  }
  for kind, value in expected.items():
    noisy = corruptions.corrupt(_GREY, kind, severity)
    assert noisy.dtype == np.float32 and noisy.min() >= 0 and noisy.max() <= 1
    assert noisy.mean() == pytest.approx(0.5, abs=2e-3)
    assert noisy.std() == pytest.approx(value, rel=0.03), kind


def test_kinds_differ_in_more_than_their_spread():
  uniform = corruptions.corrupt(_GREY, "uniform", 5)
  assert np.abs(uniform - 0.5).max() <= np.sqrt(3) * 0.1 + 1e-6
  assert np.abs(corruptions.corrupt(_GREY, "gaussian", 5) - 0.5).max() > 0.3
  impulse = corruptions.corrupt(_GREY, "impulse", 5)
  assert set(np.unique(impulse)) == {0, 0.5, 1}
  dark = corruptions.corrupt(_GREY / 5, "shot", 5)
  assert dark.std() == pytest.approx(np.sqrt(0.1 / 50), rel=0.05)


def test_the_noise_is_the_same_each_time_and_grows_with_its_strength():
  for kind in corruptions.KINDS:
    once, again = (corruptions.corrupt(_GREY, kind, 2) for _ in range(2))
    np.testing.assert_array_equal(once, again)
    factor = np.sqrt(2) if kind == "impulse" else 2
    stronger = corruptions.corrupt(_GREY, kind, 2, strength=2).std()
    assert stronger == pytest.approx(factor * once.std(), rel=0.05)
