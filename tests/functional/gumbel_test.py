"""Gumbel noise: frequencies of the classes, and the relaxation's value and gradient."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from scipy import stats

from softmax_research.functional import gumbel_max, gumbel_softmax, taylor_score
from tests.derivatives import differences

LOGITS = np.array([0.3, -1.2, 0.0, 2.0, -0.4])
KEY = jax.random.key(0)


def test_classes_are_drawn_by_their_probabilities():
  where = np.arange(5) != 2

  @jax.jit
  def draw(key):
    keys = jax.random.split(key, 20_000)
    relaxed = jax.vmap(
      lambda key: gumbel_softmax(key, LOGITS, score=taylor_score, where=where, hard=True)
    )(keys)
    return jax.vmap(lambda key: gumbel_max(key, LOGITS, where=where))(keys), relaxed

  classes, relaxed = jax.device_get(draw(KEY))
  assert classes.dtype == np.int32
  taylor = 1 + LOGITS + LOGITS**2 / 2
  for observed, weights in (
    (np.bincount(classes, minlength=5), np.exp(LOGITS)),
    (np.sum(relaxed, axis=0), taylor),
  ):
    expected = weights * where / np.sum(weights * where)
    assert observed[2] == 0
    assert stats.chisquare(observed[where], 20_000 * expected[where]).pvalue > 0.01


@pytest.mark.parametrize("hard", [False, True])
def test_relaxed_value_and_straight_through_gradient(hard):
  temperature, weights = 0.7, np.array([1.0, -2.0, 0.5, 3.0, -1.0])

  @jax.jit
  def run(key, logits):
    relaxed = functools.partial(gumbel_softmax, key, temperature=temperature, hard=hard)
    value, pull = jax.vjp(relaxed, logits)
    return jax.random.gumbel(key, (5,), mode="high"), value, pull(weights)[0]

  with jax.enable_x64(True):
    noise, value, gradient = jax.device_get(run(KEY, LOGITS))

  def soft(logits):
    weights = np.exp((logits + noise) / temperature)
    return weights / weights.sum()

  expected = soft(LOGITS)
  if hard:
    expected = np.eye(5)[np.argmax(expected)]
  np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-15)
  slopes = differences(lambda z: weights @ soft(z), LOGITS)
  np.testing.assert_allclose(gradient, slopes, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", list(AxisType)[:2])
def test_on_a_mesh_and_along_another_axis(kind):
  mesh = jax.make_mesh((2,), ("batch",), (kind,), devices=jax.devices("cpu")[:2])
  logits = np.tile(np.float32(LOGITS), (4, 1))

  def ours(logits):
    return gumbel_softmax(KEY, logits, hard=True), gumbel_max(KEY, logits)

  *expected, turned = jax.jit(lambda z: (*ours(z), gumbel_softmax(KEY, z.T, axis=0)))(logits)
  with jax.set_mesh(mesh):
    found = jax.jit(ours)(jax.device_put(logits, NamedSharding(mesh, P("batch"))))
  for one, other in zip(found, expected, strict=True):
    np.testing.assert_allclose(one, other, atol=1e-6)
  np.testing.assert_allclose(np.sum(turned, axis=0), 1, rtol=1e-6)


def test_types_and_impossible_classes():
  @jax.jit
  def run(logits):
    value, gradient = jax.value_and_grad(
      lambda z: gumbel_softmax(KEY, z, hard=True).astype(jnp.float32).sum()
    )(logits)
    return value, gradient, gumbel_max(KEY, logits)

  with jax.debug_nans(True), jax.numpy_dtype_promotion("strict"):
    value, gradient, classes = run(np.full((2, 5), -np.inf, jnp.bfloat16))
  assert classes.tolist() == [-1, -1]
  assert value == 0 and not np.any(gradient) and gradient.dtype == jnp.bfloat16
  with pytest.raises(ValueError, match="temperature=0"):
    gumbel_softmax(KEY, LOGITS, temperature=0)


def test_a_draw_among_no_class_is_refused():
  for draw in (gumbel_max, gumbel_softmax, functools.partial(gumbel_softmax, hard=True)):
    with pytest.raises(ValueError, match=r"shape \(0, 2\), without a class along axis 0.*K >= 1"):
      draw(KEY, np.zeros((0, 2)), axis=0)
    assert jax.jit(draw)(KEY, np.zeros((0, 2))).shape[0] == 0
