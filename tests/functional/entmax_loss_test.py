"""The entmax loss against its definition in numpy and mpmath, and its gradients."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from softmax_research.functional import cross_entropy, entmax, entmax_loss
from tests.derivatives import check_derivatives

LOGITS = np.array([[0.3, -0.2, 0.5, -3.0], [2.0, 0.1, -1.0, 0.0], [0.1, 0.2, 0.3, 0.4]])
LABELS = np.array([1, 3, 3])
SOFT = np.array([[0.1, 0.2, 0.7, 0.0], [0.0, 1.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]])
ALPHAS = [1.0, 1.01, 1.3, 1.5, 2.0, 3.0]

# Compiled once for all alphas.
_traced = jax.jit(lambda z, labels, a: entmax_loss(z, labels, alpha=a))
_gradients = jax.jit(jax.grad(lambda z, labels, a: jnp.sum(_traced(z, labels, a)), argnums=(0, 2)))


def _entropy(probs, alpha):
  probs = probs[probs > 0]
  if alpha == 1:
    return -np.sum(probs * np.log(probs))
  return np.sum(probs - probs**alpha) / (alpha * (alpha - 1))


def _oracle(logits, weights, alpha):
  """Return the definition's value, with probabilities from a bisection in float64."""
  if alpha == 1:
    probs = np.exp(logits) / np.exp(logits).sum()
  else:
    low, high = (alpha - 1) * logits.max() - 1, (alpha - 1) * logits.max()
    for _ in range(100):
      middle = (low + high) / 2
      probs = np.maximum((alpha - 1) * logits - middle, 0) ** (1 / (alpha - 1))
      low, high = (middle, high) if probs.sum() > 1 else (low, middle)
  return (probs - weights) @ logits + _entropy(probs, alpha) - _entropy(weights, alpha)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("soft", [False, True])
def test_values(alpha, soft):
  weights = SOFT if soft else np.eye(4)[LABELS]
  expected = [_oracle(z, q, alpha) for z, q in zip(LOGITS, weights, strict=True)]
  labels = SOFT if soft else LABELS
  with jax.enable_x64(True):
    np.testing.assert_allclose(_traced(LOGITS, labels, alpha), expected, atol=1e-13)
    if alpha in (1.3, 1.5, 2.0):
      np.testing.assert_allclose(entmax_loss(LOGITS, labels, alpha=alpha), expected, atol=1e-13)
  in_float32 = _traced(np.float32(LOGITS), np.float32(labels) if soft else labels, alpha)
  np.testing.assert_allclose(in_float32, expected, atol=1e-6)


