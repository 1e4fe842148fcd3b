"""Entmax and its loss, from softmax over sparsemax on."""

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from softmax_research import functional
from tests.derivatives import check_derivatives
from tests.programs import program, values_and_gradient

cross_entropy = program(functional.cross_entropy)
entmax = program(functional.entmax)
entmax_loss = program(functional.entmax_loss)
softmax = program(functional.softmax)
sparsemax = program(functional.sparsemax)
sparsemax_loss = program(functional.sparsemax_loss)

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
def test_values_to_the_last_digits_of_entmax(alpha, dtype):
  logits, eps = LOGITS.astype(dtype), np.finfo(dtype).eps
  with jax.enable_x64(dtype == np.float64):
    fixed = np.asarray(jax.jit(lambda z: entmax(z, alpha=alpha))(logits))
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
  for alpha in (np.array(1.0), 1 + 1e-9, np.array(1 + 1e-6)):
    np.testing.assert_allclose(entmax(LOGITS, alpha=alpha), softmax(LOGITS), atol=3e-6)


def test_an_alpha_for_each_example():
  alphas = np.linspace(1, 3, len(LOGITS), dtype=np.float32)
  expected = [np.asarray(_traced(LOGITS, alpha))[row] for row, alpha in enumerate(alphas)]
  np.testing.assert_allclose(_traced(LOGITS, alphas[:, None]), expected, atol=1e-6)
  first_axis = entmax(LOGITS.T, alpha=alphas, axis=0)
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
    fixed = jax.jit(jax.jacrev(lambda z: entmax(z, alpha=alpha)))(logits)
    np.testing.assert_allclose(fixed, in_logits, atol=1e-14)
  np.testing.assert_allclose(_forward(np.float32(logits), alpha)[1], in_alpha, atol=2e-6)


def test_first_and_second_derivatives_of_entmax():
  logits = np.array([[0.3, -0.2, 0.5, -9.0], [0.1, 0.8, -7.0, 0.6]])
  arguments = (logits, np.array([[1.2], [2.5]]))
  check_derivatives(_traced, *arguments)


@pytest.mark.parametrize("alpha", [1.3, 1.5, 2.0])
def test_derivatives_for_a_number_and_for_an_array_agree(alpha):
  logits = np.array([0.3, -0.2, 0.5, -3.0])
  with jax.enable_x64(True):
    fixed = jax.jit(jax.jacfwd(jax.jacrev(lambda z: entmax(z, alpha=alpha))))(logits)
    np.testing.assert_allclose(fixed, _second(logits, alpha), atol=1e-13)


_quartic = jax.jit(lambda z: (entmax(z, alpha=4.0), jax.jacrev(lambda z: entmax(z, alpha=4.0))(z)))


@pytest.mark.parametrize("gap", [1e-2, 1e-3, 1e-5])
def test_a_class_at_the_edge_keeps_its_digits(gap):
  # Beyond alpha = 2 its probability changes by a thousandth between neighbouring floats of the
  # threshold, and its weight p^(2 - alpha) in the Jacobian is up to 1e9 times the others'.
  logits = np.array([0.0, gap / 3 - 1 / 3, -2.0], np.float32)
  probs, jacobian = _quartic(logits)
  with mpmath.workdps(40):
    p = _mp_entmax(logits, 4)
  expected = float(1 / (p[0] ** 2 + p[1] ** 2)) * np.array([[1, -1, 0], [-1, 1, 0], [0, 0, 0]])
  np.testing.assert_allclose(probs, [float(x) for x in p], atol=3e-7)
  # On processors without fused multiply-adds, as the tests' programs are compiled on JAX 0.10, one
  # entry has the threshold's rounding.
  np.testing.assert_allclose(jacobian, expected, rtol=1e-6 if gap > 1e-4 else 1e-3)


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
    probs, gradient, in_alpha = jax.device_get(probs_and_gradients(logits, where, value))
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
def test_one_class_and_no_examples_of_entmax(alpha):
  @jax.jit
  def probs_and_gradient(z):
    return jax.value_and_grad(lambda z: jnp.sum(entmax(z, alpha=alpha)))(z)

  probs, gradient = jax.device_get(probs_and_gradient(np.array([[3.0], [-7.0]])))
  assert probs == 2 and not np.any(gradient)
  for shape in ((0, 3), (2, 0)):
    assert jax.eval_shape(lambda z: entmax(z, alpha=alpha), np.zeros(shape)).shape == shape
  assert entmax(np.zeros((0, 3)), alpha=alpha).shape == (0, 3)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
