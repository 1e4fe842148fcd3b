"""Normalisation: log-probabilities, their limits, and softmax with a temperature."""

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softmax_research import functional
from softmax_research.functional import normalise
from tests.derivatives import check_derivatives
from tests.programs import program, values_and_gradient

log_normalise = program(functional.log_normalise)
log_normaliser = program(functional.log_normaliser)
log_softmax = program(functional.log_softmax)
softmax = program(functional.softmax)
sum_exponentials = program(normalise.sum_exponentials)

INF = np.inf


def _log_normaliser(row):
  return float(mpmath.log(mpmath.fsum(mpmath.exp(float(value)) for value in row)))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=6))
def test_against_mpmath(row):
  row = row + [row[0]] * (6 - len(row))  # one shape, one compilation
  expected = _log_normaliser(row)
  scores = np.float32(row)
  np.testing.assert_allclose(log_normaliser(scores), expected, rtol=2e-7, atol=1e-6)
  np.testing.assert_allclose(
    log_normalise(scores), np.float64(row) - expected, rtol=2e-7, atol=2e-6
  )


def test_gradients_are_those_of_the_formula():
  scores = np.array([[0.3, -2.0, 1.0], [5.0, 4.0, -7.0]])
  probabilities = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
  with jax.enable_x64(True):
    total_gradient = jax.jit(jax.grad(lambda s: log_normaliser(s).sum()))(scores)
    jacobian = jax.jit(jax.jacrev(log_normalise))(scores[0])
    check_derivatives(log_normaliser, scores)
  np.testing.assert_allclose(total_gradient, probabilities, rtol=1e-14)
  np.testing.assert_allclose(jacobian, np.eye(3) - probabilities[0], rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("where", [None, np.array([True, True, False, False])])
def test_impossible_classes(where):
  scores = np.array([1, 2, -INF, -INF] if where is None else [1, 2, 7, np.nan], np.float32)

  @jax.jit
  def run(scores):
    log_probs, pull_back = jax.vjp(lambda s: log_normalise(s, where=where), scores)
    return log_probs, pull_back(np.float32([1, 0, 5, 5]))[0], log_normaliser(scores, where=where)

  log_probs, gradient, total = run(scores)
  expected = np.array([1.0, 2.0]) - np.logaddexp(1.0, 2.0)
  np.testing.assert_allclose(log_probs, [*expected, -INF, -INF], rtol=1e-6)
  p = np.exp(expected)
  np.testing.assert_allclose(gradient, [1 - p[0], -p[1], 0, 0], rtol=1e-6)
  np.testing.assert_allclose(total, np.logaddexp(1, 2), rtol=1e-6)


@pytest.mark.parametrize("masked", [False, True])
def test_a_row_without_any_class(masked):
  where = np.zeros(3, bool) if masked else None
  functions = [functools.partial(of, where=where) for of in (log_normalise, log_normaliser)]

  @jax.jit
  def run(scores):
    jacobians = [mode(of)(scores) for of in functions for mode in (jax.jacrev, jax.jacfwd)]
    return [of(scores) for of in functions], jacobians

  (log_probs, total), jacobians = run(np.zeros((1, 3)) if masked else np.full((1, 3), -INF))
  np.testing.assert_array_equal(log_probs, np.full((1, 3), -INF))
  np.testing.assert_array_equal(total, [-INF])
  for jacobian in jacobians:
    np.testing.assert_array_equal(jacobian, np.zeros(jacobian.shape))


def test_axis():
  scores = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)

  @jax.jit
  def run(scores):
    return [
      [function(scores, axis=axis), function(jnp.moveaxis(scores, axis, -1))]
      for axis in (0, 1, -1)
      for function in (log_normalise, log_normaliser)
    ]

  for (found, expected), axis in zip(
    jax.device_get(run(scores)), (0, 0, 1, 1, -1, -1), strict=True
  ):
    expected = np.moveaxis(expected, -1, axis) if expected.ndim == 3 else expected
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_rounds_once(dtype):
  scores = (1e4 * np.random.default_rng(0).normal(size=(4, 50))).clip(-1e4, 1e4)
  scores = scores.astype(dtype)
  wide = np.asarray(scores, np.float64)
  expected = wide - np.array([_log_normaliser(row) for row in wide])[:, None]
  result = log_normalise(scores)
  assert result.dtype == dtype
  half_step = float(jnp.finfo(dtype).eps) / 2
  np.testing.assert_allclose(np.asarray(result, np.float64), expected, rtol=1.01 * half_step)


