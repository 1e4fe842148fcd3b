"""Entmax against roots found by mpmath, an exact sort in numpy, and their derivatives."""

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from softmax_research.functional import entmax, entmax_loss, softmax
from tests.derivatives import check_derivatives

ALPHAS = [1.0, 1.001, 1.25, 1.5, 2.0, 4.0]
LOGITS = np.random.default_rng(0).normal(size=(5, 4)) * np.array([[0.01, 0.3, 0.6, 1, 4]]).T

# Compiled once for all alphas.
_traced = jax.jit(lambda z, a: entmax(z, alpha=a))
_forward = jax.jit(jax.jacfwd(_traced, argnums=(0, 1)))
_reverse = jax.jit(jax.jacrev(_traced, argnums=(0, 1)))
_second = jax.jit(jax.jacrev(jax.jacfwd(_traced)))


def _mp_entmax(logits, alpha):
  """Return probabilities of one example to 35 digits, from a bisection on the threshold."""
  alpha, logits = mpmath.mpf(alpha), [mpmath.mpf(float(z)) for z in logits]
  if alpha == 1:
    weights = [mpmath.exp(z) for z in logits]
    return [w / mpmath.fsum(weights) for w in weights]
  beta = alpha - 1

  def powers(threshold):
    return [max(beta * z - threshold, mpmath.mpf(0)) ** (1 / beta) for z in logits]

  low, high = beta * max(logits) - 1, beta * max(logits)
  for _ in range(110):
    middle = (low + high) / 2
    low, high = (middle, high) if mpmath.fsum(powers(middle)) > 1 else (low, middle)
  return powers(low)


@functools.cache
def _oracle(alpha, dtype):
  with mpmath.workdps(40):
    return np.array([_mp_entmax(row, alpha) for row in LOGITS.astype(dtype)], np.float64)


def _entmax15(logits):
  """Return 1.5-entmax from a sort, in float64."""
  logits = logits - logits.max(-1, keepdims=True)
  z = np.sort(logits / 2, axis=-1)[:, ::-1]
  n = np.arange(1, z.shape[-1] + 1)
  mean = np.cumsum(z, -1) / n
  spread = np.cumsum(z**2, -1) - n * mean**2
  thresholds = mean - np.sqrt(np.maximum((1 - spread) / n, 0))
  size = np.sum(thresholds <= z, -1, keepdims=True)
  return np.maximum(logits / 2 - np.take_along_axis(thresholds, size - 1, -1), 0) ** 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_values_to_the_last_digits(alpha, dtype):
  logits, eps = LOGITS.astype(dtype), np.finfo(dtype).eps
  with jax.enable_x64(dtype == np.float64):
    fixed = np.asarray(entmax(logits, alpha=alpha))
    traced = np.asarray(_traced(logits, dtype(alpha)))
  # For the number 1.001 in float32, alpha - 1 is rounded; for the array, alpha is.
  for probs, exact_alpha in ((fixed, alpha), (traced, float(dtype(alpha)))):
    assert probs.dtype == dtype
    np.testing.assert_allclose(probs, _oracle(exact_alpha, dtype), rtol=0, atol=8 * eps)
    np.testing.assert_allclose(np.sum(probs, -1, dtype=np.float64), 1, atol=4 * eps)


def test_many_classes_against_a_sort():
  logits = np.random.default_rng(1).normal(size=(7, 1000)) * np.logspace(-3, 1.5, 7)[:, None]
  with jax.enable_x64(True):
    np.testing.assert_allclose(entmax(logits), _entmax15(logits), rtol=0, atol=1e-13)
  logits = logits.astype(np.float32)
  np.testing.assert_allclose(entmax(logits), _entmax15(logits.astype(float)), rtol=0, atol=3e-7)


def test_alpha_one_is_softmax_and_its_limit():
  np.testing.assert_array_equal(entmax(LOGITS, alpha=1), softmax(LOGITS))
  for alpha in (jnp.array(1.0), 1 + 1e-9, jnp.array(1 + 1e-6)):
    np.testing.assert_allclose(entmax(LOGITS, alpha=alpha), softmax(LOGITS), atol=3e-6)


def test_an_alpha_for_each_example():
  alphas = np.linspace(1, 3, len(LOGITS), dtype=np.float32)
  expected = [_traced(LOGITS, alpha)[row] for row, alpha in enumerate(alphas)]
  np.testing.assert_allclose(_traced(LOGITS, alphas[:, None]), expected, atol=1e-6)
  first_axis = jax.jit(lambda z, a: entmax(z, alpha=a, axis=0))(LOGITS.T, alphas)
  np.testing.assert_allclose(first_axis.T, expected, atol=1e-6)
  np.testing.assert_allclose(jax.vmap(_traced)(LOGITS, alphas), expected, atol=1e-6)


def test_a_traced_alpha_below_one_is_nan():
  alphas = np.array([[0.5], [1.0], [0.99], [1.5], [-1.0]], np.float32)
  below = np.broadcast_to(alphas < 1, LOGITS.shape)
  np.testing.assert_array_equal(np.isnan(_traced(LOGITS, alphas)), below)
  loss = jax.jit(lambda a: entmax_loss(LOGITS, np.zeros(5, int), alpha=a))(alphas)
  np.testing.assert_array_equal(np.isnan(loss), alphas[:, 0] < 1)