@pytest.mark.parametrize("alpha", [1.3, 1.5])
def test_half_precision_of_entmax(alpha, dtype):
  logits = np.array([[1e4, 9.9e3, -1e4], [1e4, 1e4, 0], [0.5, 0.25, -0.125]], dtype)
  run = jax.jit(lambda *given: [entmax(z, alpha=alpha) for z in given])
  probs, exact = jax.device_get(run(logits, logits.astype(np.float32)))
  assert probs.dtype == dtype
  np.testing.assert_array_equal(probs, exact.astype(dtype))
  np.testing.assert_array_equal(probs[:2].astype(float), [[1, 0, 0], [0.5, 0.5, 0]])


def test_half_precision_gradients():
  run = jax.jit(jax.grad(lambda z: entmax(z)[0]))
  gradient, exact = (run(np.array([0.5, 0.25, -1e4], dtype)) for dtype in ("f2", "f4"))
  assert gradient.dtype == jnp.float16
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
  probs = np.asarray(entmax(np.array([[np.nan, 1.0, 2.0], [0.0, 1.0, 2.0]]), alpha=1.3))
  assert np.all(np.isnan(probs[0])) and np.all(np.isfinite(probs[1]))


@pytest.mark.parametrize("alpha", [1.3, 2.0])
def test_a_row_does_not_depend_on_the_others_of_the_batch(alpha):
  slow = np.random.default_rng(2).normal(size=(3, 40)).astype(np.float32) * 0.01
  easy = np.zeros((3, 40), np.float32)
  batches = (np.concatenate([slow[:1], others[1:]]) for others in (slow, easy))
  one, other = (np.asarray(entmax(batch, alpha=alpha))[0] for batch in batches)
  np.testing.assert_array_equal(one, other)


def test_shifts_change_nothing_and_order_is_kept():
  probs = np.asarray(entmax(LOGITS, alpha=1.3))
  np.testing.assert_allclose(entmax(LOGITS + 3, alpha=1.3), probs, atol=2e-6)
  order = np.argsort(LOGITS, -1)
  assert np.all(np.diff(np.take_along_axis(probs, order, -1), axis=-1) >= 0)


@pytest.mark.parametrize("alpha", [0.5, np.nan, np.inf, np.array([1.5, 0.9])])
def test_alphas_out_of_range(alpha):
  with pytest.raises(ValueError, match=r"alpha=.*>= 1\. Pass 1 for softmax"):
    functional.entmax(np.zeros((2, 2)), alpha=alpha)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (4, 1), (1, 2, 1)])
def test_alphas_of_wrong_shape(shape):
  with pytest.raises(ValueError, match=r"size 1 along the class axis -1"):
    entmax(np.zeros((2, 3)), alpha=np.full(shape, 1.5))


def test_a_scalar_has_no_classes():
  with pytest.raises(ValueError, match="pass an array"):
    entmax(1.0)


LOSS_LOGITS = np.array([[0.3, -0.2, 0.5, -3.0], [2.0, 0.1, -1.0, 0.0], [0.1, 0.2, 0.3, 0.4]])
LOSS_LABELS = np.array([1, 3, 3])
SOFT = np.array([[0.1, 0.2, 0.7, 0.0], [0.0, 1.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]])
LOSS_ALPHAS = [1.0, 1.01, 1.3, 1.5, 2.0, 3.0]

# Compiled once for all alphas.
_loss_traced = jax.jit(lambda z, labels, a: entmax_loss(z, labels, alpha=a))
_gradients = jax.jit(
  jax.grad(lambda z, labels, a: jnp.sum(_loss_traced(z, labels, a)), argnums=(0, 2))
)


def _entropy(probs, alpha):
  probs = probs[probs > 0]
  if alpha == 1:
    return -np.sum(probs * np.log(probs))
  return np.sum(probs - probs**alpha) / (alpha * (alpha - 1))


