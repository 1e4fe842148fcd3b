"""The contract of every function from logits to probabilities."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from jax.experimental import checkify
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from softmax_research import functional
from tests.contracts.members import NORMALISERS
from tests.derivatives import check_derivatives, differences

_ALL = pytest.mark.parametrize("name", sorted(NORMALISERS))

# Unequal gaps, both signs, and one class far below the others.
_LOGITS = np.array([[0.3, -1.2, 2.1, 0.9, -4.0], [1.7, 1.6, -0.4, -2.2, 0.0]])
_WEIGHTS = np.random.default_rng(0).normal(size=_LOGITS.shape)


def _values_and_gradients(probs, logits, weights, **options):
  values, pull_back = jax.vjp(lambda z: probs(z, **options), logits)
  return values, pull_back(jnp.asarray(weights, values.dtype))[0]


@_ALL
def test_values_and_derivatives_equal_the_oracle_in_float64(name):
  probs, oracle, *_ = NORMALISERS[name]
  check_derivatives(probs, _LOGITS, oracle=oracle)


@functools.cache
def _compiled(name):
  return jax.jit(NORMALISERS[name].probs)


@_ALL
@settings(max_examples=30, deadline=None)
@given(logits=hnp.arrays(np.float32, (3, 5), elements=st.floats(-30, 30, width=32)))
def test_sums_to_one_and_equals_the_oracle_anywhere(name, logits):
  if name in ("ev-softmax", "r-softmax"):
    logits = np.round(logits)  # They jump where a logit equals a threshold of its row.
  probs = np.asarray(_compiled(name)(logits))
  assert probs.shape == logits.shape and probs.dtype == np.float32
  assert np.all(probs >= 0)
  np.testing.assert_allclose(probs.sum(-1), 1, atol=3e-6)
  np.testing.assert_allclose(probs, NORMALISERS[name].oracle(np.float64(logits)), atol=2e-5)


# Rows of every kind, for one program: plain ones, some classes impossible, all of them, and plain
# ones that are shifted.
_PRESENT = np.array([True, False, True, True, False])
_EMPTY_ROW = np.full((1, 5), -np.inf)
_MASKED_ROWS = np.where(_PRESENT, _LOGITS, -np.inf)
_ROWS = np.concatenate([_LOGITS, _MASKED_ROWS, _EMPTY_ROW, _LOGITS + 1.5])
_ROW_WEIGHTS = np.concatenate([_WEIGHTS, _WEIGHTS, np.ones((1, 5)), _WEIGHTS])
_PLAIN, _MASKED, _EMPTY, _SHIFTED = slice(0, 2), slice(2, 4), 4, slice(5, 7)


@functools.cache
def _run(name):
  """Returns what one program says of all rows and of some more, and its error at a NaN."""
  probs = NORMALISERS[name].probs
  checked = checkify.checkify(
    functools.partial(_values_and_gradients, probs), errors=checkify.nan_checks
  )
  rows = jnp.asarray(_ROWS, jnp.float32)
  finite = jnp.where(rows == -jnp.inf, 0.5, rows)

  @jax.jit
  def run(rows, finite):
    error, of_rows = checked(rows, jnp.asarray(_ROW_WEIGHTS))
    with_nan = jnp.concatenate([rows, jnp.where(jnp.arange(5) == 1, jnp.nan, rows[:1])])
    return error, {
      "values": of_rows,
      "forward": jax.jvp(probs, (rows,), (jnp.ones_like(rows),))[1],
      "where": _values_and_gradients(probs, finite, _ROW_WEIGHTS, where=_ROWS != -np.inf),
      "vmap": jax.vmap(probs)(with_nan),
      "axis": jnp.moveaxis(probs(rows.T, axis=0), 0, -1),
      "one class": probs(jnp.array([[-3.0], [7.0]])),
    }

  error, found = run(rows, finite)
  return error, jax.device_get(found)


@_ALL
def test_other_ways_to_call_it_agree(name):
  error, found = _run(name)
  values, _ = found["values"]
  for other in (found["vmap"][:-1], found["axis"]):
    np.testing.assert_allclose(other, values, atol=1e-6)
  np.testing.assert_allclose(found["one class"], 1)
  assert np.isnan(found["vmap"][-1]).any()  # Zeros would hide what went wrong before.
  error.throw()  # No operation makes a NaN, not even one that is masked.


@_ALL
def test_shift_of_the_logits(name):
  values, _ = _run(name)[1]["values"]
  change = np.max(np.abs(values[_SHIFTED] - values[_PLAIN]))
  assert (change < 1e-6) == NORMALISERS[name].shift_invariant, change


@_ALL
def test_an_impossible_class_is_absent_however_it_is_spelt(name):
  oracle = NORMALISERS[name].oracle
  values, gradient = _run(name)[1]["values"]
  present = _LOGITS[:, _PRESENT]
  np.testing.assert_array_equal(values[_MASKED][:, ~_PRESENT], 0)
  np.testing.assert_allclose(values[_MASKED][:, _PRESENT], oracle(present), atol=1e-6)
  slopes = differences(lambda z: _WEIGHTS[:, _PRESENT] * oracle(z), present)
  np.testing.assert_array_equal(gradient[_MASKED][:, ~_PRESENT], 0)
  np.testing.assert_allclose(gradient[_MASKED][:, _PRESENT], slopes, atol=1e-5)
  # A row without any class is zero throughout, and so are its derivatives.
  np.testing.assert_array_equal(values[_EMPTY], 0)
  np.testing.assert_array_equal(gradient[_EMPTY], 0)
  np.testing.assert_array_equal(_run(name)[1]["forward"][_EMPTY], 0)
  assert np.isfinite(_run(name)[1]["forward"]).all()
  for masked, impossible in zip(_run(name)[1]["where"], (values, gradient), strict=True):
    np.testing.assert_allclose(masked, impossible, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_on_a_mesh_sharded_over_batch_and_classes(kind):
  logits, weights = (np.random.default_rng(seed).normal(size=(4, 8)) for seed in (1, 2))
  mesh = jax.make_mesh(
    (2, 4), ("batch", "classes"), axis_types=(kind,) * 2, devices=jax.devices("cpu")
  )

  @jax.jit
  def run(logits, weights):
    return {
      name: _values_and_gradients(member.probs, logits, weights)
      for name, member in NORMALISERS.items()
    }

  sharding = NamedSharding(mesh, PartitionSpec("batch", "classes"))
  with jax.set_mesh(mesh):
    found = run(*jax.device_put((np.float32(logits), np.float32(weights)), sharding))
  for name, (values, gradient) in found.items():
    assert values.sharding.is_equivalent_to(sharding, 2), name
    oracle = NORMALISERS[name].oracle
    np.testing.assert_allclose(values, oracle(logits), atol=1e-6, err_msg=name)
    slopes = differences(lambda z, oracle=oracle: weights * oracle(z), logits)
    np.testing.assert_allclose(gradient, slopes, atol=1e-5, err_msg=name)


@_ALL
def test_half_precision_is_finite_and_accurate(name):
  member = NORMALISERS[name]
  rows = np.array([0.31, -0.12, 0.87, 1.0, -1.0, 0.3]) * np.array([[1.0], [1e4]])
  given = [jnp.asarray(rows, dtype) for dtype in (jnp.float16, jnp.bfloat16)]

  @jax.jit
  def run(given):
    def largest(z):
      probs = member.probs(z)
      return jnp.sum(jnp.max(probs, axis=-1).astype(jnp.float32)), probs

    return [jax.grad(largest, has_aux=True)(z) for z in given]

  for logits, (gradient, probs) in zip(given, run(given), strict=True):
    assert probs.dtype == gradient.dtype == logits.dtype
    assert np.isfinite(np.asarray(gradient, np.float32)).all()
    exact = member.oracle(np.asarray(logits, np.float64))
    rtol = 2 * float(jnp.finfo(logits.dtype).eps)
    np.testing.assert_allclose(np.asarray(probs, np.float64), exact, rtol=rtol, atol=1e-6)


@_ALL
def test_traces_under_every_flag_without_changing_types(name):
  run = functools.partial(_values_and_gradients, NORMALISERS[name].probs)

  def trace(dtype, batch=(2,)):
    logits = jax.ShapeDtypeStruct((*batch, 5), dtype)
    found = jax.eval_shape(run, logits, logits)
    assert all(array.shape == logits.shape and array.dtype == dtype for array in found)

  with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
    trace(jnp.bfloat16, (2, 3))
    # The checks of what varies between devices are made when a program is traced.
    mesh = jax.make_mesh((2,), ("batch",), (AxisType.Auto,), devices=jax.devices()[:2])
    shards = PartitionSpec("batch")
    over_devices = jax.shard_map(run, mesh=mesh, in_specs=shards, out_specs=shards)
    logits = jax.ShapeDtypeStruct((4, 5), jnp.float32)
    assert jax.eval_shape(over_devices, logits, logits)[0].shape == (4, 5)
    with jax.enable_x64(True):
      trace(jnp.float32, (0, 3))
      trace(jnp.float64)


@_ALL
def test_several_class_axes_are_one_or_are_refused(name):
  probs = NORMALISERS[name].probs
  logits = jnp.asarray(_LOGITS, jnp.float32)
  if name in ("sparsemax", "entmax", "entmax at 1.2", "tempered softmax"):
    with pytest.raises(TypeError, match=r"axis=\(0, 1\); it must be one integer"):
      probs(logits, axis=(0, 1))
  else:
    both = jax.jit(lambda z: (probs(z, axis=(0, 1)).reshape(-1), probs(z.reshape(-1))))
    np.testing.assert_allclose(*both(logits), rtol=1e-6)


def test_neutral_parameters_give_softmax():
  logits = jnp.asarray(_LOGITS, jnp.float32)

  @jax.jit
  def run(logits):
    return (
      functional.softmax(logits, temperature=1.0),
      functional.taylor_softmax(logits, order=30),
      functional.entmax(logits, alpha=1.0),
      functional.entmax(logits, alpha=1.1),
      functional.entmax(logits, alpha=1.01),
    )

  *neutral, near, nearer = run(logits)
  plain = NORMALISERS["softmax"].oracle(_LOGITS)
  for probs in neutral:
    np.testing.assert_allclose(probs, plain, atol=1e-6)
  errors = [float(np.max(np.abs(probs - plain))) for probs in (near, nearer)]
  assert errors[1] < 0.2 * errors[0] < 0.1
