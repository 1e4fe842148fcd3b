"""Heads as released: the arithmetic entry by entry, the heads against transcriptions in NumPy."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.released import heads as released
from softmax_research import heads

_PATH = "experiments.released.heads"
_B, _K, _N, _M = 6, 4, 6, 0.6
_RNG = np.random.default_rng(0)
_FEATURES = _RNG.normal(size=(_B, 3))
_PARAMS = {"kernel": _RNG.normal(size=(3, _K)), "bias": _RNG.normal(size=_K)}
_LABELS = np.array([0, 3, 1, 2, 2, 0])


def _series(z, order=_N):
  return np.array(
    [[math.fsum(v**k / math.factorial(k) for k in range(order + 1)) for v in r] for r in z]
  )


def _taylor(z):
  f = _series(z)
  return f / np.reshape(np.tile(f.sum(axis=-1), _K), z.shape)


def _sm(z, terms=np.exp):
  e = terms(z)
  numerator = e / terms(np.full(z.shape, _M))
  return numerator / (numerator + e.sum() - e)


_RELEASED = {
  "taylor": _taylor,
  "sm": _sm,
  "sm_taylor": lambda z: _sm(z, _series),
}


def _keras(p):
  p = np.clip(p, 1e-7, 1 - 1e-7)
  return -np.log(p[np.arange(len(p)), _LABELS] / p.sum(1))


@pytest.mark.parametrize("name", _RELEASED)
def test_losses_and_predictions_are_the_releases(name):
  head = heads.make(f"{_PATH}.{name}", _K)
  with jax.enable_x64(True):
    losses = head.loss(_PARAMS, jnp.asarray(_FEATURES), jnp.asarray(_LABELS))
    many = np.tile(_FEATURES, (6, 1))[:35]
    log_probs = head.log_prob(_PARAMS, jnp.asarray(many))
  z = _FEATURES @ _PARAMS["kernel"] + _PARAMS["bias"]
  np.testing.assert_allclose(losses, _keras(_RELEASED[name](z)), rtol=1e-9)
  first = _RELEASED[name]((many @ _PARAMS["kernel"] + _PARAMS["bias"])[:32])
  np.testing.assert_allclose(log_probs[:32], np.log(first / first.sum(1, keepdims=True)), rtol=1e-9)
  np.testing.assert_allclose(np.exp(log_probs).sum(1), np.ones(35))


def _slopes(z, probs_of):
  """What Keras' mean loss sends back to the probabilities, by central differences."""
  p, slopes = probs_of(z), np.zeros(z.shape)
  for place in np.ndindex(z.shape):
    step = np.zeros(z.shape)
    step[place] = 1e-6 * p[place]
    slopes[place] = (_keras(p + step) - _keras(p - step)).mean() / (2 * step[place])
  return p, slopes


@pytest.mark.parametrize(
  ("specification", "probs_of", "backward"),
  [
    ("sm", _sm, lambda z, p, dy: p * dy - p * (p * dy).sum()),
    ("taylor:gradient=finite", _taylor, lambda z, p, dy: dy * _series(z, _N - 1)),
    ("taylor:gradient=infinite", _taylor, lambda z, p, dy: dy * p),
  ],
)
def test_gradients_are_those_that_the_release_writes_by_hand(specification, probs_of, backward):
  head = heads.make(f"{_PATH}.{specification}", _K)

  def mean_loss(bias):
    # A bias for each example: its gradient is that of the logits.
    features = jnp.concatenate([jnp.asarray(_FEATURES), jnp.eye(_B)], axis=1)
    kernel = jnp.concatenate([jnp.asarray(_PARAMS["kernel"]), bias])
    params = {"kernel": kernel, "bias": jnp.asarray(_PARAMS["bias"])}
    return head.loss(params, features, jnp.asarray(_LABELS)).mean()

  with jax.enable_x64(True):
    gradient = jax.grad(mean_loss)(jnp.zeros((_B, _K)))
  z = _FEATURES @ _PARAMS["kernel"] + _PARAMS["bias"]
  np.testing.assert_allclose(gradient, backward(z, *_slopes(z, probs_of)), rtol=1e-5, atol=1e-9)


