"""Priors in training and after it, against numpy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softmax_research import functional
from softmax_research.functional import (
  class_balanced_weights,
  log_prior_from_counts,
  pc_cross_entropy,
)
from tests.derivatives import check_derivatives
from tests.programs import program, values_and_gradient

log_normalise = program(functional.log_normalise)
log_pc_softmax = program(functional.log_pc_softmax)
log_softmax = program(functional.log_softmax)
negative_log_likelihood = program(functional.negative_log_likelihood)
shift_prior = program(functional.shift_prior)

LOGITS = np.array([[0.4, -1.7, 2.2], [30.0, 0.0, -20.0]])
PRIOR = np.array([0.2, 0.7, 0.1])
OTHER = np.array([0.5, 0.1, 0.4])


def test_counts():
  expected = np.log(np.array([1, 3, 6]) / 10)
  np.testing.assert_allclose(log_prior_from_counts([1, 3, 6]), expected, rtol=1e-6)
  np.testing.assert_array_equal(log_prior_from_counts([0, 5]), [-np.inf, 0])


@pytest.mark.parametrize("counts", [[0, 0], [1, -1], [np.nan, 1], [[1, 2]], [], 3])
def test_bad_counts(counts):
  with pytest.raises(ValueError, match=r"counts of shape .*number of examples"):
    log_prior_from_counts(counts)


def test_pc_softmax_is_the_ratio_of_the_paper():
  expected = np.exp(LOGITS) / (PRIOR * np.exp(LOGITS)).sum(-1, keepdims=True)
  with jax.enable_x64(True):
    log_ratios = log_pc_softmax(LOGITS, np.log(PRIOR))
  np.testing.assert_allclose(log_ratios, np.log(expected), rtol=1e-12, atol=1e-14)
  np.testing.assert_allclose(np.exp(log_ratios) @ PRIOR, [1, 1], rtol=1e-13)
  check_derivatives(lambda z: functional.log_pc_softmax(z, np.log(PRIOR)), LOGITS)


def test_the_prior_keeps_its_digits_beside_large_logits():
  logits = np.rint(LOGITS) + 2.0**23  # Whole numbers, which float32 holds.

  @jax.jit
  def run(logits):
    loss = lambda z: pc_cross_entropy(z, np.array([1, 2]), np.log(PRIOR)).sum()  # noqa: E731
    return log_pc_softmax(logits, np.log(PRIOR)), *jax.value_and_grad(loss)(logits)

  found, expected = (run(np.float32(z)) for z in (logits, np.rint(LOGITS)))
  for one, other in zip(found, expected, strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


def test_pc_softmax_is_softmax_of_the_adjusted_logits_less_the_prior():
  with jax.enable_x64(True):
    adjusted = np.asarray(log_softmax(LOGITS + np.log(PRIOR))) - np.log(PRIOR)
    np.testing.assert_allclose(log_pc_softmax(LOGITS, np.log(PRIOR)), adjusted, rtol=1e-11)


def test_a_uniform_prior_shifts_softmax_by_the_number_of_classes():
  uniform = np.full(3, -np.log(3))
  np.testing.assert_allclose(
    log_pc_softmax(LOGITS, uniform),
    np.asarray(log_softmax(LOGITS)) + np.log(3),
    rtol=1e-5,
    atol=1e-6,
  )


def test_pc_softmax_with_a_class_that_never_occurs():
  log_prior = np.array([-np.log(2), -np.log(2), -np.inf])
  far, near = np.float32([1, 2, 500]), np.float32([1, 2, 3])

  def composed(z):
    return negative_log_likelihood(log_pc_softmax(z, log_prior), 0)

  @jax.jit
  def run(far, near):
    own = jax.value_and_grad(pc_cross_entropy)(near, 2, log_prior)
    return jax.value_and_grad(composed)(far), log_pc_softmax(near, log_prior), own

  (value, gradient), ratios, (loss, slopes) = jax.device_get(run(far, near))
  total = np.log(np.exp([1.0, 2.0]).mean())
  np.testing.assert_allclose(value, total - 1, rtol=1e-5)
  share = 1 / (1 + np.e)
  np.testing.assert_allclose(gradient, [share - 1, 1 - share, 0], rtol=1e-5, atol=1e-7)
  # It is as impossible as if its logit were -inf.
  assert ratios[2] == -np.inf
  assert loss == np.inf and np.all(np.isfinite(slopes)) and slopes[2] == 0


def test_pc_softmax_with_impossible_and_masked_classes():
  log_prior = np.log(PRIOR)
  where = np.array([[True, True, False], [False, False, False]])
  log_ratios, gradient = values_and_gradient(
    lambda z: log_pc_softmax(z, log_prior, where=where), LOGITS
  )
  first = LOGITS[0, :2] - np.log(np.exp(LOGITS[0, :2]) @ PRIOR[:2])
  np.testing.assert_allclose(log_ratios[0], [*first, -np.inf], rtol=1e-5)
  np.testing.assert_array_equal(log_ratios[1], np.full(3, -np.inf))
  assert np.all(np.isfinite(gradient))
  impossible = log_pc_softmax(np.array([*LOGITS[0, :2], -np.inf]), log_prior)
  np.testing.assert_allclose(impossible, log_ratios[0], rtol=1e-6)


@pytest.mark.parametrize("where", [None, [[True, True, False], [False, False, False]]])
@pytest.mark.parametrize("labels", [[1, 2], [[0.2, 0.8, 0.0], [0.0, 0.5, 0.5]]])
def test_pc_cross_entropy_is_the_likelihood_of_the_ratios(labels, where):
  logits, labels, log_prior = LOGITS[:2], np.asarray(labels), np.log(PRIOR)

  def composed(z):
    log_ratios = log_pc_softmax(z, log_prior, where=where)
    return negative_log_likelihood(log_ratios, labels, where=where)

  def direct(z):
    return pc_cross_entropy(z, labels, log_prior, where=where)

  @jax.jit
  def run(logits):
    found = [jax.vjp(loss, logits) for loss in (direct, composed)]
    finite = jnp.where(jnp.isfinite(found[1][0]), 1.0, 0.0)
    return [(losses, pull_back(finite)[0]) for losses, pull_back in found]

  with jax.enable_x64(True):
    (losses, slopes), (expected, expected_slopes) = run(logits)
  np.testing.assert_allclose(losses, expected, rtol=1e-12)
  np.testing.assert_allclose(slopes, expected_slopes, rtol=1e-12, atol=1e-14)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.0625, 1, width=32), min_size=9, max_size=9))
def test_moving_a_prior_is_bayes_rule(numbers):
  likelihood, before, after = np.array(numbers).reshape(3, 3)
  before, after = before / before.sum(), after / after.sum()
  posterior = likelihood * before / (likelihood * before).sum()
  expected = likelihood * after / (likelihood * after).sum()
  moved = shift_prior(np.log(posterior), np.log(before), np.log(after))
  np.testing.assert_allclose(np.exp(moved), expected, rtol=1e-5)


def test_moving_there_and_back():
  log_probs, before, after = np.asarray(log_softmax(LOGITS)), np.log(PRIOR), np.log(OTHER)
  there = shift_prior(log_probs, before, after)
  np.testing.assert_allclose(shift_prior(there, after, before), log_probs, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(shift_prior(log_probs, after, after), log_probs, rtol=1e-5, atol=1e-6)


def test_the_two_corrections_meet_for_a_model_that_is_right():
  # Trained without a prior, such a model's logits hold it; trained with it, they do not.
  with jax.enable_x64(True):
    with_prior_inside = log_normalise(LOGITS + np.log(PRIOR))
    balanced = shift_prior(with_prior_inside, np.log(PRIOR), np.full(3, -np.log(3)))
    np.testing.assert_allclose(balanced, log_softmax(LOGITS), rtol=1e-12)
  check_derivatives(lambda lp: functional.shift_prior(lp, np.log(PRIOR), np.log(OTHER)), balanced)


def test_classes_without_a_prior():
  log_probs, full = np.log([0.5, 0.3, 0.2]), np.log([0.25, 0.25, 0.5])
  gone = np.array([*np.log([0.5, 0.5]), -np.inf])
  moved, gradient = values_and_gradient(
    lambda lp: functional.shift_prior(lp, full, gone)[0], log_probs
  )
  np.testing.assert_allclose(np.exp(moved), 0.625, rtol=1e-5)
  np.testing.assert_allclose(gradient, [0.375, -0.375, 0], rtol=1e-5)
  with pytest.raises(ValueError, match=r"classes \[2\] with prior 0 in log_prior_from"):
    functional.shift_prior(log_probs, gone, full)
  for before, after in ((full, gone), (gone, full)):  # Nobody can refuse what is traced.
    traced = shift_prior(log_probs, before, after)
    np.testing.assert_allclose(np.exp(traced), [0.625, 0.375, 0], rtol=1e-5)


def test_axis():
  log_prior, other = np.log(PRIOR), np.log(OTHER)
  log_probs = np.asarray(log_softmax(LOGITS))
  np.testing.assert_allclose(
    np.asarray(log_pc_softmax(LOGITS.T, log_prior, axis=0)).T,
    log_pc_softmax(LOGITS, log_prior),
    rtol=1e-6,
  )
  np.testing.assert_allclose(
    np.asarray(shift_prior(log_probs.T, log_prior, other, axis=0)).T,
    shift_prior(log_probs, log_prior, other),
    rtol=1e-6,
  )


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_up_to_ten_thousand(dtype):
  logits = np.array([1e4, -1e4, 9984.0], dtype)
  log_prior = np.asarray(log_prior_from_counts([1, 30, 900])).astype(dtype)
  result = log_pc_softmax(logits, log_prior)
  assert result.dtype == dtype
  wide, prior = np.asarray(logits, np.float64), np.asarray(log_prior, np.float64)
  expected = wide - np.logaddexp.reduce(wide + prior)
  np.testing.assert_allclose(np.asarray(result, np.float64), expected, rtol=5e-3)


@pytest.mark.parametrize(
  "log_prior, message",
  [
    (np.log([0.5, 0.5]), r"shape \(2,\) for 3 classes"),
    (np.log([0.5, 0.5, 0.5]), r"sum to 1\.5; they must sum to 1"),
    (np.array([10.0, 20.0, 70.0]), "they must sum to 1"),
    (np.array([np.nan, 0.0, -1.0]), "sum to nan"),
  ],
)
def test_bad_priors(log_prior, message):
  with pytest.raises(ValueError, match=f"Got log_prior .*{message}"):
    functional.log_pc_softmax(LOGITS, log_prior)
  with pytest.raises(ValueError, match=f"Got log_prior_from .*{message}"):
    functional.shift_prior(LOGITS, log_prior, np.log(PRIOR))
  with pytest.raises(ValueError, match=f"Got log_prior_to .*{message}"):
    functional.shift_prior(LOGITS, np.log(PRIOR), log_prior)


def test_a_constant_prior_is_checked_inside_jit():
  with pytest.raises(ValueError, match=r"sum to 1\.5"):
    jax.jit(lambda z: functional.log_pc_softmax(z, np.log([0.5, 0.5, 0.5])))(LOGITS)


def test_class_balanced_weights_are_inverse_effective_numbers():
  counts, beta = np.array([5, 0, 100, 3000]), 0.99
  effective = [sum(beta**i for i in range(n)) for n in counts]
  expected = np.array([1 / number if number else 0 for number in effective])
  with jax.enable_x64(True):
    found = class_balanced_weights(counts, beta=beta)
  np.testing.assert_allclose(found, 3 * expected / expected.sum(), rtol=1e-12)
  np.testing.assert_array_equal(class_balanced_weights([5, 0, 9], beta=0), [1, 0, 1])
  # Close to one they are inverse frequencies.
  nearly = class_balanced_weights([1, 3], beta=1 - 1e-9)
  np.testing.assert_allclose(nearly, [1.5, 0.5], rtol=1e-6)
  with pytest.raises(ValueError, match=r"beta=1; it must lie in \[0, 1\)"):
    class_balanced_weights([1, 3], beta=1)
  with pytest.raises(ValueError, match=r"counts of shape \(2,\); they must be a vector"):
    class_balanced_weights([1, -1], beta=0.9)
