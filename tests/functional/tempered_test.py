"""Tempered softmax and the bi-tempered loss, against bisection in mpmath and against limits."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from softmax_research.functional import (
  bi_tempered_loss,
  cross_entropy,
  entmax,
  softmax,
  tempered_softmax,
)
from tests.derivatives import check_derivatives
from tests.programs import program

_LOGITS = np.array([[0.3, -1.2, 2.1, 0.9, -4.0], [1.7, 1.6, -0.4, -2.2, 0.0]])


def _exact(row, t):
  """Tempered softmax of a row for t > 1."""
  t, row = mpmath.mpf(t), [mpmath.mpf(float(z)) for z in row]
  low, high = max(row), max(row) + (mpmath.mpf(len(row)) ** (t - 1) - 1) / (t - 1)

  def probs(shift):
    return [(1 + (1 - t) * (z - shift)) ** (1 / (1 - t)) for z in row]

  for _ in range(140):
    middle = (low + high) / 2
    low, high = (middle, high) if sum(probs(middle)) > 1 else (low, middle)
  return [float(p) for p in probs(low)]


@pytest.mark.parametrize("t", [1.001, 1.2, 2.0, 4.0])
def test_heavy_tails_to_the_last_digits(t):
  # Many classes, gaps of many sizes, and one class far below the others.
  rows = np.random.default_rng(0).normal(size=(3, 40)) * np.array([[0.01], [3.0], [500.0]])
  rows = rows.astype(np.float32)
  with mpmath.workdps(30):
    expected = np.array([_exact(row, float(t)) for row in rows])
  run = jax.jit(lambda z: tempered_softmax(z, t=t))
  np.testing.assert_allclose(run(rows), expected, rtol=1e-4 if t < 1.1 else 1e-5, atol=1e-37)
  with jax.enable_x64(True):
    found = run(rows.astype(np.float64))
  np.testing.assert_allclose(found, expected, rtol=1e-10 if t < 1.1 else 1e-13, atol=1e-300)


def test_second_derivatives_where_a_class_is_far_below():
  # Its probability is 1e-24, of which float32 does not hold the inverse of the square.
  found = jax.jit(jax.hessian(lambda z: tempered_softmax(z, t=1.5)))(np.array([0.0, -1e12]))
  np.testing.assert_allclose(found, 0, atol=1e-6)


def test_limits():
  labels = np.array([2, 3])

  @jax.jit
  def run(logits):
    probs = softmax(logits), entmax(logits)
    tempered = [tempered_softmax(logits, t=t) for t in (1, 1 + 1e-7, 0.5)]
    temperatures = (1, 1), (1.0, 1.0), (1 - 1e-7, 1 + 1e-7)
    losses = [bi_tempered_loss(logits, labels, t1=t1, t2=t2) for t1, t2 in temperatures]
    return probs, tempered, losses, cross_entropy(logits, labels)

  with jax.enable_x64(True):
    (plain, sparse), (same, near, half), (*losses, close), expected = run(_LOGITS)
  np.testing.assert_array_equal(same, plain)
  np.testing.assert_allclose(near, plain, rtol=1e-5)
  np.testing.assert_allclose(half, sparse, rtol=1e-14)
  for loss in losses:
    np.testing.assert_allclose(loss, expected, rtol=1e-13)
  np.testing.assert_allclose(close, expected, rtol=1e-5)


def test_the_loss_is_bounded_and_its_gradient_that_of_the_formula():
  logits, labels = np.array([[1e4, 0.0, -5.0], [0.5, 1.0, -2.0]], np.float32), np.array([1, 0])
  losses, gradient = jax.jit(
    jax.vmap(jax.value_and_grad(lambda z, y: bi_tempered_loss(z, y, t1=0.2, t2=1.5)))
  )(logits, labels)
  assert losses[0] <= 1 / 0.8
  # sum_k (p_k - q_k) p_k^(t2 - t1) in the direction of the tempered softmax's tangent space.
  probs = np.float64(program(tempered_softmax)(logits, t=1.5))
  pull = (probs - np.eye(3)[labels]) * probs ** (1.5 - 0.2)
  escort = probs**1.5 / (probs**1.5).sum(-1, keepdims=True)
  np.testing.assert_allclose(gradient, pull - escort * pull.sum(-1, keepdims=True), atol=1e-6)


def test_a_label_without_probability_has_a_finite_loss_below_one():
  logits = np.array([9.0, 0.0])  # So far apart that t2 < 1 leaves the second class nothing.
  run = jax.jit(jax.value_and_grad(lambda z: bi_tempered_loss(z, 1, t1=0.5, t2=0.5)))
  loss, gradient = run(logits)
  np.testing.assert_allclose(loss, 2.0, rtol=1e-6)  # 1 / (1 - t1)
  np.testing.assert_array_equal(gradient, 0)


def test_temperatures_may_be_arrays_of_one_known_number():
  @jax.jit
  def run(logits):
    return [
      (
        tempered_softmax(logits, t=make(1.25)),
        bi_tempered_loss(logits, np.array([0, 2]), t1=make(0.5), t2=make(1.25)),
      )
      for make in (float, np.float64, np.array, lambda t: known[t])
    ]

  known = {t: jnp.float32(t) for t in (0.5, 1.25)}
  expected, *found = run(_LOGITS)
  for pair in found:
    for one, other in zip(pair, expected, strict=True):
      np.testing.assert_allclose(one, other, rtol=1e-6)


def test_distributions_as_labels():
  labels = np.array([[0.2, 0.0, 0.8, 0.0, 0.0], [0.1, 0.2, 0.3, 0.4, 0.0]])
  options = {"t1": 0.6, "t2": 1.4}

  @jax.jit
  def run(logits):
    probs = tempered_softmax(logits, t=1.4)
    own = bi_tempered_loss(logits, probs, **options)
    return bi_tempered_loss(logits, labels, **options), own, probs

  with jax.enable_x64(True):
    loss, own, probs = jax.device_get(run(_LOGITS))
  log = lambda x: (x**0.4 - 1) / 0.4  # noqa: E731
  expected = labels * (log(labels) - log(probs)) - (labels**1.4 - probs**1.4) / 1.4
  np.testing.assert_allclose(loss, expected.sum(-1), rtol=1e-12)
  np.testing.assert_allclose(own, 0, atol=1e-14)
  check_derivatives(lambda z: bi_tempered_loss(z, labels, t1=0.6, t2=1.4), _LOGITS)


@pytest.mark.parametrize(
  "options, message", [({"t1": 1.2}, "t1=1.2; it must lie in"), ({"t2": -1}, "t2=-1; .*>= 0")]
)
def test_bad_temperatures(options, message):
  with pytest.raises(ValueError, match=message):
    bi_tempered_loss(_LOGITS, [0, 0], **options)
