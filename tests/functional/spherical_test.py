"""Spherical softmax against numpy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softmax_research.functional import (
  cross_entropy,
  log_spherical_softmax,
  spherical_score,
  spherical_softmax,
)
from tests.derivatives import check_derivatives

LOGITS = np.array([[0.4, -1.7, 2.2], [0.0, 1e-3, -1e4]])


@pytest.mark.parametrize("epsilon", [1e-6, 1e-2, 3.0])
def test_values(epsilon):
  squares = LOGITS**2 + epsilon
  expected = squares / squares.sum(-1, keepdims=True)
  with jax.enable_x64(True):
    np.testing.assert_allclose(
      spherical_score(LOGITS, epsilon=epsilon), np.log(squares), rtol=1e-13
    )
    np.testing.assert_allclose(spherical_softmax(LOGITS, epsilon=epsilon), expected, rtol=1e-12)
    np.testing.assert_allclose(
      log_spherical_softmax(LOGITS, epsilon=epsilon), np.log(expected), rtol=1e-12, atol=1e-15
    )


def test_gradient_of_the_loss_is_that_of_the_paper():
  logits, label, epsilon = LOGITS[0], 1, 0.01
  expected = 2 * logits / (logits**2 + epsilon).sum()
  expected[label] -= 2 * logits[label] / (logits[label] ** 2 + epsilon)
  with jax.enable_x64(True):
    gradient = jax.grad(lambda z: cross_entropy(spherical_score(z, epsilon=epsilon), label))(logits)
    check_derivatives(lambda z, e: log_spherical_softmax(z, epsilon=e), logits, epsilon)
  np.testing.assert_allclose(gradient, expected, rtol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=3, max_size=3))
def test_probabilities_are_even_in_each_logit(row):
  logits = jnp.array(row, jnp.float32)
  flipped = logits * jnp.array([1.0, -1.0, -1.0])
  np.testing.assert_array_equal(spherical_softmax(logits), spherical_softmax(flipped))
  np.testing.assert_allclose(spherical_softmax(logits).sum(), 1, rtol=1e-6)


def test_scale_does_not_matter_for_a_vanishing_epsilon():
  small, large = (spherical_softmax(s * LOGITS[0], epsilon=1e-30) for s in (1.0, 100.0))
  np.testing.assert_allclose(small, large, rtol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_up_to_ten_thousand(dtype):
  logits = jnp.array([-1e4, 0.0, 0.1, 300.0, 1e4], dtype)
  score, pull_back = jax.vjp(lambda z: spherical_score(z, epsilon=1e-7), logits)
  (slope,) = pull_back(jnp.ones_like(score))
  assert score.dtype == slope.dtype == dtype
  wide = np.asarray(logits, np.float64)
  np.testing.assert_allclose(np.asarray(score, np.float64), np.log(wide**2 + 1e-7), rtol=4e-3)
  np.testing.assert_allclose(
    np.asarray(slope, np.float64), 2 * wide / (wide**2 + 1e-7), rtol=4e-3, atol=1e-4
  )


def test_impossible_and_masked_classes():
  squares = np.array([0.26, 4.01])
  value, gradient = jax.value_and_grad(lambda z: log_spherical_softmax(z)[0])(
    jnp.array([0.5, -2.0, -jnp.inf])
  )
  np.testing.assert_allclose(value, np.log(squares[0] / squares.sum()), rtol=1e-5)
  assert gradient[2] == 0
  masked = spherical_softmax(jnp.array([0.5, -2.0, 9.0]), where=np.array([True, True, False]))
  np.testing.assert_allclose(masked, [*(squares / squares.sum()), 0], rtol=1e-5)
  by_column = spherical_softmax(jnp.array([[0.5], [-2.0]]), axis=0)
  np.testing.assert_allclose(by_column[:, 0], squares / squares.sum(), rtol=1e-5)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, np.inf])
def test_bad_epsilons(epsilon):
  with pytest.raises(ValueError, match=r"epsilon=.*Pass 0\.01 or so"):
    log_spherical_softmax(LOGITS, epsilon=epsilon)
