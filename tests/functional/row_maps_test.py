"""Row maps: what is special about each; their values are among the contracts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softmax_research.functional import (
  cross_entropy,
  ev_softmax,
  keep_above_mean,
  keep_above_quantile,
  log_softmax,
  logit_norm,
  r_softmax,
)
from tests.derivatives import check_derivatives

_ROWS = np.random.default_rng(0).normal(size=(20, 21)).astype(np.float32)


def test_logits_of_one_norm():
  halved = jax.jit(functools.partial(logit_norm, temperature=0.5))
  scaled = halved(3 * _ROWS)
  np.testing.assert_allclose(np.linalg.norm(scaled, axis=-1), 2, rtol=1e-6)
  np.testing.assert_allclose(scaled, halved(_ROWS), rtol=1e-6)
  slope_of = jax.jit(jax.value_and_grad(lambda z: cross_entropy(logit_norm(z), 0)))
  value, slope = slope_of(np.zeros(4, np.float32))
  np.testing.assert_allclose(value, np.log(4), rtol=1e-6)
  assert np.isfinite(slope).all()
  whole = jax.jit(functools.partial(logit_norm, temperature=1))
  gone = whole(np.array([3.0, -np.inf, 4.0]))
  np.testing.assert_allclose(gone, [0.6, -np.inf, 0.8], rtol=1e-6)
  masked = whole(np.array([3.0, 9.0, 4.0]), where=np.array([True, False, True]))
  np.testing.assert_array_equal(masked, gone)


def test_an_impossible_class_has_no_part_in_derivatives_in_a_scale():
  def losses(logits, temperature):
    normed = cross_entropy(logit_norm(logits, temperature=temperature), 0)
    return jnp.stack([normed, log_softmax(logits, temperature=temperature)[0]])

  @jax.jit
  def derivatives(logits):
    arguments = logits, jnp.asarray(0.05)
    slopes = jax.jvp(losses, arguments, (jnp.ones_like(logits), jnp.ones(())))[1]
    return slopes, jax.jacrev(losses, argnums=(0, 1))(*arguments)

  slopes, (of_logits, of_temperature) = derivatives(np.float32([3, -np.inf, 4, -1]))
  expected = derivatives(np.float32([3, 4, -1]))
  of_logits = np.asarray(of_logits)
  np.testing.assert_array_equal(of_logits[:, 1], 0)
  found = slopes, (np.delete(of_logits, 1, axis=1), of_temperature)
  jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), found, expected)


@pytest.mark.parametrize("rate", [0.0, 0.25, 0.5, 0.9])
def test_the_share_of_classes_without_probability_is_the_rate(rate):
  run = jax.jit(functools.partial(r_softmax, rate=rate))
  probs = np.asarray(run(_ROWS))
  np.testing.assert_array_equal((probs == 0).sum(-1), np.floor(20 * rate + 1e-6) + 1)
  gone = np.where(np.arange(21) < 11, _ROWS, np.float32(-np.inf))
  probs = np.asarray(run(gone))[:, :11]
  np.testing.assert_array_equal((probs == 0).sum(-1), np.floor(10 * rate + 1e-6) + 1)


def test_equal_logits_stay_all():
  rows = np.full((2, 5), 0.1, np.float32)  # The rounded mean of these may exceed them.
  run = jax.jit(lambda z: (ev_softmax(z), r_softmax(z, rate=0.3), r_softmax(z[:, :1])))
  for probs in run(rows):
    np.testing.assert_allclose(probs, 1 / probs.shape[-1])


@pytest.mark.parametrize("keep", [keep_above_mean, keep_above_quantile])
def test_an_epsilon_teaches_a_label_that_is_left_out(keep):
  logits = np.float32([-2, 0.5, 3])
  kept = np.asarray(jax.jit(keep)(logits))
  assert kept[0] == -np.inf
  slope_of = jax.jit(jax.value_and_grad(lambda z: cross_entropy(keep(z, epsilon=1e-6), 0)))
  loss, slope = slope_of(logits)
  assert 10 < loss < 30 and slope[0] < -0.9


def test_large_values_and_neighbours_are_told_apart():
  rows = np.array([[1e30, -1e30, 1.0, 0.0], [1.0, 1 + 2**-23, 1 + 2**-22, 1 + 2**-21]], np.float32)
  probs = np.asarray(jax.jit(functools.partial(r_softmax, rate=0.5))(rows))
  np.testing.assert_allclose(probs[0], [1, 0, 0, 0])
  # Half way between the second and the third: weights of 0.5 and 2.5 units.
  np.testing.assert_allclose(probs[1], [0, 0, 1 / 6, 5 / 6], rtol=1e-6)


def test_derivatives_of_an_interpolated_quantile():
  check_derivatives(
    lambda z: log_softmax(keep_above_quantile(z, rate=0.4, epsilon=0.1)), _ROWS[0, :6]
  )


@pytest.mark.parametrize(
  "call, message",
  [
    (lambda: logit_norm(_ROWS, temperature=0), "temperature=0"),
    (lambda: logit_norm(_ROWS, temperature=np.ones(len(_ROWS))), "temperature of shape"),
    (lambda: r_softmax(_ROWS, rate=1.0), "rate=1.0"),
    (lambda: keep_above_mean(_ROWS, epsilon=-1), "epsilon=-1"),
  ],
)
def test_bad_options(call, message):
  with pytest.raises(ValueError, match=message):
    call()