def test_without_a_gradient_of_its_own_taylor_is_differentiated():
  head = heads.make(f"{_PATH}.taylor", _K)

  def mean_loss(bias):
    params = _PARAMS | {"bias": bias}
    return head.loss(params, jnp.asarray(_FEATURES), jnp.asarray(_LABELS)).mean()

  with jax.enable_x64(True):
    gradient = jax.grad(mean_loss)(jnp.asarray(_PARAMS["bias"]))
  z = _FEATURES @ _PARAMS["kernel"] + _PARAMS["bias"]
  for k in range(_K):
    step = 1e-5 * np.eye(_K)[k]
    slope = (_keras(_taylor(z + step)) - _keras(_taylor(z - step))).mean() / 2e-5
    np.testing.assert_allclose(gradient[k], slope, rtol=1e-5)


def _agarap(z):
  """The notebooks' losses and the slopes in z of their sum, example by example."""
  losses, slopes = np.zeros(len(z)), np.zeros(z.shape)
  for i, label in enumerate(_LABELS):
    outputs = np.where(z[i] > 0, z[i], 0)
    share = outputs[label] / outputs.sum() if outputs.any() else 0.0
    losses[i] = -np.log(min(max(share, 1e-7), 1 - 1e-7))
    if 1e-7 < share < 1 - 1e-7:
      slopes[i] = (z[i] > 0) * (1 / outputs.sum() - (np.arange(_K) == label) / outputs[label])
  return losses, slopes


def test_relu_is_keras_loss_of_rectified_outputs():
  head = heads.make(f"{_PATH}.relu", _K)
  z = np.random.default_rng(1).normal(size=(_B, _K))
  z[1] = -1.0  # No output at all.
  z[2] = [-1.0, -1.0, 2.0, 0.5]  # None for the label, which is 1.
  z[3] = [-1.0, -1.0, 2.0, -1.0]  # All of it for the label, which is 2.
  z[4] = [1.0, 2.0, 3.0, -4.0]
  params = {"kernel": jnp.eye(_K), "bias": jnp.zeros(_K)}

  def losses(z):
    return head.loss(params, z, jnp.asarray(_LABELS))

  with jax.enable_x64(True):
    computed = losses(jnp.asarray(z))
    gradient = np.asarray(jax.grad(lambda z: losses(z).sum())(jnp.asarray(z)))
    predicted = np.asarray(head.log_prob(params, jnp.asarray(z)))
  expected, slopes = _agarap(z)
  np.testing.assert_allclose(computed, expected, rtol=1e-9)
  np.testing.assert_allclose(gradient, slopes, rtol=1e-9, atol=1e-12)
  assert not gradient[1:4].any() and gradient[4].any()
  np.testing.assert_array_equal(predicted.argmax(1), np.maximum(z, 0).argmax(1))
  np.testing.assert_allclose(np.exp(predicted).sum(1), np.ones(_B))
  np.testing.assert_allclose(np.exp(predicted[4]), [1 / 6, 1 / 3, 1 / 2, 0], atol=1e-6)


def test_a_gradient_that_is_not_the_releases_is_refused():
  with pytest.raises(ValueError, match="'exact'; it must be one of automatic, finite, infinite"):
    heads.make(f"{_PATH}.taylor:gradient=exact", _K)


def _values():
  return np.exp(2 * np.random.default_rng(3).normal(size=(20, 5)))


def test_a_tiled_denominator_is_right_only_where_the_sums_agree():
  values = _values()
  found = released.tiled_denominator(values)
  sums = values.sum(1)
  for i in range(20):
    for j in range(5):
      assert found[i, j] == values[i, j] / sums[(5 * i + j) % 20]
  equal = np.ones((20, 5))
  np.testing.assert_array_equal(released.tiled_denominator(equal).sum(1), 1)


def test_a_sum_over_the_batch_makes_rows_sum_to_little():
  values = _values()
  rows = released.batch_margin(values, np.exp(-0.6) * values).sum(1)
  assert rows.max() < 1 and 0.3 < rows.sum() < 1


def test_jax_computes_the_same():
  values = _values()
  for function in (
    released.tiled_denominator,
    released.keras_probs,
    released.keras_one_hot_probs,
  ):
    computed = function(jnp.asarray(values, jnp.float32))
    np.testing.assert_allclose(computed, function(values), rtol=1e-5)