def test_any_axis():
  for labels in (LABELS, SOFT):
    loss = jax.jit(lambda z, q: entmax_loss(z, q, axis=0))(LOGITS.T, labels.T)
    np.testing.assert_allclose(loss, entmax_loss(LOGITS, labels), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("alpha", [1.0, 1.3, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("soft", [False, True])
def test_the_gradient_is_the_difference_of_probabilities(alpha, soft):
  labels, weights = (SOFT, SOFT) if soft else (LABELS, np.eye(4)[LABELS])
  expected = entmax(LOGITS, alpha=alpha) - weights
  np.testing.assert_allclose(_gradients(LOGITS, labels, alpha)[0], expected, atol=1e-6)
  if alpha in (1.3, 1.5, 2.0):
    fixed = jax.jit(jax.grad(lambda z: jnp.sum(entmax_loss(z, labels, alpha=alpha))))
    np.testing.assert_allclose(fixed(LOGITS), expected, atol=1e-6)


@pytest.mark.parametrize("alpha", [1.0, 1.01, 1.5, 2.0, 3.0])
def test_the_gradient_in_alpha_against_mpmath(alpha):
  # The loss is a maximum over p, so only the entropies at fixed p and q change with alpha.
  with jax.enable_x64(True):
    probs = np.asarray(entmax(LOGITS[0], alpha=alpha))
    ours = _gradients(LOGITS[:1], SOFT[:1], alpha)[1]
  with mpmath.workdps(40):
    h = mpmath.mpf(10) ** -10

    def entropy(row, a):
      row = [mpmath.mpf(float(p)) for p in row if p > 0]
      return mpmath.fsum(p * (1 - p ** (a - 1)) for p in row) / (a * (a - 1))

    def slope(row):
      one, two, three = (entropy(row, alpha + k * h) for k in (1, 2, 3))
      return (4 * two - 1.5 * three - 2.5 * one) / h  # to second order, at alpha itself

    expected = float(slope(probs) - slope(SOFT[0]))
  np.testing.assert_allclose(ours, expected, rtol=1e-9)
  in_float32 = _gradients(np.float32(LOGITS[:1]), np.float32(SOFT[:1]), np.float32(alpha))[1]
  np.testing.assert_allclose(in_float32, expected, atol=1e-6)


def test_first_and_second_derivatives():
  function = jax.jit(lambda z, a: entmax_loss(z, SOFT, alpha=a))
  arguments = (LOGITS, np.array([[1.2], [1.5], [2.5]]))
  check_derivatives(function, *arguments)


def test_the_gradient_in_labels():
  # Minus the logits and the slope of the entropy, up to a constant: labels sum to one.
  with jax.enable_x64(True):
    gradient = np.asarray(jax.grad(lambda q: jnp.sum(entmax_loss(LOGITS, q, alpha=1.5)))(SOFT))
  expected = -LOGITS + (1.5 * SOFT**0.5 - 1) / (1.5 * 0.5)
  known = SOFT > 0
  difference = np.where(known, gradient - expected, np.nan)
  spread = np.nanmax(difference, -1) - np.nanmin(difference, -1)
  np.testing.assert_allclose(spread, np.zeros(3), atol=1e-12)


@pytest.mark.parametrize("alpha", [1.3, 1.5, 2.0])
def test_the_hessian_is_the_jacobian_of_entmax(alpha):
  with jax.enable_x64(True):
    hessian = jax.jit(jax.hessian(lambda z: entmax_loss(z, 1, alpha=alpha)))(LOGITS[0])
    jacobian = jax.jit(jax.jacrev(lambda z: entmax(z, alpha=alpha)))(LOGITS[0])
  np.testing.assert_allclose(hessian, jacobian, atol=1e-15)


@pytest.mark.parametrize("alpha", [1.25, 1.5, 1.7, 2.0, 3.0])
def test_the_loss_is_exactly_zero_from_the_margin_on(alpha):
  margin = 1 / (alpha - 1)
  leads = np.array([margin * 1.001, margin + 1e4, margin * 0.9])
  logits = np.stack([leads, np.zeros(3), np.full(3, -0.1), np.full(3, -9.0)], -1)
  labels = np.zeros(3, int)
  loss = entmax_loss(logits, labels, alpha=alpha)
  np.testing.assert_array_equal(loss == 0, [True, True, False])
  np.testing.assert_array_equal(_traced(logits, labels, alpha) == 0, [True, True, False])
  gradient, _ = _gradients(logits, labels, alpha)
  np.testing.assert_array_equal(np.any(gradient, -1), [False, False, True])


def test_alpha_one_is_cross_entropy():
  expected = cross_entropy(LOGITS, LABELS)
  np.testing.assert_allclose(entmax_loss(LOGITS, LABELS, alpha=1), expected, atol=1e-6)
  np.testing.assert_allclose(_traced(LOGITS, LABELS, 1.0), expected, atol=1e-6)


@pytest.mark.parametrize("alpha", [1.5, 1.8, 2.0])
def test_small_losses_keep_their_digits(alpha):
  logits = np.array([[1 / (alpha - 1) - 1e-2, 0.0, -5.0, -5.0]] * 3)
  expected = _oracle(logits[0], np.eye(4)[0], alpha)
  assert 0 < expected < 1e-4
  loss = _traced(np.float32(logits), np.zeros(3, int), alpha)
  np.testing.assert_allclose(loss, [expected] * 3, atol=6e-8)


def test_labels_out_of_range_give_nan():
  for dtype in (np.int32, np.uint8):
    labels = np.array([0, 4, 200]).astype(dtype)
    np.testing.assert_array_equal(np.isnan(entmax_loss(LOGITS, labels)), [False, True, True])
  assert np.isnan(entmax_loss(LOGITS[0], -1))


@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.0])
def test_impossible_classes(alpha):
  logits = np.where([True, True, False, True], LOGITS, -np.inf)
  logits[2] = -np.inf
  where = np.array([True, True, True, False])
  labels = np.array([1, 2, 0])

  def losses(z):
    return entmax_loss(z, labels, alpha=alpha, where=where)

  loss = losses(logits)
  np.testing.assert_allclose(loss[0], entmax_loss(LOGITS[0, :2], 1, alpha=alpha), rtol=1e-6)
  np.testing.assert_array_equal(loss[1:], [np.inf, np.inf])
  gradient = jax.grad(lambda z: jnp.sum(losses(z)))(logits)
  probs = entmax(logits, alpha=alpha, where=where)
  possible = np.array([[True, True, False, False]] * 2 + [[False] * 4])
  np.testing.assert_allclose(gradient, np.where(possible, probs - np.eye(4)[labels], 0), atol=1e-6)
  soft = np.array([[0.5, 0.5, 0, 0], [0.5, 0, 0.5, 0], [0, 0, 0, 0]])
  loss, gradient = jax.value_and_grad(
    lambda z: jnp.sum(entmax_loss(z, soft, alpha=alpha, where=where)[np.array([0, 2])])
  )(logits)
  assert np.isfinite(loss) and np.all(np.isfinite(gradient))
  assert entmax_loss(logits, soft, alpha=alpha, where=where)[1] == np.inf


def test_one_class_and_no_examples():
  np.testing.assert_array_equal(entmax_loss(jnp.ones((2, 1)), jnp.zeros(2, int)), [0, 0])
  assert entmax_loss(jnp.zeros((0, 3)), jnp.zeros(0, int)).shape == (0,)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
@pytest.mark.parametrize("alpha", [1.3, 1.5, 2.0])
def test_half_precision(alpha, dtype):
  logits = jnp.array([[1e4, -1e4, 0, 5], [0.5, 0.25, -0.125, 0], [0, 0, 0, 0]], dtype)
  loss = _traced(logits, np.array([2, 0, 1]), alpha)
  assert loss.dtype == dtype
  exact = _traced(logits.astype(jnp.float32), np.array([2, 0, 1]), alpha)
  np.testing.assert_array_equal(loss, exact.astype(dtype))
  assert exact[0] == logits[0, 0]


def test_bad_arguments():
  with pytest.raises(ValueError, match="alpha=0"):
    entmax_loss(LOGITS, LABELS, alpha=0)
  with pytest.raises(ValueError, match="size 1 along the class axis"):
    entmax_loss(LOGITS, LABELS, alpha=jnp.ones(4))
  with pytest.raises(ValueError, match="integer labels of shape"):
    entmax_loss(LOGITS, LABELS[:2])
  with pytest.raises(TypeError, match="bool"):
    entmax_loss(LOGITS, LABELS > 1)
