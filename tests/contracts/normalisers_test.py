"""The contract of every function from logits to probabilities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jax.test_util import check_grads

from softmax_research import functional
from tests.contracts.members import NORMALISERS

_ALL = pytest.mark.parametrize("name", sorted(NORMALISERS))

# Unequal gaps, both signs, and one class far below the others.
_LOGITS = np.array([[0.3, -1.2, 2.1, 0.9, -4.0], [1.7, 1.6, -0.4, -2.2, 0.0]])


@_ALL
def test_equals_the_oracle_in_float64(name):
  member = NORMALISERS[name]
  with jax.enable_x64(True):
    probs = member.probs(_LOGITS)
    assert probs.dtype == jnp.float64
  np.testing.assert_allclose(probs, member.oracle(_LOGITS), rtol=1e-12, atol=1e-14)


@_ALL
@settings(max_examples=20, deadline=None)
@given(
  # Few shapes, because each compiles anew; any values.
  logits=st.sampled_from([(1,), (7,), (2, 3, 5)]).flatmap(
    lambda shape: hnp.arrays(np.float32, shape, elements=st.floats(-30, 30, width=32))
  )
)
def test_sums_to_one_and_equals_the_oracle_anywhere(name, logits):
  member = NORMALISERS[name]
  probs = np.asarray(member.probs(logits))
  assert probs.shape == logits.shape and probs.dtype == np.float32
  assert np.all(probs >= 0)
  np.testing.assert_allclose(probs.sum(-1), 1, atol=3e-6)
  np.testing.assert_allclose(probs, member.oracle(logits.astype(np.float64)), atol=2e-5)


@_ALL
def test_gradient_equals_differences_of_the_oracle(name):
  member = NORMALISERS[name]
  weights = np.random.default_rng(0).normal(size=_LOGITS.shape)
  with jax.enable_x64(True):
    gradient = jax.grad(lambda z: jnp.sum(weights * member.probs(z)))(jnp.asarray(_LOGITS))
  differences = np.zeros_like(_LOGITS)
  for index in np.ndindex(*_LOGITS.shape):
    step = np.zeros_like(_LOGITS)
    step[index] = 1e-6
    change = member.oracle(_LOGITS + step) - member.oracle(_LOGITS - step)
    differences[index] = np.sum(weights * change) / 2e-6
  np.testing.assert_allclose(gradient, differences, rtol=1e-6, atol=1e-8)


@_ALL
def test_derivatives_of_both_modes_and_orders_agree(name):
  with jax.enable_x64(True):
    check_grads(jax.jit(NORMALISERS[name].probs), (jnp.asarray(_LOGITS),), order=2)


@_ALL
def test_shift_of_the_logits(name):
  member = NORMALISERS[name]
  shifted = np.asarray(member.probs(_LOGITS + 1.5))
  change = np.max(np.abs(shifted - np.asarray(member.probs(_LOGITS))))
  assert (change < 1e-6) == member.shift_invariant, change


@_ALL
def test_eager_jit_vmap_and_axis_agree(name):
  probs = NORMALISERS[name].probs
  logits = jnp.asarray(np.stack([_LOGITS, -_LOGITS]), jnp.float32)
  eager = np.asarray(probs(logits))
  np.testing.assert_allclose(jax.jit(probs)(logits), eager, atol=1e-6)
  np.testing.assert_allclose(jax.vmap(jax.vmap(probs))(logits), eager, atol=1e-6)
  along_first = probs(jnp.moveaxis(logits, -1, 0), axis=0)
  np.testing.assert_allclose(jnp.moveaxis(along_first, 0, -1), eager, atol=1e-6)


@_ALL
@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_on_a_mesh_sharded_over_batch_and_classes(name, kind):
  probs = NORMALISERS[name].probs
  logits = np.random.default_rng(1).normal(size=(4, 8)).astype(np.float32)
  weights = np.random.default_rng(2).normal(size=(4, 8)).astype(np.float32)

  def weighted(z, w):
    return jnp.sum(probs(z) * w)

  expected = np.asarray(probs(logits)), np.asarray(jax.grad(weighted)(logits, weights))
  mesh = jax.make_mesh(
    (2, 4), ("batch", "classes"), axis_types=(kind,) * 2, devices=jax.devices("cpu")
  )
  with jax.set_mesh(mesh):
    sharding = NamedSharding(mesh, PartitionSpec("batch", "classes"))
    logits, weights = jax.device_put((logits, weights), sharding)
    ours = jax.jit(probs)(logits), jax.jit(jax.grad(weighted))(logits, weights)
    assert ours[0].sharding.is_equivalent_to(sharding, 2)
  for sharded, plain in zip(ours, expected, strict=True):
    np.testing.assert_allclose(sharded, plain, atol=1e-6)


@_ALL
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_half_precision_is_finite_and_accurate(name, dtype, scale):
  member = NORMALISERS[name]
  logits = jnp.asarray(np.array([0.31, -0.12, 0.87, 1.0, -1.0, 0.3]) * scale, dtype)
  probs = member.probs(logits)
  assert probs.dtype == dtype
  gradient = jax.grad(lambda z: jnp.max(member.probs(z)).astype(jnp.float32))(logits)
  assert gradient.dtype == dtype and bool(jnp.all(jnp.isfinite(gradient)))
  exact = member.oracle(np.asarray(logits, np.float64))
  np.testing.assert_allclose(
    np.asarray(probs, np.float64), exact, rtol=2 * float(jnp.finfo(dtype).eps), atol=1e-6
  )


@_ALL
@pytest.mark.parametrize("impossible", ["mask", "-inf"])
def test_an_impossible_class_is_as_if_it_were_absent(name, impossible):
  probs = NORMALISERS[name].probs
  present = jnp.array([True, False, True, True, False])
  logits = jnp.asarray(_LOGITS, jnp.float32)

  def apply(z):
    return (
      probs(z, where=present) if impossible == "mask" else probs(jnp.where(present, z, -jnp.inf))
    )

  ours = apply(logits)
  np.testing.assert_array_equal(ours[:, ~present], 0)
  np.testing.assert_allclose(ours[:, present], probs(logits[:, present]), atol=1e-6)
  weights = jnp.arange(5.0)
  gradient = jax.grad(lambda z: jnp.sum(apply(z) * weights))(logits)
  expected = jax.grad(lambda z: jnp.sum(probs(z) * weights[present]))(logits[:, present])
  np.testing.assert_array_equal(gradient[:, ~present], 0)
  np.testing.assert_allclose(gradient[:, present], expected, atol=1e-5)


@_ALL
def test_a_row_without_any_class_is_zero_with_zero_gradient(name):
  probs = NORMALISERS[name].probs
  rows = jnp.array([[0.5, -1.0, 2.0], [1.0, 2.0, 3.0]])
  where = jnp.array([[True, True, True], [False, False, False]])
  for apply, logits in (
    (lambda z: probs(z, where=where), rows),
    (probs, jnp.where(where, rows, -jnp.inf)),
  ):
    ours = np.asarray(apply(logits))
    np.testing.assert_array_equal(ours[1], 0)
    np.testing.assert_allclose(ours[0].sum(), 1, atol=1e-6)
    for derivative in (jax.jacrev, jax.jacfwd):
      assert np.all(np.isfinite(derivative(apply)(logits)))
      np.testing.assert_array_equal(derivative(apply)(logits)[1], 0)


@_ALL
def test_one_class_is_certain_and_an_empty_batch_stays_empty(name):
  probs = NORMALISERS[name].probs
  np.testing.assert_allclose(probs(jnp.array([[-3.0], [7.0]])), 1)
  assert probs(jnp.zeros((0, 4))).shape == (0, 4)
  assert jax.grad(lambda z: jnp.sum(probs(z)))(jnp.zeros((0, 4))).shape == (0, 4)


def test_neutral_parameters_give_softmax():
  logits = jnp.asarray(_LOGITS, jnp.float32)
  plain = functional.softmax(logits)
  for neutral in (
    functional.softmax(logits, temperature=1.0),
    functional.taylor_softmax(logits, order=30),
    functional.entmax(logits, alpha=1.0),
  ):
    np.testing.assert_allclose(neutral, plain, atol=1e-6)
  near = [functional.entmax(logits, alpha=1 + step) for step in (0.1, 0.01)]
  errors = [float(jnp.max(jnp.abs(probs - plain))) for probs in near]
  assert errors[1] < 0.2 * errors[0] < 0.1