@pytest.mark.parametrize("shape", [(0, 3), (2, 1), (1,)])
def test_small_shapes(shape):
  log_probs = log_normalise(np.full(shape, 5.0))
  np.testing.assert_allclose(log_probs, np.full(shape, -np.log(shape[-1])), rtol=1e-6)
  assert log_normaliser(np.ones(shape)).shape == shape[:-1]


def test_a_large_row_sums_to_one_in_float16():
  # Past 2^16 elements a sum in float16 overflows.
  value, gradient = values_and_gradient(
    lambda s: log_normalise(s)[0].astype(jnp.float32), np.zeros(2**17, np.float16)
  )
  np.testing.assert_allclose(value, -17 * np.log(2), rtol=1e-3)
  assert np.all(np.isfinite(gradient))


def test_nan_is_not_hidden():
  scores = np.array([0.0, np.nan])
  assert np.all(np.isnan(log_normalise(scores)))
  assert np.isnan(log_normaliser(scores))


def test_impossible_classes_add_nothing_to_the_sum():
  scores = np.array([[1.0, 4.0, -INF], [-INF, -INF, -INF]])
  top, total = sum_exponentials(scores)
  np.testing.assert_array_equal(top, [[4], [np.finfo(np.float32).min]])
  np.testing.assert_allclose(total, [[1 + np.exp(-3)], [0]], rtol=1e-6)


@pytest.mark.parametrize(
  "function",
  [
    log_normalise,
    log_normaliser,
    functional.softmax,
    functional.entmax,
    functools.partial(functional.cross_entropy, labels=np.array([0, 2])),
    functools.partial(functional.one_vs_all_cross_entropy, labels=np.array([0, 2])),
    functools.partial(functional.multiclass_hinge, labels=np.array([0, 2])),
    functools.partial(functional.log_pc_softmax, log_prior=np.log(np.ones(3) / 3)),
  ],
)
def test_a_mask_must_fit_and_a_scalar_has_no_classes(function):
  for where in (np.ones(2, bool), np.ones((4, 2, 3), bool)):
    with pytest.raises(ValueError, match=r"Got where of shape .* values of shape \(2, 3\)"):
      function(np.zeros((2, 3)), where=where)
  with pytest.raises(ValueError, match="Got a scalar where classes are expected"):
    function(1.0)


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
    gradient = jax.jit(jax.grad(lambda t: log_softmax(LOGITS[0], temperature=t)[1]))(1.7)
  p = np.exp(_log_softmax(LOGITS[0], 1.7))
  np.testing.assert_allclose(gradient, (p @ LOGITS[0] - LOGITS[0][1]) / 1.7**2, rtol=1e-12)


def test_the_temperature_learns_beside_impossible_classes():
  logits = np.array([0.5, -1.0, -np.inf])
  with_impossible, without = (
    values_and_gradient(lambda t, z=z: log_softmax(z, temperature=t)[0], np.array(2.0))
    for z in (logits, logits[:2])
  )
  np.testing.assert_allclose(with_impossible, without, rtol=1e-6)


def test_invariance_under_shifts():
  np.testing.assert_allclose(softmax(LOGITS + 3), softmax(LOGITS), rtol=1e-5)


def test_masks_and_rows_without_any_class():
  where = np.array([[True, False, True], [False, False, False]])
  probabilities = np.asarray(softmax(LOGITS, where=where))
  np.testing.assert_array_equal(probabilities[1], np.zeros(3))
  np.testing.assert_allclose(
    probabilities[0], [1 / (1 + np.exp(2.5)), 0, 1 / (1 + np.exp(-2.5))], rtol=1e-6
  )
  np.testing.assert_array_equal(softmax(LOGITS.T, axis=0, where=where.T), probabilities.T)


@pytest.mark.parametrize("temperature", [0, -1.0, np.inf, np.nan])
def test_bad_temperatures(temperature):
  with pytest.raises(ValueError, match=r"temperature=.*> 0\. Pass 1\.0"):
    softmax(LOGITS, temperature=temperature)