def _probs(logits, alpha):
  """Return the probabilities of a row from a bisection in float64."""
  if alpha == 1:
    return np.exp(logits) / np.exp(logits).sum()
  low, high = (alpha - 1) * logits.max() - 1, (alpha - 1) * logits.max()
  for _ in range(100):
    middle = (low + high) / 2
    probs = np.maximum((alpha - 1) * logits - middle, 0) ** (1 / (alpha - 1))
    low, high = (middle, high) if probs.sum() > 1 else (low, middle)
  return probs


def _loss_oracle(logits, weights, alpha):
  """Return the definition's value."""
  probs = _probs(logits, alpha)
  return (probs - weights) @ logits + _entropy(probs, alpha) - _entropy(weights, alpha)


@pytest.mark.parametrize("alpha", LOSS_ALPHAS)
@pytest.mark.parametrize("soft", [False, True])
def test_values_and_gradients(alpha, soft):
  labels, weights = (SOFT, SOFT) if soft else (LOSS_LABELS, np.eye(4)[LOSS_LABELS])
  expected = [_loss_oracle(z, q, alpha) for z, q in zip(LOSS_LOGITS, weights, strict=True)]
  slopes = [_probs(z, alpha) - q for z, q in zip(LOSS_LOGITS, weights, strict=True)]
  with jax.enable_x64(True):
    given = LOSS_LOGITS, labels, alpha
    found = [(_loss_traced(*given), _gradients(*given)[0])]
    if alpha in (1.3, 1.5, 2.0):
      fixed = functools.partial(entmax_loss, labels=labels, alpha=alpha)
      found.append(values_and_gradient(fixed, LOSS_LOGITS))
  for loss, gradient in found:
    np.testing.assert_allclose(loss, expected, atol=1e-13)
    np.testing.assert_allclose(gradient, slopes, atol=1e-12)
  in_float32 = _loss_traced(np.float32(LOSS_LOGITS), np.float32(labels) if soft else labels, alpha)
  np.testing.assert_allclose(in_float32, expected, atol=1e-6)


