"""Linear Taylor attention against quadratic attention, and by one token at a time."""

import functools
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softmax_research.functional import attention, taylor_attention, taylor_score

module = importlib.import_module("softmax_research.functional.taylor_attention")

RNG = np.random.default_rng(0)
QUERY, KEY, VALUE = (
  jnp.asarray(2 * RNG.normal(size=(2, 13, heads, size)), jnp.float32)
  for heads, size in ((4, 6), (2, 6), (2, 3))
)
COTANGENT = jnp.asarray(RNG.normal(size=(2, 13, 4, 3)), jnp.float32)
LENGTHS = jnp.array([13, 9])


@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_the_product_of_features_is_the_series(size):
  x, y = RNG.normal(size=(2, 7, size))
  with jax.enable_x64(True):
    found = [np.asarray(module.features(jnp.asarray(values))) for values in (x, y)]
  assert found[0].shape[-1] == 1 + size + size * (size + 1) // 2
  scores = (x * y).sum(-1)
  np.testing.assert_allclose((found[0] * found[1]).sum(-1), 1 + scores + scores**2 / 2, rtol=1e-12)


def test_equals_quadratic_attention_in_values_and_gradients(monkeypatch):
  monkeypatch.setattr(module, "_CHUNKS", (4, 4))  # Divides neither; several, and the last padded.
  quadratic = functools.partial(attention, score=taylor_score)

  def derivatives(attend, options):
    def run(*arrays):
      values, pull = jax.vjp(lambda *a: attend(*a, **options), *arrays)
      return values, pull(COTANGENT)

    return run

  @jax.jit
  def run(*arrays):
    kinds = {"causal": True}, {"key_lengths": LENGTHS}, {"causal": True, "scale": 0.1}
    return [
      [derivatives(attend, options)(*arrays) for attend in (taylor_attention, quadratic)]
      for options in kinds
    ]

  for ours, expected in run(QUERY, KEY, VALUE):
    np.testing.assert_allclose(ours[0], expected[0], rtol=1e-5, atol=1e-5)
    for one, other in zip(ours[1], expected[1], strict=True):
      np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_one_token_at_a_time_and_half_types():
  causal = jax.jit(functools.partial(taylor_attention, causal=True))
  whole = causal(QUERY, KEY, VALUE)
  step = jax.jit(functools.partial(taylor_attention, causal=True, return_state=True))
  outputs, state = step(QUERY[:, :5], KEY[:, :5], VALUE[:, :5])
  for t in range(5, 13):
    part, state = step(*(array[:, t : t + 1] for array in (QUERY, KEY, VALUE)), state=state)
    np.testing.assert_allclose(part, whole[:, t : t + 1], rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(outputs, whole[:, :5], rtol=1e-4, atol=1e-5)
  half = [array.astype(jnp.bfloat16) for array in (QUERY, KEY, VALUE)]
  found = causal(*half)
  assert found.dtype == jnp.bfloat16
  exact = causal(*(array.astype(jnp.float32) for array in half))
  np.testing.assert_allclose(found.astype(jnp.float32), exact, atol=0.05)


def test_where_the_series_is_least_the_sum_stays_positive():
  # All products are near -1, where f is 1/2; and far below, where terms of any size cancel most.
  for product in (-1.0, -(2**0.5), -1e3):
    query = jnp.full((1, 3000, 1, 1), product, jnp.float32)
    ones = jnp.ones((1, 3000, 1, 1), jnp.float32)
    found = taylor_attention(query, ones, ones, causal=True)
    np.testing.assert_allclose(found, 1, atol=1e-4)


def test_traces_under_every_flag_and_no_keys():
  with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
    for causal in (True, False):
      run = functools.partial(taylor_attention, causal=causal, key_lengths=LENGTHS)
      gradient = jax.grad(lambda *a, run=run: jnp.sum(run(*a)), argnums=(0, 1, 2))
      jax.eval_shape(gradient, QUERY, KEY, VALUE)
  empty = taylor_attention(QUERY, KEY[:, :0], VALUE[:, :0])
  np.testing.assert_array_equal(empty, np.zeros(COTANGENT.shape))
  assert taylor_attention(QUERY[:, :0], KEY, VALUE).shape == (2, 0, 4, 3)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"order": 4}, "Got order=4; it must be 2"),
    ({"key": KEY[:, :4], "value": VALUE[:, :4], "causal": True}, "there must be as many"),
    ({"state": jnp.zeros(3)}, "only causal attention has one"),
    ({"state": jnp.zeros(3), "causal": True}, "Got a state of shape"),
  ],
)
def test_bad_input_is_refused(change, message):
  with pytest.raises(ValueError, match=message):
    taylor_attention(**{"query": QUERY, "key": KEY, "value": VALUE} | change)
