"""Negative log-likelihood with integer, soft and smoothed labels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softmax_research.functional import log_normalise, negative_log_likelihood
from tests.derivatives import check_derivatives

PROBABILITIES = np.array([[0.2, 0.5, 0.3], [0.7, 0.1, 0.2]])
LABELS = np.array([1, 2])


def _smoothed(labels, smoothing, num_classes=3):
  return (1 - smoothing) * np.eye(num_classes)[labels] + smoothing / num_classes


@pytest.mark.parametrize("smoothing", [0, 0.0, 0.1, 1.0])
def test_integer_labels_are_one_hot_distributions(smoothing):
  log_probs = np.log(PROBABILITIES)
  expected = -(_smoothed(LABELS, smoothing) * log_probs).sum(-1)
  with jax.enable_x64(True):
    hard = negative_log_likelihood(log_probs, LABELS, label_smoothing=smoothing)
    soft = negative_log_likelihood(log_probs, np.eye(3)[LABELS], label_smoothing=smoothing)
    given = negative_log_likelihood(log_probs, _smoothed(LABELS, smoothing))
  np.testing.assert_allclose(hard, expected, rtol=1e-14)
  np.testing.assert_allclose(soft, expected, rtol=1e-14)
  np.testing.assert_allclose(given, expected, rtol=1e-14)


def test_gradients():
  log_probs = np.log(PROBABILITIES)
  with jax.enable_x64(True):
    gradient = jax.grad(lambda lp: negative_log_likelihood(lp, LABELS, label_smoothing=0.3).sum())(
      log_probs
    )
    check_derivatives(
      lambda lp, q, eps: negative_log_likelihood(lp, q, label_smoothing=eps),
      log_probs,
      PROBABILITIES,
      0.2,
    )
  np.testing.assert_allclose(gradient, -_smoothed(LABELS, 0.3), rtol=1e-14)


def test_smoothing_is_spread_over_the_classes_that_are_left():
  where = np.array([[True, True, False], [True, True, True]])
  log_probs = np.asarray(log_normalise(np.log(PROBABILITIES), where=where), np.float64)
  loss = negative_log_likelihood(log_probs, np.array([1, 2]), label_smoothing=0.2, where=where)
  first = -(0.1 * log_probs[0, 0] + 0.9 * log_probs[0, 1])
  np.testing.assert_allclose(loss[0], first, rtol=1e-6)
  with_all = negative_log_likelihood(log_probs[1], 2, label_smoothing=0.2)
  np.testing.assert_allclose(loss[1], with_all, rtol=1e-6)


def test_zero_weight_on_an_impossible_class_costs_nothing():
  log_probs = jnp.array([-jnp.inf, jnp.log(0.25), jnp.log(0.75)])
  labels = jnp.array([0.0, 0.5, 0.5])
  value, gradient = jax.value_and_grad(negative_log_likelihood)(log_probs, labels)
  np.testing.assert_allclose(value, -0.5 * np.log(0.25 * 0.75), rtol=1e-6)
  np.testing.assert_array_equal(gradient, [0, -0.5, -0.5])


def test_weight_on_an_impossible_class_costs_infinitely():
  log_probs = jnp.array([-jnp.inf, 0.0])
  assert negative_log_likelihood(log_probs, 0) == jnp.inf
  assert negative_log_likelihood(log_probs, jnp.array([0.5, 0.5])) == jnp.inf
  # No part of the smoothing falls on it, and no label is left where all of it is spread.
  assert negative_log_likelihood(log_probs, 1, label_smoothing=0.1) == 0
  assert negative_log_likelihood(log_probs, 0, label_smoothing=0.1) == jnp.inf
  assert negative_log_likelihood(log_probs, 0, label_smoothing=1.0) == 0


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_labels_out_of_range_are_nan(smoothing):
  loss = negative_log_likelihood(
    np.log(PROBABILITIES), np.array([3, -1]), label_smoothing=smoothing
  )
  assert np.all(np.isnan(loss))


def test_axis():
  log_probs = np.log(PROBABILITIES)
  expected = negative_log_likelihood(log_probs, LABELS, label_smoothing=0.1)
  for labels in (LABELS, np.eye(3)[LABELS].T):
    loss = negative_log_likelihood(log_probs.T, labels, label_smoothing=0.1, axis=0)
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


@pytest.mark.parametrize("smoothing", [-0.1, 1.1, 2, np.nan])
def test_bad_smoothing(smoothing):
  with pytest.raises(ValueError, match=r"label_smoothing=.*\[0, 1\]"):
    negative_log_likelihood(np.log(PROBABILITIES), LABELS, label_smoothing=smoothing)


def test_bad_labels():
  with pytest.raises(TypeError, match="type bool"):
    negative_log_likelihood(np.log(PROBABILITIES), np.ones(2, bool))