def test_any_axis():
  for labels in (LOSS_LABELS, SOFT):
    loss = entmax_loss(LOSS_LOGITS.T, labels.T, axis=0)
    np.testing.assert_allclose(loss, entmax_loss(LOSS_LOGITS, labels), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("alpha", [1.0, 1.01, 1.5, 2.0, 3.0])
def test_the_gradient_in_alpha_against_mpmath(alpha):
  # The loss is a maximum over p, so only the entropies at fixed p and q change with alpha.
  probs = _probs(LOSS_LOGITS[0], alpha)
  with jax.enable_x64(True):
    ours = _gradients(LOSS_LOGITS[:1], SOFT[:1], alpha)[1]
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
  in_float32 = _gradients(np.float32(LOSS_LOGITS[:1]), np.float32(SOFT[:1]), np.float32(alpha))[1]
  np.testing.assert_allclose(in_float32, expected, atol=1e-6)


def test_first_and_second_derivatives_of_entmax_loss():
  function = jax.jit(lambda z, a: entmax_loss(z, SOFT, alpha=a))
  arguments = (LOSS_LOGITS, np.array([[1.2], [1.5], [2.5]]))
  check_derivatives(function, *arguments)


def test_the_gradient_in_labels():
  # Minus the logits and the slope of the entropy, up to a constant: labels sum to one.
  with jax.enable_x64(True):
    gradient = np.asarray(
      jax.jit(jax.grad(lambda q: jnp.sum(entmax_loss(LOSS_LOGITS, q, alpha=1.5))))(SOFT)
    )
  expected = -LOSS_LOGITS + (1.5 * SOFT**0.5 - 1) / (1.5 * 0.5)
  known = SOFT > 0
  difference = np.where(known, gradient - expected, np.nan)
  spread = np.nanmax(difference, -1) - np.nanmin(difference, -1)
  np.testing.assert_allclose(spread, np.zeros(3), atol=1e-12)


@pytest.mark.parametrize("alpha", [1.3, 1.5, 2.0])
def test_the_hessian_is_the_jacobian_of_entmax(alpha):
  with jax.enable_x64(True):
    hessian = jax.jit(jax.hessian(lambda z: entmax_loss(z, 1, alpha=alpha)))(LOSS_LOGITS[0])
  probs = _probs(LOSS_LOGITS[0], alpha)
  weights = np.where(probs > 0, probs ** (2 - alpha), 0)
  jacobian = np.diag(weights) - np.outer(weights, weights) / weights.sum()
  np.testing.assert_allclose(hessian, jacobian, atol=1e-14)


@pytest.mark.parametrize("alpha", [1.25, 1.5, 1.7, 2.0, 3.0])
def test_the_loss_is_exactly_zero_from_the_margin_on(alpha):
  margin = 1 / (alpha - 1)
  leads = np.array([margin * 1.001, margin + 1e4, margin * 0.9])
  logits = np.stack([leads, np.zeros(3), np.full(3, -0.1), np.full(3, -9.0)], -1)
  labels = np.zeros(3, int)
  loss = entmax_loss(logits, labels, alpha=alpha)
  np.testing.assert_array_equal(loss == 0, [True, True, False])
  np.testing.assert_array_equal(_loss_traced(logits, labels, alpha) == 0, [True, True, False])
  gradient, _ = _gradients(logits, labels, alpha)
  np.testing.assert_array_equal(np.any(gradient, -1), [False, False, True])


def test_alpha_one_is_cross_entropy():
  expected = cross_entropy(LOSS_LOGITS, LOSS_LABELS)
  np.testing.assert_allclose(entmax_loss(LOSS_LOGITS, LOSS_LABELS, alpha=1), expected, atol=1e-6)
  np.testing.assert_allclose(_loss_traced(LOSS_LOGITS, LOSS_LABELS, 1.0), expected, atol=1e-6)


@pytest.mark.parametrize("alpha", [1.5, 1.8, 2.0])
def test_small_losses_keep_their_digits(alpha):
  logits = np.array([[1 / (alpha - 1) - 1e-2, 0.0, -5.0, -5.0]] * 3)
  expected = _loss_oracle(logits[0], np.eye(4)[0], alpha)
  assert 0 < expected < 1e-4
  loss = _loss_traced(np.float32(logits), np.zeros(3, int), alpha)
  np.testing.assert_allclose(loss, [expected] * 3, atol=6e-8)


def test_labels_out_of_range_give_nan():
  for dtype in (np.int32, np.uint8):
    labels = np.array([0, 4, 200]).astype(dtype)
    np.testing.assert_array_equal(np.isnan(entmax_loss(LOSS_LOGITS, labels)), [False, True, True])
  assert np.isnan(entmax_loss(LOSS_LOGITS[0], -1))


@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.0])
def test_impossible_classes(alpha):
  logits = np.where([True, True, False, True], LOSS_LOGITS, -np.inf)
  logits[2] = -np.inf
  where = np.array([True, True, True, False])
  labels = np.array([1, 2, 0])

  soft = np.array([[0.5, 0.5, 0, 0], [0.5, 0, 0.5, 0], [0, 0, 0, 0]])

  @jax.jit
  def run(z):
    def losses(labels, counts):
      values, pull_back = jax.vjp(lambda z: entmax_loss(z, labels, alpha=alpha, where=where), z)
      return values, pull_back(jnp.asarray(counts, values.dtype))[0]

    alone = entmax_loss(LOSS_LOGITS[0, :2], 1, alpha=alpha)
    probs = entmax(z, alpha=alpha, where=where)
    return losses(labels, [1, 1, 1]), losses(soft, [1, 0, 1]), alone, probs

  (loss, gradient), (soft_loss, soft_gradient), alone, probs = jax.device_get(run(logits))
  np.testing.assert_allclose(loss[0], alone, rtol=1e-6)
  np.testing.assert_array_equal(loss[1:], [np.inf, np.inf])
  possible = np.array([[True, True, False, False]] * 2 + [[False] * 4])
  np.testing.assert_allclose(gradient, np.where(possible, probs - np.eye(4)[labels], 0), atol=1e-6)
  assert np.isfinite(soft_loss).tolist() == [True, False, True] and soft_loss[1] == np.inf
  assert np.all(np.isfinite(soft_gradient))


