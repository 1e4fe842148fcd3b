"""Scores, against exact sums and the functions that they are logarithms of."""

import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softmax_research import functional
from softmax_research.functional import sigsoftmax_score, stablemax_score
from tests.derivatives import check_derivatives
from tests.programs import program, values_and_gradient

cross_entropy = program(functional.cross_entropy)
log_normalise = program(functional.log_normalise)
log_softmax = program(functional.log_softmax)
log_spherical_softmax = program(functional.log_spherical_softmax)
log_taylor_softmax = program(functional.log_taylor_softmax)
multimax_score = program(functional.multimax_score)
relu_score = program(functional.relu_score)
soft_cap_score = program(functional.soft_cap_score)
spherical_score = program(functional.spherical_score)
spherical_softmax = program(functional.spherical_softmax)
taylor_score = program(functional.taylor_score)
taylor_softmax = program(functional.taylor_softmax)


def _series(value, order):
  """f_n at a floating-point number, in exact rational arithmetic."""
  exact = Fraction(float(value))
  return sum((exact**k / math.factorial(k) for k in range(order + 1)), Fraction(0))


def _log_series(value, order):
  series = _series(value, order)
  return float(mpmath.log(mpmath.mpf(series.numerator) / series.denominator))


@pytest.mark.parametrize("order", [2, 4, 6, 10, 20, 50])
@pytest.mark.parametrize("double", [False, True])
def test_score_against_exact_sums(order, double):
  logits = np.concatenate([np.linspace(-2.0 * order, 2.0 * order, 41), [-1e4, 1e4, 1e-3, 0.0]])
  logits = logits if double else logits.astype(np.float32)
  with jax.enable_x64(double):
    score = taylor_score(logits, order=order)
  expected = [_log_series(value, order) for value in logits]
  tolerance = 2e-13 if double else 1e-6
  np.testing.assert_allclose(score, expected, rtol=tolerance, atol=tolerance)


@settings(max_examples=30, deadline=None)
@given(st.floats(-1e4, 1e4, width=32), st.sampled_from([2, 6]))
def test_score_anywhere(logit, order):
  score = taylor_score(np.array(logit, np.float32), order=order)
  np.testing.assert_allclose(score, _log_series(logit, order), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("order", [2, 4, 10])
def test_the_slope_of_the_series_is_the_series_one_shorter(order):
  logits = np.array([-30.0, -3.3, -1.0, -0.2, 0.0, 0.7, 25.0])
  slope = [float(_series(z, order - 1) / _series(z, order)) for z in logits]
  with jax.enable_x64(True):
    gradient = jax.jit(jax.vmap(jax.grad(lambda z: taylor_score(z, order=order))))(logits)
  # Relative to the size of the slope's terms, which cancel where f' is 0 (order 2, logit -1).
  np.testing.assert_allclose(gradient, slope, rtol=1e-11, atol=1e-13)


def test_second_order_and_both_modes_of_taylor():
  check_derivatives(lambda z: taylor_score(z, order=6), np.array([-3.3, -1.0, 0.0, 9.0]))


def test_gradient_of_the_loss_is_that_of_the_papers():
  logits, label, order = np.array([0.4, -1.7, 2.2, -0.3]), 1, 4

  def f(z, n):
    return np.array([float(_series(value, n)) for value in z])

  total = f(logits, order).sum()
  expected = f(logits, order - 1) / total
  expected[label] -= f(logits, order - 1)[label] / f(logits, order)[label]
  with jax.enable_x64(True):
    gradient = jax.jit(jax.grad(lambda z: cross_entropy(taylor_score(z, order=order), label)))(
      logits
    )
  np.testing.assert_allclose(gradient, expected, rtol=1e-12)


def test_order_two_is_the_quadratic_of_the_paper():
  logits = np.array([[0.1, -5.0, 2.0], [-1.0, -1.0, 30.0]])
  values = 1 + logits + logits**2 / 2
  expected = values / values.sum(-1, keepdims=True)
  with jax.enable_x64(True):
    np.testing.assert_allclose(taylor_softmax(logits), expected, rtol=1e-13)
    np.testing.assert_allclose(log_taylor_softmax(logits), np.log(expected), rtol=1e-12)


def test_a_high_order_is_softmax_on_bounded_logits():
  logits = np.random.default_rng(0).uniform(-3, 3, size=(5, 4))
  with jax.enable_x64(True):
    series, expected = log_taylor_softmax(logits, order=30), log_softmax(logits)
  np.testing.assert_allclose(series, expected, rtol=0, atol=1e-13)


def test_the_score_is_not_monotone():
  score = np.asarray(taylor_score(np.array([-4.0, -1.0, 0.0]), order=2))
  assert score[0] > score[2] > score[1]


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_up_to_ten_thousand_of_taylor(dtype):
  logits = np.array([-1e4, -200.0, -1.0, 0.0, 3.0, 200.0, 1e4], dtype)
  score, gradient = values_and_gradient(lambda z: taylor_score(z, order=6), logits)
  assert score.dtype == gradient.dtype == dtype
  expected = [_log_series(value, 6) for value in np.asarray(logits, np.float64)]
  half_step = float(jnp.finfo(dtype).eps) / 2
  np.testing.assert_allclose(
    np.asarray(score, np.float64), expected, rtol=1.01 * half_step, atol=1e-6
  )
  slope = [float(_series(z, 5) / _series(z, 6)) for z in np.asarray(logits, np.float64)]
  np.testing.assert_allclose(
    np.asarray(gradient, np.float64), slope, rtol=1.1 * half_step, atol=1e-4
  )


def test_impossible_and_masked_classes_of_taylor():
  logits, where = np.array([1.0, -np.inf, 2.0]), np.array([True, False, True])
  expected = [2.5 / 7.5, 0, 5 / 7.5]
  np.testing.assert_allclose(taylor_softmax(logits), expected, rtol=1e-6)
  masked = taylor_softmax(np.array([1.0, 9.0, 2.0]), where=where)
  np.testing.assert_allclose(masked, expected, rtol=1e-6)
  gradient = jax.jit(jax.grad(lambda z: log_taylor_softmax(z)[0]))(logits)
  np.testing.assert_allclose(gradient, [2 / 2.5 - 2 / 7.5, 0, -3 / 7.5], rtol=1e-6)
  np.testing.assert_array_equal(taylor_softmax(logits, where=np.zeros(3, bool)), np.zeros(3))
  by_column = np.asarray(taylor_softmax(logits[:, None], axis=0))
  np.testing.assert_allclose(by_column[:, 0], expected, rtol=1e-6)


@pytest.mark.parametrize("order", [3, 0, -2, 1, 2.0, True, "2", None])
def test_bad_orders(order):
  with pytest.raises(ValueError, match=r"order=.*even"):
    taylor_score(0.0, order=order)


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
    gradient = jax.jit(
      jax.grad(lambda z: cross_entropy(spherical_score(z, epsilon=epsilon), label))
    )(logits)
    check_derivatives(lambda z, e: log_spherical_softmax(z, epsilon=e), logits, epsilon)
  np.testing.assert_allclose(gradient, expected, rtol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=3, max_size=3))
