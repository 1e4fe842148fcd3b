"""Softmax with a temperature against numpy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softmax_research.functional import log_softmax, softmax
from tests.derivatives import check_derivatives

LOGITS = np.array([[0.5, -1.0, 3.0], [40.0, 0.0, -40.0]])


def _log_softmax(logits, temperature):
  scaled = logits / temperature
  shifted = scaled - scaled.max(-1, keepdims=True)
  return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


@pytest.mark.parametrize("temperature", [1.0, 0.25, 8.0, np.array([[2.0], [0.5]])])
def test_values(temperature):
  expected = _log_softmax(LOGITS, temperature)
  with jax.enable_x64(True):
    np.testing.assert_allclose(log_softmax(LOGITS, temperature=temperature), expected, rtol=1e-13)
    np.testing.assert_allclose(
      softmax(LOGITS, temperature=temperature), np.exp(expected), rtol=1e-12
    )


def test_gradients_in_logits_and_temperature():
  with jax.enable_x64(True):
    check_derivatives(lambda z, t: log_softmax(z, temperature=t), LOGITS[0], 1.7)
    gradient = jax.grad(lambda t: log_softmax(LOGITS[0], temperature=t)[1])(1.7)
  p = np.exp(_log_softmax(LOGITS[0], 1.7))
  np.testing.assert_allclose(gradient, (p @ LOGITS[0] - LOGITS[0][1]) / 1.7**2, rtol=1e-12)


def test_the_temperature_learns_beside_impossible_classes():
  logits = jnp.array([0.5, -1.0, -jnp.inf])
  with_impossible = jax.grad(lambda t: log_softmax(logits, temperature=t)[0])
  without = jax.grad(lambda t: log_softmax(logits[:2], temperature=t)[0])
  np.testing.assert_allclose(with_impossible(2.0), without(2.0), rtol=1e-6)


def test_invariance_under_shifts():
  np.testing.assert_allclose(softmax(LOGITS + 3), softmax(LOGITS), rtol=1e-5)


def test_masks_and_rows_without_any_class():
  where = np.array([[True, False, True], [False, False, False]])
  probabilities = softmax(LOGITS, where=where)
  np.testing.assert_array_equal(probabilities[1], np.zeros(3))
  np.testing.assert_allclose(
    probabilities[0], [1 / (1 + np.exp(2.5)), 0, 1 / (1 + np.exp(-2.5))], rtol=1e-6
  )
  np.testing.assert_array_equal(softmax(LOGITS.T, axis=0, where=where.T), probabilities.T)


@pytest.mark.parametrize("temperature", [0, -1.0, np.inf, np.nan])
def test_bad_temperatures(temperature):
  with pytest.raises(ValueError, match=r"temperature=.*> 0\. Pass 1\.0"):
    softmax(LOGITS, temperature=temperature)