def test_one_class_and_no_examples_of_entmax_loss():
  np.testing.assert_array_equal(entmax_loss(np.ones((2, 1)), np.zeros(2, int)), [0, 0])
  assert entmax_loss(np.zeros((0, 3)), np.zeros(0, int)).shape == (0,)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
@pytest.mark.parametrize("alpha", [1.3, 1.5, 2.0])
def test_half_precision_of_entmax_loss(alpha, dtype):
  logits = np.array([[1e4, -1e4, 0, 5], [0.5, 0.25, -0.125, 0], [0, 0, 0, 0]], dtype)
  loss = _loss_traced(logits, np.array([2, 0, 1]), alpha)
  assert loss.dtype == dtype
  exact = np.asarray(_loss_traced(logits.astype(np.float32), np.array([2, 0, 1]), alpha))
  np.testing.assert_array_equal(loss, exact.astype(dtype))
  assert exact[0] == logits[0, 0]


def test_bad_arguments():
  with pytest.raises(ValueError, match="alpha=0"):
    entmax_loss(LOSS_LOGITS, LOSS_LABELS, alpha=0)
  with pytest.raises(ValueError, match="size 1 along the class axis"):
    entmax_loss(LOSS_LOGITS, LOSS_LABELS, alpha=np.ones(4))
  with pytest.raises(ValueError, match="integer labels of shape"):
    entmax_loss(LOSS_LOGITS, LOSS_LABELS[:2])
  with pytest.raises(TypeError, match="bool"):
    entmax_loss(LOSS_LOGITS, LOSS_LABELS > 1)


SCALES = np.array([[1e-3, 0.1, 0.5, 1, 3, 30]]).T
SPARSE_LOGITS = np.random.default_rng(0).normal(size=(6, 40)) * SCALES
SPARSE_LABELS = np.array([3, 0, 39, 7, 7, 20])


def _sparsemax(logits):
  """Return probabilities and threshold in float64: the sort of Martins and Astudillo."""
  logits = logits.astype(np.float64)
  descending = np.sort(logits, -1)[..., ::-1]
  sums = np.cumsum(descending, -1)
  n = np.arange(1, logits.shape[-1] + 1)
  size = np.sum(1 + n * descending > sums, -1, keepdims=True)
  threshold = (np.take_along_axis(sums, size - 1, -1) - 1) / size
  return np.maximum(logits - threshold, 0), threshold


def _loss(logits, labels):
  """Return equation 16 of Martins and Astudillo."""
  probs, threshold = _sparsemax(logits)
  squares = np.where(probs > 0, logits**2 - threshold**2, 0).sum(-1)
  return -np.take_along_axis(logits, labels[:, None], -1)[:, 0] + squares / 2 + 0.5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_to_the_last_digits_of_sparsemax(dtype):
  logits, eps = SPARSE_LOGITS.astype(dtype), np.finfo(dtype).eps
  with jax.enable_x64(dtype == np.float64):
    run = jax.jit(lambda z: (sparsemax(z), sparsemax_loss(z, SPARSE_LABELS)))
    probs, loss = jax.device_get(run(logits))
  assert probs.dtype == loss.dtype == dtype
  # The oracle's own rounding, of logits up to 100, is what float64 is judged by.
  np.testing.assert_allclose(probs, _sparsemax(logits)[0], atol=max(4 * eps, 1e-14))
  np.testing.assert_allclose(np.sum(probs, -1, dtype=np.float64), 1, atol=4 * eps)
  np.testing.assert_allclose(
    loss, _loss(logits.astype(np.float64), SPARSE_LABELS), rtol=4 * eps, atol=1e-12
  )


def test_the_support_is_exact_but_for_ties_with_the_threshold():
  logits = np.random.default_rng(1).integers(-8, 8, size=(50, 30)) / 16
  probs, lead = np.asarray(sparsemax(logits)), logits - _sparsemax(logits)[1]
  np.testing.assert_array_equal((probs > 0)[abs(lead) > 1e-6], (lead > 0)[abs(lead) > 1e-6])
  assert np.any(abs(lead) < 1e-6) and np.all(probs[abs(lead) < 1e-6] < 1e-6)


def test_many_classes():
  logits = np.random.default_rng(2).normal(size=(2, 50_000)).astype(np.float32) * [[0.01], [1]]
  logits = logits.astype(np.float32)
  np.testing.assert_allclose(sparsemax(logits), _sparsemax(logits)[0], atol=3e-7)


