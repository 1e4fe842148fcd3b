"""ReLU score against its formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softmax_research.functional import cross_entropy, log_normalise, relu_score
from tests.derivatives import check_derivatives


@pytest.mark.parametrize("epsilon", [1e-7, 1e-2, 2.0])
def test_value_and_slope(epsilon):
  logits = np.array([-1e4, -1.0, 0.0, 1.5e-7, 0.5, 3.0, 1e4])
  with jax.enable_x64(True):
    score = relu_score(logits, epsilon=epsilon)
    slope = jax.grad(lambda z: relu_score(z, epsilon=epsilon).sum())(logits)
  np.testing.assert_allclose(score, np.log(np.maximum(logits, epsilon)), rtol=1e-14)
  expected = np.where(logits > epsilon, 1 / np.where(logits > epsilon, logits, 1), 0)
  np.testing.assert_allclose(slope, expected, rtol=1e-14)


def test_second_order_and_both_modes():
  check_derivatives(lambda z, e: relu_score(z, epsilon=e), np.array([-1.0, 0.3, 2.0]), 0.1)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.125, 1e4, width=32), min_size=3, max_size=3))
def test_positive_logits_are_divided_by_their_sum(row):
  probabilities = jnp.exp(log_normalise(relu_score(jnp.array(row, jnp.float32))))
  np.testing.assert_allclose(probabilities, np.float64(row) / sum(row), rtol=1e-5)


def test_gradient_of_a_label_that_has_died_comes_from_the_others():
  logits = jnp.array([-1.0, 2.0, 3.0])
  gradient = jax.grad(lambda z: cross_entropy(relu_score(z, epsilon=1e-3), 0))(logits)
  np.testing.assert_allclose(gradient, [0, 1 / 5.001, 1 / 5.001], rtol=1e-5)


def test_a_row_that_has_died_is_uniform_and_still():
  value, gradient = jax.value_and_grad(lambda z: cross_entropy(relu_score(z), 0))(-jnp.ones(4))
  np.testing.assert_allclose(value, np.log(4), rtol=1e-6)
  np.testing.assert_array_equal(gradient, np.zeros(4))


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision(dtype):
  logits = jnp.array([-1e4, 0.0, 1e-6, 7e-5, 1.0, 1e4], dtype)
  score, pull_back = jax.vjp(lambda z: relu_score(z, epsilon=1e-30), logits)
  (slope,) = pull_back(jnp.ones_like(score))
  assert score.dtype == slope.dtype == dtype
  assert jnp.all(jnp.isfinite(slope))
  floor = max(1e-30, float(jnp.finfo(dtype).tiny))
  wide = np.asarray(logits, np.float64)
  np.testing.assert_allclose(
    np.asarray(score, np.float64), np.log(np.maximum(wide, floor)), rtol=4e-3
  )


def test_impossible_classes_and_nan():
  score, slope = jax.vmap(jax.value_and_grad(relu_score))(jnp.array([-jnp.inf, jnp.nan]))
  assert score[0] == -jnp.inf
  assert slope[0] == 0
  assert jnp.isnan(score[1])


@pytest.mark.parametrize("epsilon", [0.0, -1.0, np.nan, 1e-60])
def test_bad_epsilons(epsilon):
  with pytest.raises(ValueError, match=r"epsilon=.*Pass 0\.01 or so"):
    relu_score(0.0, epsilon=epsilon)
