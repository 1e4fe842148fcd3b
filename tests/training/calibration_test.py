"""Calibration after training: against labels drawn from known probabilities."""

import numpy as np
import pytest
from scipy import optimize, special

from softmax_research import training
from softmax_research.training import calibration

_FITS = (
  calibration.fit_histogram_binning,
  calibration.fit_isotonic_regression,
  calibration.fit_temperature,
  calibration.fit_vector_scaling,
  calibration.fit_matrix_scaling,
)


def _overconfident(factor, size=4000, classes=4):
  """Labels drawn from softmax of logits, and a model that believes `factor` times the logits."""
  rng = np.random.default_rng(0)
  logits = rng.normal(scale=1.5, size=(size, classes))
  labels = (special.softmax(logits, 1).cumsum(1) > rng.random((size, 1))).argmax(1)
  return special.log_softmax(factor * logits, axis=1), labels.astype(np.int32)


def test_the_temperature_is_the_factor_of_overconfidence():
  log_probs, labels = _overconfident(3.0)
  found = calibration.best_temperature(log_probs, labels)
  assert found == pytest.approx(3.0, rel=0.05)
  # Logits are defined up to a constant, be it so low that all of them are.
  assert calibration.best_temperature(log_probs - 500, labels) == pytest.approx(found, rel=1e-6)
  # None of them is too low to count.
  assert calibration.best_temperature(20 * log_probs, labels) == pytest.approx(20 * found, rel=1e-5)


@pytest.mark.parametrize("fit", _FITS)
def test_every_way_calibrates_and_temperature_changes_no_decision(fit):
  log_probs, labels = _overconfident(3.0)
  half = len(labels) // 2
  before = training.evaluate(log_probs[half:], labels[half:])
  calibrate = fit(log_probs[:half], labels[:half])
  after = calibrate(log_probs[half:])
  found = training.evaluate(after, labels[half:])
  assert before["ece"] > 0.1
  assert found["ece"] < before["ece"] / 2 and found["nll"] < before["nll"]
  np.testing.assert_allclose(special.logsumexp(after, axis=1), 0, atol=1e-9)
  if fit is calibration.fit_temperature:
    assert found["error"] == before["error"]
  # Logits do as well as log-probabilities, and an impossible class is no error.
  np.testing.assert_allclose(fit(log_probs[:half] + 2, labels[:half])(log_probs[half:] + 2), after,
                             rtol=1e-2, atol=1e-2)  # fmt: skip
  masked = [np.where(log_probs < -15, lowest, log_probs) for lowest in (-np.inf, -1e9)]
  fitted, as_number = (fit(lowest, labels)(log_probs) for lowest in masked)
  assert np.isfinite(fitted).all()
  np.testing.assert_array_equal(fitted, as_number)


def test_scalings_have_the_least_loss_that_a_search_without_slopes_finds():
  log_probs, labels = _overconfident(2.0, size=500, classes=2)

  def nll(values, scale):
    return -special.log_softmax(scale(values), axis=1)[np.arange(500), labels].mean()

  for fit, scale, start in (
    (calibration.fit_vector_scaling, lambda v: log_probs * v[:2] + v[2:], [1, 1, 0, 0]),
    (
      calibration.fit_matrix_scaling,
      lambda v: log_probs @ v[:4].reshape(2, 2) + v[4:],
      [1, 0, 0, 1, 0, 0],
    ),
  ):
    least = optimize.minimize(nll, start, args=(scale,), method="Powell").fun
    found = -fit(log_probs, labels)(log_probs)[np.arange(500), labels].mean()
    assert found == pytest.approx(least, abs=1e-4)


@pytest.mark.parametrize("fit", [calibration.fit_vector_scaling, calibration.fit_matrix_scaling])
def test_scalings_of_logits_of_any_size_have_the_same_loss(fit):
  log_probs, labels = _overconfident(3.0)
  losses = [
    -fit(scale * log_probs, labels)(scale * log_probs)[np.arange(len(labels)), labels].mean()
    for scale in (1, 20)
  ]
  assert losses[1] == pytest.approx(losses[0], abs=1e-3)


def test_predictions_that_are_nan_are_refused():
  log_probs = np.array([[0.0, -1.0], [np.nan, 0.0]])
  for fit in (calibration.fit_temperature, calibration.fit_histogram_binning):
    with pytest.raises(
      ValueError, match="NaN among the log-probabilities of 1 examples, the first"
    ):
      fit(log_probs, np.array([0, 1]))


@pytest.mark.parametrize("labels", [np.array([0, 4]), np.array([-1, 0]), np.array([0])])
def test_labels_that_are_none_are_refused(labels):
  with pytest.raises(ValueError, match=r"numbered from 0 to 3|must be \[N, K\]"):
    calibration.fit_temperature(np.zeros((2, 4)), labels)