def test_gradients_against_torch_through_a_sort():
  torch = pytest.importorskip("torch")
  weights = np.random.default_rng(3).normal(size=SPARSE_LOGITS.shape)

  def peer(z):
    descending, _ = torch.sort(z, dim=-1, descending=True)
    sums, n = torch.cumsum(descending, -1), torch.arange(1, z.shape[-1] + 1)
    size = (1 + n * descending > sums).sum(-1, keepdim=True)
    return torch.clamp(z - (sums.gather(-1, size - 1) - 1) / size, min=0)

  z = torch.tensor(SPARSE_LOGITS, requires_grad=True)
  probs = peer(z)
  label_logits = z.gather(-1, torch.tensor(SPARSE_LABELS)[:, None])[:, 0]
  losses = (probs * z).sum(-1) + (1 - (probs**2).sum(-1)) / 2 - label_logits
  (probs_gradient,) = torch.autograd.grad(
    (probs * torch.tensor(weights)).sum(), z, retain_graph=True
  )
  (loss_gradient,) = torch.autograd.grad(peer_sum := losses.sum(), z)
  with jax.enable_x64(True):
    ours = jax.jit(jax.grad(lambda z: jnp.sum(sparsemax(z) * weights)))(SPARSE_LOGITS)
    np.testing.assert_allclose(ours, probs_gradient, atol=1e-13)
    loss, ours = jax.jit(jax.value_and_grad(lambda z: jnp.sum(sparsemax_loss(z, SPARSE_LABELS))))(
      SPARSE_LOGITS
    )
    np.testing.assert_allclose(ours, loss_gradient, atol=1e-13)
    np.testing.assert_allclose(loss, peer_sum.item(), rtol=1e-13)


def test_the_hessian_of_the_loss_is_the_jacobian():
  logits = np.array([0.3, 0.0, 0.5, -9.0])
  support = np.array([True, True, True, False])
  expected = np.diag(support) - np.outer(support, support) / 3
  with jax.enable_x64(True):
    hessian = jax.jit(jax.hessian(lambda z: sparsemax_loss(z, 1)))(logits)
    np.testing.assert_allclose(hessian, expected, atol=1e-15)
    jacobians = jax.jit(lambda z: [of(sparsemax)(z) for of in (jax.jacfwd, jax.jacrev)])(logits)
  for jacobian in jacobians:
    np.testing.assert_allclose(jacobian, expected, atol=1e-15)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
  hnp.arrays(np.float32, (4, 7), elements=st.floats(-(2.0**14), 2.0**14, width=16)),
  st.integers(0, 6),
)
def test_properties_of_any_logits(logits, label):
  probs = np.asarray(sparsemax(logits))
  np.testing.assert_allclose(probs, _sparsemax(logits)[0], atol=1e-6)
  np.testing.assert_allclose(probs.sum(-1, dtype=np.float64), 1, atol=1e-6)
  # Ties share; a class that leads by 1 takes all; the loss is zero exactly there.
  rivals = np.delete(logits, label, -1).max(-1)
  loss = np.asarray(sparsemax_loss(logits, np.full(4, label)))
  np.testing.assert_array_equal(loss == 0, logits[:, label] >= rivals + 1)
  np.testing.assert_array_equal(probs[:, label] == 1, logits[:, label] >= rivals + 1)
  assert np.all(loss >= 0)


def test_masks_axes_and_rows_without_any_class():
  logits = np.array([[0.3, 9.0, 0.5], [0.1, 0.2, 0.3]])
  where = np.array([[True, False, True], [False, False, False]])
  probs = sparsemax(logits, where=where)
  np.testing.assert_allclose(probs, [[0.4, 0, 0.6], [0, 0, 0]], atol=1e-7)
  by_column = np.asarray(sparsemax(logits.T, where=where.T, axis=0))
  np.testing.assert_array_equal(by_column.T, probs)
  np.testing.assert_allclose(
    sparsemax_loss(logits.T, np.array([2, 0]), where=where.T, axis=0),
    [_loss(np.array([[0.3, 0.5]]), np.array([1]))[0], np.inf],
    rtol=1e-6,
  )
