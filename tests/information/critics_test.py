"""Bounds from scores of pairs, against loops in float64 and against laws with a known truth."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softmax_research.information import (
  correlated_gaussian_information,
  donsker_varadhan,
  info_nce,
  interpolated,
  jensen_shannon,
  mine,
  nwj,
  smile,
)
from tests.derivatives import check_derivatives

SCORES = np.random.default_rng(0).normal(size=(5, 5)) * 2


def _pairs(scores):
  together = [scores[i, i] for i in range(len(scores))]
  apart = [scores[i, j] for i in range(len(scores)) for j in range(len(scores)) if i != j]
  return np.array(together), np.array(apart)


def _donsker_varadhan(scores):
  together, apart = _pairs(scores)
  return together.mean() - np.log(np.exp(apart).mean())


def _nwj(scores):
  together, apart = _pairs(scores)
  return 1 + together.mean() - np.exp(apart).mean()


def _info_nce(scores):
  rows = [scores[i, i] - np.log(np.exp(scores[i]).mean()) for i in range(len(scores))]
  return np.mean(rows)


def _smile(scores, clip):
  together, apart = _pairs(scores)
  return together.mean() - np.log(np.exp(np.clip(apart, -clip, clip)).mean())


def _jensen_shannon(scores):
  together, apart = _pairs(scores)
  return -np.log1p(np.exp(-together)).mean() - np.log1p(np.exp(apart)).mean()


def _interpolated(scores, log_baseline, alpha):
  size = len(scores)
  joint, marginal = [], []
  for j in range(size):
    for i in range(size):
      if i == j:
        continue

      def baseline(left_out, j=j):
        others = [np.exp(scores[k, j]) for k in range(size) if k != left_out]
        return alpha * np.mean(others) + (1 - alpha) * np.exp(log_baseline[j])

      joint.append(scores[j, j] - np.log(baseline(i)))
      marginal.append(np.exp(scores[i, j]) / baseline(j))
  return 1 + np.mean(joint) - np.mean(marginal)


CASES = {
  "donsker_varadhan": (donsker_varadhan, _donsker_varadhan),
  "nwj": (nwj, _nwj),
  "info_nce": (info_nce, _info_nce),
  "smile": (functools.partial(smile, clip=1.5), functools.partial(_smile, clip=1.5)),
  "jensen_shannon": (jensen_shannon, _jensen_shannon),
}
for _alpha in (0.0, 0.3, 1.0):
  _options = {"log_baseline": np.linspace(-1, 1, 5), "alpha": _alpha}
  CASES[f"interpolated {_alpha}"] = (
    functools.partial(interpolated, **_options),
    functools.partial(_interpolated, **_options),
  )


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name):
  ours, oracle = CASES[name]
  check_derivatives(ours, SCORES, oracle=oracle)


@pytest.mark.parametrize("name", CASES)
def test_large_scores_and_half_precision_stay_finite(name):
  ours, _ = CASES[name]
  scores = jnp.asarray(SCORES + 800 * np.eye(5), jnp.bfloat16)
  value, gradient = jax.device_get(jax.jit(jax.value_and_grad(ours))(scores))
  assert np.isfinite(value) and np.isfinite(gradient.astype(np.float32)).all()


def test_scores_far_from_zero_lose_no_digits():
  scores = (SCORES - 1e4).astype(np.float32)
  found = jax.jit(lambda s: (donsker_varadhan(s), mine(s, -jnp.inf)[0], info_nce(s)))(scores)
  # A constant changes none of them, and is taken off in float64.
  near = np.float64(scores) + 1e4
  expected = [_donsker_varadhan(near)] * 2 + [_info_nce(near)]
  np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_score_that_outweighs_all_others_of_its_column_is_left_out_exactly():
  # Left out by a subtraction in float32, nothing of the others would remain.
  scores = SCORES + 30 * np.eye(5)
  options = {"log_baseline": np.zeros(5), "alpha": 1.0}
  expected = _interpolated(scores, **options)
  found = jax.jit(functools.partial(interpolated, **options))(np.float32(scores))
  assert found == pytest.approx(expected, rel=1e-5)


def test_mine_divides_the_gradient_by_the_average():
  def objective(scores, log_average):
    return mine(scores, log_average, rate=0.25)

  _, apart = _pairs(SCORES)
  mean, average = np.exp(apart).mean(), 3.0
  with jax.enable_x64(True):
    objective = jax.jit(jax.value_and_grad(objective, has_aux=True))
    (value, log_average), gradient = objective(SCORES, np.log(average))
    (_, first), _ = objective(SCORES, -np.inf)
  assert value == pytest.approx(_donsker_varadhan(SCORES))
  new = 0.75 * average + 0.25 * mean
  assert np.exp(log_average) == pytest.approx(new)
  assert np.exp(first) == pytest.approx(mean)
  assert gradient[1, 2] == pytest.approx(-np.exp(SCORES[1, 2]) / 20 / new)
  assert gradient[2, 2] == pytest.approx(1 / 5)


@functools.cache
def _gaussian_scores(correlation, batches, size=16, dimension=3):
  """Draws batches and scores them by the true log-ratio of densities."""
  rng = np.random.default_rng(0)
  x = rng.normal(size=(batches, size, dimension))
  noise = rng.normal(size=x.shape)
  y = correlation * x + np.sqrt(1 - correlation**2) * noise
  conditional = -((y[:, None] - correlation * x[:, :, None]) ** 2) / (1 - correlation**2)
  log_ratio = 0.5 * (conditional + y[:, None] ** 2 - np.log(1 - correlation**2)).sum(-1)
  return np.float32(log_ratio)


@pytest.mark.parametrize("name", ["nwj", "info_nce", "interpolated 0.3", "interpolated 1.0"])
def test_bounds_are_bounds(name):
  """With the best critic and with another: the mean over many batches is at most the truth."""
  truth = correlated_gaussian_information(0.8, 3)
  bound = CASES[name][0]
  if name.startswith("interpolated"):
    bound = functools.partial(interpolated, log_baseline=0.0, alpha=float(name.split()[1]))
  run = jax.jit(jax.vmap(bound))
  for scale in (0.7, 1.0):
    estimates = np.asarray(run(scale * _gaussian_scores(0.8, 2000)), np.float64)
    error = estimates.std() / np.sqrt(len(estimates))
    assert estimates.mean() <= truth + 3 * error
  if name == "nwj":  # Tight, and without bias, at the best critic.
    assert estimates.mean() == pytest.approx(truth, abs=4 * error)


def test_info_nce_cannot_exceed_the_logarithm_of_the_batch():
  scores = _gaussian_scores(0.999, 200)
  estimates = jax.jit(jax.vmap(info_nce))(scores)
  assert correlated_gaussian_information(0.999, 3) > 9
  assert np.log(16) - 0.05 < estimates.mean() and estimates.max() <= np.log(16) + 1e-5


def test_rate_and_clip_can_be_traced():
  def both(rate, clip):
    return *mine(SCORES, 0.0, rate=rate), smile(SCORES, clip=clip)

  traced, given = jax.jit(lambda *options: (both(*options), both(0.1, 1.5)))(0.1, 1.5)
  np.testing.assert_allclose(traced, given, rtol=1e-5)


def test_donsker_varadhan_and_smile_without_clipping_are_one():
  found, plain = jax.jit(lambda z: (smile(z, clip=None), donsker_varadhan(z)))(SCORES)
  assert found == pytest.approx(plain)


@pytest.mark.parametrize("name", CASES)
def test_no_type_is_widened_and_no_rank_promoted(name):
  bound = CASES[name][0]
  with jax.enable_x64(True), jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
    traced = jax.eval_shape(bound, jax.ShapeDtypeStruct((5, 5), jnp.float32))
  assert traced.dtype == jnp.float32


@pytest.mark.parametrize("name", sorted(CASES.keys() - {"interpolated 1.0"}))  # It is infinite.
def test_pairs_apart_that_cannot_be_have_finite_gradients(name):
  scores = jnp.where(jnp.eye(5, dtype=bool), 1.0, -jnp.inf).at[0, 1].set(0.5)
  assert np.all(np.isfinite(jax.jit(jax.grad(CASES[name][0]))(scores)))


def test_mine_of_pairs_apart_that_cannot_be_is_infinite():
  scores = jnp.where(jnp.eye(5, dtype=bool), 1.0, -jnp.inf)
  run = jax.jit(jax.value_and_grad(mine, has_aux=True))
  for log_average in (-np.inf, 0.5):
    (value, _), gradient = run(scores, log_average)
    assert np.isposinf(value)
    np.testing.assert_allclose(gradient, np.eye(5) / 5)


def test_numbers_of_numpy_and_constants_of_a_program_are_numbers():
  def all_three(scores, number):
    return *mine(scores, number, rate=number), smile(scores, clip=number)

  scores = jax.ShapeDtypeStruct((5, 5), jnp.float32)
  with jax.enable_x64(True):
    for number in (np.float64(0.5), jnp.asarray(0.5)):
      found = jax.eval_shape(lambda scores, number=number: all_three(scores, number), scores)
      assert {value.dtype for value in found} == {np.dtype(np.float32)}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("shape", [(3,), (3, 4), (1, 1), (2, 3, 3)])
def test_scores_are_a_square_of_pairs(name, shape):
  with pytest.raises(ValueError, match=r"Got scores of shape"):
    CASES[name][0](np.zeros(shape))


@pytest.mark.parametrize(
  ("call", "message"),
  [
    (lambda: smile(SCORES, clip=0.0), "clip=0.0"),
    (lambda: mine(SCORES, 0.0, rate=0.0), "rate=0.0"),
    (lambda: interpolated(SCORES, 0.0, alpha=1.5), "alpha=1.5"),
    (lambda: interpolated(SCORES, np.zeros((len(SCORES), 1)), alpha=0.5), "log_baseline of shape"),
    (lambda: interpolated(SCORES[:2, :2], 0.0, alpha=0.5), "Got 2 pairs"),
  ],
)
def test_bad_options_are_named(call, message):
  with pytest.raises(ValueError, match=message):
    call()
