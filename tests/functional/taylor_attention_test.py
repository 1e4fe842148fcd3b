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
  np.float32(2 * RNG.normal(size=(2, 13, heads, size))) for heads, size in ((4, 6), (2, 6), (2, 3))
)
COTANGENT = np.float32(RNG.normal(size=(2, 13, 4, 3)))
LENGTHS = np.array([13, 9])
RUN = jax.jit(taylor_attention)
CAUSAL = jax.jit(functools.partial(taylor_attention, causal=True))
STEP = jax.jit(functools.partial(taylor_attention, causal=True, return_state=True))


@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_the_product_of_features_is_the_series(size):
  x, y = RNG.normal(size=(2, 7, size))
  with jax.enable_x64(True):
    found = jax.device_get(jax.jit(lambda *given: [module.features(z) for z in given])(x, y))
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
  whole = np.asarray(CAUSAL(QUERY, KEY, VALUE))
  outputs, state = STEP(QUERY[:, :5], KEY[:, :5], VALUE[:, :5])
  for t in range(5, 13):
    part, state = STEP(*(array[:, t : t + 1] for array in (QUERY, KEY, VALUE)), state=state)
    np.testing.assert_allclose(part, whole[:, t : t + 1], rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(outputs, whole[:, :5], rtol=1e-4, atol=1e-5)
  half = [array.astype(jnp.bfloat16) for array in (QUERY, KEY, VALUE)]
  found = np.asarray(CAUSAL(*half))
  assert found.dtype == jnp.bfloat16
  exact = CAUSAL(*(array.astype(np.float32) for array in half))
  np.testing.assert_allclose(found.astype(np.float32), exact, atol=0.05)


def test_where_the_series_is_least_the_sum_stays_positive():
  # All products are near -1, where f is 1/2; and far below, where terms of any size cancel most.
  for product in (-1.0, -(2**0.5), -1e3):
    ones = np.ones((1, 3000, 1, 1), np.float32)
    found = CAUSAL(np.float32(product) * ones, ones, ones)
    np.testing.assert_allclose(found, 1, atol=1e-4)


@pytest.mark.parametrize("size", [8, 30, 100])
def test_large_orthogonal_queries_and_keys_err_by_no_more_than_is_said(size):
  rng = np.random.default_rng(3)
  halves, value = size * rng.normal(size=(2, 64, 8)), rng.uniform(size=(64, 4))
  turn = np.linalg.qr(rng.normal(size=(16, 16)))[0]
  query, key = halves[0] @ turn[:8], halves[1] @ turn[8:]
  arrays = [np.float32(array[None, :, None]) for array in (query, key, value)]
  query, key, value = (np.asarray(array, np.float64)[0, :, 0] for array in arrays)
  scores = query @ key.T / 4
  weights = 1 + scores + scores**2 / 2
  largest = np.linalg.norm(query, axis=-1).max() * np.linalg.norm(key, axis=-1).max() / 4
  # Less than is said; without a least sum of weights the errors have no bound.
  bound = 2**-24 * largest**2 / 8
  found = np.asarray(RUN(*arrays))
  expected = weights @ value / weights.sum(-1, keepdims=True)
  np.testing.assert_allclose(found[0, :, 0], expected, atol=bound)
  _, state = STEP(*(array[:, :63] for array in arrays))
  last, _ = STEP(*(array[:, 63:] for array in arrays), state=state)
  np.testing.assert_allclose(np.asarray(last)[0, 0, 0], expected[-1], atol=bound)


def test_products_are_of_full_precision():
  gradient = jax.grad(lambda *a: jnp.sum(taylor_attention(*a, causal=True)), argnums=(0, 1, 2))
  usual = str(jax.make_jaxpr(gradient)(QUERY, KEY, VALUE))
  with jax.default_matmul_precision("highest"):
    assert str(jax.make_jaxpr(lambda *a: gradient(*a))(QUERY, KEY, VALUE)) == usual


def test_what_is_padding_may_be_nan_and_a_scale_of_any_sign():
  def run(key, value, scale):
    return jnp.sum(
      taylor_attention(QUERY, key, value, key_lengths=LENGTHS, scale=scale) * COTANGENT
    )

  padding = (np.arange(13) >= LENGTHS[:, None])[..., None, None]
  gradient = jax.jit(jax.value_and_grad(run, argnums=(0, 1, 2)))
  for scale in (0.0, -1.0):
    expected, found = (
      gradient(*(np.where(padding, np.float32(fill), array) for array in (KEY, VALUE)), scale)
      for fill in (0, np.nan)
    )
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))
  heads = np.float32([0.5, -1.0, 0.0, 2.0])
  quadratic = functools.partial(attention, score=taylor_score)
  found, expected = jax.jit(
    lambda *arrays: [attend(*arrays, scale=heads) for attend in (taylor_attention, quadratic)]
  )(QUERY, KEY, VALUE)
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_traces_under_every_flag_and_no_keys():
  with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
    for causal in (True, False):
      run = functools.partial(taylor_attention, causal=causal, key_lengths=LENGTHS)
      gradient = jax.grad(lambda *a, run=run: jnp.sum(run(*a)), argnums=(0, 1, 2))
      jax.eval_shape(gradient, QUERY, KEY, VALUE)
  empty = RUN(QUERY, KEY[:, :0], VALUE[:, :0])
  np.testing.assert_array_equal(empty, np.zeros(COTANGENT.shape))
  assert RUN(QUERY[:, :0], KEY, VALUE).shape == (2, 0, 4, 3)
  # Without features all weights are 1.
  means = np.asarray(RUN(QUERY[..., :0], KEY[..., :0], VALUE))
  np.testing.assert_allclose(means[:, 0, ::2], VALUE.mean(1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"order": 4}, "Got order=4; it must be 2"),
    ({"key": KEY[:, :4], "value": VALUE[:, :4], "causal": True}, "there must be as many"),
    ({"state": np.zeros(3)}, "only causal attention has one"),
    ({"state": np.zeros(3), "causal": True}, "Got a state of shape"),
    (
      {"state": np.zeros((2, 2, 28, 4), jnp.bfloat16), "causal": True},
      "type bfloat16; .* float32",
    ),
    ({"scale": np.ones(6)}, "Got scale of shape .6,. for 4 heads; pass a number"),
    ({"key_lengths": np.float32([13, 9.5])}, "type float32; they must be integers"),
    ({"key_lengths": np.array([13, 9, 4])}, "Got key_lengths of shape .3,."),
  ],
)
def test_bad_input_is_refused(change, message):
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(
      lambda: taylor_attention(**{"query": QUERY, "key": KEY, "value": VALUE} | change)
    )