def test_probabilities_are_even_in_each_logit(row):
  logits = np.float32(row)
  probs = np.asarray(spherical_softmax(logits))
  np.testing.assert_array_equal(probs, spherical_softmax(logits * np.float32([1, -1, -1])))
  np.testing.assert_allclose(probs.sum(), 1, rtol=1e-6)


def test_scale_does_not_matter_for_a_vanishing_epsilon():
  small, large = (spherical_softmax(s * LOGITS[0], epsilon=1e-30) for s in (1.0, 100.0))
  np.testing.assert_allclose(small, large, rtol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_up_to_ten_thousand_of_spherical(dtype):
  logits = np.array([-1e4, 0.0, 0.1, 300.0, 1e4], dtype)
  score, slope = values_and_gradient(lambda z: spherical_score(z, epsilon=1e-7), logits)
  assert score.dtype == slope.dtype == dtype
  wide = np.asarray(logits, np.float64)
  np.testing.assert_allclose(np.asarray(score, np.float64), np.log(wide**2 + 1e-7), rtol=4e-3)
  np.testing.assert_allclose(
    np.asarray(slope, np.float64), 2 * wide / (wide**2 + 1e-7), rtol=4e-3, atol=1e-4
  )


def test_impossible_and_masked_classes_of_spherical():
  squares = np.array([0.26, 4.01])
  value, gradient = values_and_gradient(
    lambda z: log_spherical_softmax(z)[0], np.array([0.5, -2.0, -np.inf])
  )
  np.testing.assert_allclose(value, np.log(squares[0] / squares.sum()), rtol=1e-5)
  assert gradient[2] == 0
  masked = spherical_softmax(np.array([0.5, -2.0, 9.0]), where=np.array([True, True, False]))
  np.testing.assert_allclose(masked, [*(squares / squares.sum()), 0], rtol=1e-5)
  by_column = np.asarray(spherical_softmax(np.array([[0.5], [-2.0]]), axis=0))
  np.testing.assert_allclose(by_column[:, 0], squares / squares.sum(), rtol=1e-5)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, np.inf])
def test_bad_epsilons_of_spherical(epsilon):
  with pytest.raises(ValueError, match=r"epsilon=.*Pass 0\.01 or so"):
    log_spherical_softmax(LOGITS, epsilon=epsilon)


@pytest.mark.parametrize("epsilon", [1e-7, 1e-2, 2.0])
def test_value_and_slope(epsilon):
  logits = np.array([-1e4, -1.0, 0.0, 1.5e-7, 0.5, 3.0, 1e4])
  with jax.enable_x64(True):
    score, slope = values_and_gradient(lambda z: relu_score(z, epsilon=epsilon), logits)
  np.testing.assert_allclose(score, np.log(np.maximum(logits, epsilon)), rtol=1e-14)
  expected = np.where(logits > epsilon, 1 / np.where(logits > epsilon, logits, 1), 0)
  np.testing.assert_allclose(slope, expected, rtol=1e-14)