@pytest.mark.parametrize("alpha", [1.0, 1.001, 1.5, 2.0, 3.0])
def test_derivatives_against_mpmath(alpha):
  # Differences of width 1e-12 between values of 33 digits; one-sided, as alpha starts at 1.
  logits = np.array([0.3, -0.2, 0.5, -3.0])
  with mpmath.workdps(40):
    h, exact_alpha = mpmath.mpf(10) ** -12, mpmath.mpf(alpha)
    at = [_mp_entmax(logits, exact_alpha + k * h) for k in (0, 1, 2)]
    in_alpha = [float((4 * b - c - 3 * a) / (2 * h)) for a, b, c in zip(*at, strict=True)]
    g = [p ** (2 - exact_alpha) if p else mpmath.mpf(0) for p in at[0]]
    in_logits = [
      [float(gi * ((i == j) - gj / sum(g))) for j, gj in enumerate(g)] for i, gi in enumerate(g)
    ]
  with jax.enable_x64(True):
    for derivatives in (_forward, _reverse):
      ours = derivatives(logits, alpha)
      np.testing.assert_allclose(ours[0], in_logits, atol=1e-14)
      np.testing.assert_allclose(ours[1], in_alpha, atol=1e-11)
    fixed = jax.jacrev(lambda z: entmax(z, alpha=alpha))(logits)
    np.testing.assert_allclose(fixed, in_logits, atol=1e-14)
  np.testing.assert_allclose(_forward(np.float32(logits), alpha)[1], in_alpha, atol=2e-6)


def test_first_and_second_derivatives():
  logits = np.array([[0.3, -0.2, 0.5, -9.0], [0.1, 0.8, -7.0, 0.6]])
  arguments = (logits, np.array([[1.2], [2.5]]))
  check_derivatives(_traced, *arguments)


@pytest.mark.parametrize("alpha", [1.3, 1.5, 2.0])
def test_derivatives_for_a_number_and_for_an_array_agree(alpha):
  logits = np.array([0.3, -0.2, 0.5, -3.0])
  with jax.enable_x64(True):
    fixed = jax.jit(jax.jacfwd(jax.jacrev(lambda z: entmax(z, alpha=alpha))))(logits)
    np.testing.assert_allclose(fixed, _second(logits, alpha), atol=1e-13)


@pytest.mark.parametrize("gap", [1e-2, 1e-3, 1e-5])
def test_a_class_at_the_edge_keeps_its_digits(gap):
  # Beyond alpha = 2 its probability changes by a thousandth between neighbouring floats of the
  # threshold, and its weight p^(2 - alpha) in the Jacobian is up to 1e9 times the others'.
  logits = np.array([0.0, gap / 3 - 1 / 3, -2.0], np.float32)
  jacobian = jax.jacrev(lambda z: entmax(z, alpha=4.0))(logits)
  with mpmath.workdps(40):
    p = _mp_entmax(logits, 4)
  expected = float(1 / (p[0] ** 2 + p[1] ** 2)) * np.array([[1, -1, 0], [-1, 1, 0], [0, 0, 0]])
  np.testing.assert_allclose(entmax(logits, alpha=4.0), [float(x) for x in p], atol=3e-7)
  np.testing.assert_allclose(jacobian, expected, rtol=1e-6)


@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.0, "traced"])
def test_impossible_classes_are_as_if_absent(alpha):
  logits = np.array([[0.3, -np.inf, 0.5, 0.4], [-np.inf] * 4, [5.0, 0.1, 0.2, 0.3]], np.float32)
  where = np.array([[True, True, True, False]] * 2 + [[False, True, True, False]])
  weights = np.array([1.0, 2.0, 3.0, 4.0])

  @jax.jit
  def probs_and_gradients(z, mask, a):
    def value(z, a):
      probs = entmax(z, alpha=a if alpha == "traced" else alpha, where=mask)
      return jnp.sum(probs * weights[: z.shape[-1]]), probs

    gradients, probs = jax.grad(value, argnums=(0, 1), has_aux=True)(z, a)
    return probs, *gradients

  for value in (1.0, 1.3, 3.0) if alpha == "traced" else (0.0,):
    probs, gradient, in_alpha = probs_and_gradients(logits, where, value)
    assert np.isfinite(in_alpha)
    assert not np.any(probs[1]) and not np.any(gradient[1])
    for row, kept in ((0, np.array([0, 2])), (2, np.array([1, 2]))):
      order = [*kept, *np.setdiff1d(range(4), kept)]
      assert not np.any(probs[row, order[2:]]) and not np.any(gradient[row, order[2:]])
      p, q = (float(x) for x in _mp_entmax(logits[row, kept], value or alpha))
      g, h = (x ** (2 - (value or alpha)) for x in (p, q))
      slope = (weights[kept[0]] - weights[kept[1]]) * g * h / (g + h)
      np.testing.assert_allclose(probs[row, kept], [p, q], atol=1e-6)
      np.testing.assert_allclose(gradient[row, kept], [slope, -slope], atol=1e-6)