def test_second_order_and_both_modes_of_relu():
  check_derivatives(lambda z, e: relu_score(z, epsilon=e), np.array([-1.0, 0.3, 2.0]), 0.1)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.125, 1e4, width=32), min_size=3, max_size=3))
def test_positive_logits_are_divided_by_their_sum(row):
  probabilities = np.exp(log_normalise(relu_score(np.float32(row))))
  np.testing.assert_allclose(probabilities, np.float64(row) / sum(row), rtol=1e-5)


def test_gradient_of_a_label_that_has_died_comes_from_the_others():
  logits = np.array([-1.0, 2.0, 3.0])
  gradient = jax.jit(jax.grad(lambda z: cross_entropy(relu_score(z, epsilon=1e-3), 0)))(logits)
  np.testing.assert_allclose(gradient, [0, 1 / 5.001, 1 / 5.001], rtol=1e-5)


def test_a_row_that_has_died_is_uniform_and_still():
  run = jax.jit(jax.value_and_grad(lambda z: cross_entropy(relu_score(z), 0)))
  value, gradient = run(np.full(4, -1, np.float32))
  np.testing.assert_allclose(value, np.log(4), rtol=1e-6)
  np.testing.assert_array_equal(gradient, np.zeros(4))


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision(dtype):
  logits = np.array([-1e4, 0.0, 1e-6, 7e-5, 1.0, 1e4], dtype)
  score, slope = values_and_gradient(lambda z: relu_score(z, epsilon=1e-30), logits)
  assert score.dtype == slope.dtype == dtype
  assert np.all(np.isfinite(slope.astype(float)))
  floor = max(1e-30, float(jnp.finfo(dtype).tiny))
  wide = np.asarray(logits, np.float64)
  np.testing.assert_allclose(
    np.asarray(score, np.float64), np.log(np.maximum(wide, floor)), rtol=4e-3
  )


def test_impossible_classes_and_nan():
  score, slope = values_and_gradient(relu_score, np.array([-np.inf, np.nan]))
  assert score[0] == -np.inf
  assert slope[0] == 0
  assert np.isnan(score[1])


@pytest.mark.parametrize("epsilon", [0.0, -1.0, np.nan, 1e-60])
def test_bad_epsilons_of_relu(epsilon):
  with pytest.raises(ValueError, match=r"epsilon=.*Pass 0\.01 or so"):
    relu_score(0.0, epsilon=epsilon)


@pytest.mark.parametrize(
  "score, exact, slope",
  [
    (
      stablemax_score,
      lambda z: mpmath.sign(z) * mpmath.log1p(abs(z)),
      lambda z: 1 / (1 + abs(z)),
    ),
    (
      sigsoftmax_score,
      lambda z: z - mpmath.log1p(mpmath.exp(-z)),
      lambda z: 1 + 1 / (1 + mpmath.exp(z)),
    ),
    (soft_cap_score, lambda z: 30 * mpmath.tanh(z / 30), lambda z: mpmath.sech(z / 30) ** 2),
  ],
)
def test_value_and_slope_anywhere(score, exact, slope):
  logits = np.float32([-np.inf, -1e4, -90, -17, -1, -1e-3, -1e-20, 0, 1e-20, 1e-3, 1, 17, 90, 1e4])
  values, slopes = jax.jit(jax.vmap(jax.value_and_grad(score)))(logits)
  assert (values[0], slopes[0]) == (-np.inf, 0)
  finite = [mpmath.mpf(float(z)) for z in logits[1:]]
  expected = [float(exact(z)) for z in finite]
  np.testing.assert_allclose(values[1:], expected, rtol=3e-7, atol=1.2e-7)
  np.testing.assert_allclose(slopes[1:], [float(slope(z)) for z in finite], rtol=1e-6, atol=2e-7)
  check_derivatives(score, np.array([-2.0, -0.3, 0.7, 3.0]))


def test_gradients_reach_the_cap_and_what_multimax_learns():
  logits, fours = np.array([-2.0, -0.3, 0.7, 3.0]), np.random.default_rng(0).normal(size=(2, 4))
  check_derivatives(lambda z, c: soft_cap_score(z, cap=c), logits, 1.5)
  check_derivatives(lambda z, w, p: multimax_score(z, weights=w, points=p), logits, *fours)
  _, slope = values_and_gradient(
    lambda z: multimax_score(z, weights=fours[0], points=fours[1]), np.array(-np.inf)
  )
  assert slope == 0


def test_bad_options_of_soft_cap_and_multimax():
  with pytest.raises(ValueError, match=r"cap=0; .*Pass 30\.0 or so"):
    soft_cap_score(1.0, cap=0)
  with pytest.raises(ValueError, match=r"points of shape \(2,\)"):
    multimax_score(1.0, weights=np.zeros(4), points=np.zeros(2))