@pytest.mark.parametrize("alpha", [1.5, 1.8])
def test_one_class_and_no_examples(alpha):
  np.testing.assert_array_equal(entmax(jnp.array([[3.0], [-7.0]]), alpha=alpha), np.ones((2, 1)))
  assert jax.grad(lambda z: entmax(z, alpha=alpha)[0])(jnp.ones(1)) == 0
  for shape in ((0, 3), (2, 0)):
    assert entmax(jnp.zeros(shape), alpha=alpha).shape == shape


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
@pytest.mark.parametrize("alpha", [1.3, 1.5, 2.0])
def test_half_precision(alpha, dtype):
  logits = jnp.array([[1e4, 9.9e3, -1e4], [1e4, 1e4, 0], [0.5, 0.25, -0.125]], dtype)
  probs = entmax(logits, alpha=alpha)
  assert probs.dtype == dtype
  exact = entmax(logits.astype(jnp.float32), alpha=alpha)
  np.testing.assert_array_equal(probs, exact.astype(dtype))
  np.testing.assert_array_equal(probs[:2].astype(float), [[1, 0, 0], [0.5, 0.5, 0]])


def test_half_precision_gradients():
  gradient = jax.grad(lambda z: entmax(z)[0])(jnp.array([0.5, 0.25, -1e4], jnp.float16))
  assert gradient.dtype == jnp.float16
  exact = jax.grad(lambda z: entmax(z)[0])(jnp.array([0.5, 0.25, -1e4]))
  np.testing.assert_allclose(gradient, exact, rtol=1e-3)


@pytest.mark.parametrize("alpha", [1.001, 1.5, 2.0, 3.0, 30.0])
def test_extreme_logits(alpha):
  largest = np.finfo(np.float32).max
  logits = np.array(
    [[0, 0, 0, 0], [largest, -largest, largest, 0], [1e-30, 0, 0, 1e-30], [-1e30, -1e30, -2e30, 0]],
    np.float32,
  )
  expected = [[0.25] * 4, [0.5, 0, 0.5, 0], [0.25] * 4, [0, 0, 0, 1]]
  np.testing.assert_allclose(entmax(logits, alpha=alpha), expected, atol=1e-6)
  for row in logits:
    assert all(np.all(np.isfinite(derivative)) for derivative in _reverse(row, alpha))


def test_large_alphas_share_among_the_largest_logits():
  probs = entmax(np.array([1.0, 0.999, 1.0, -5.0]), alpha=1000.0)
  np.testing.assert_allclose(probs, [0.5, 0, 0.5, 0], atol=1e-6)


def test_nan_stays_in_its_row():
  probs = entmax(jnp.array([[jnp.nan, 1.0, 2.0], [0.0, 1.0, 2.0]]), alpha=1.3)
  assert np.all(np.isnan(probs[0])) and np.all(np.isfinite(probs[1]))


@pytest.mark.parametrize("alpha", [1.3, 2.0])
def test_a_row_does_not_depend_on_the_others_of_the_batch(alpha):
  slow = np.random.default_rng(2).normal(size=(3, 40)).astype(np.float32) * 0.01
  easy = np.zeros((3, 40), np.float32)
  first = slow[:1]
  together = entmax(np.concatenate([first, slow[1:]]), alpha=alpha)[0]
  np.testing.assert_array_equal(together, entmax(np.concatenate([first, easy[1:]]), alpha=alpha)[0])


def test_eager_jit_and_vmap_agree():
  eager = entmax(LOGITS, alpha=1.7)
  np.testing.assert_allclose(jax.jit(lambda z: entmax(z, alpha=1.7))(LOGITS), eager, atol=2e-7)
  np.testing.assert_allclose(jax.vmap(lambda z: entmax(z, alpha=1.7))(LOGITS), eager, atol=2e-7)


def test_shifts_change_nothing_and_order_is_kept():
  probs = np.asarray(entmax(LOGITS, alpha=1.3))
  np.testing.assert_allclose(entmax(LOGITS + 3, alpha=1.3), probs, atol=2e-6)
  order = np.argsort(LOGITS, -1)
  assert np.all(np.diff(np.take_along_axis(probs, order, -1), axis=-1) >= 0)


@pytest.mark.parametrize("alpha", [0.5, np.nan, np.inf, np.array([1.5, 0.9])])
def test_alphas_out_of_range(alpha):
  with pytest.raises(ValueError, match=r"alpha=.*>= 1\. Pass 1 for softmax"):
    entmax(jnp.zeros((2, 2)), alpha=alpha)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (4, 1), (1, 2, 1)])
def test_alphas_of_wrong_shape(shape):
  with pytest.raises(ValueError, match=r"size 1 along the class axis -1"):
    entmax(jnp.zeros((2, 3)), alpha=jnp.full(shape, 1.5))


def test_a_scalar_has_no_classes():
  with pytest.raises(ValueError, match="pass an array"):
    entmax(1.0)
