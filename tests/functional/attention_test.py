"""Attention against numpy in float64, values and gradients, and against its own reference."""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from softmax_research import functional
from softmax_research.functional import attention, attention_blocks, entmax, sparsemax, taylor_score
from softmax_research.functional.attention import reference
from tests.contracts.members import _entmax

# The function of that name hides it as an attribute of its package.
module = sys.modules["softmax_research.functional.attention"]

RNG = np.random.default_rng(0)
B, T, S, H, K, D, E = 2, 5, 7, 4, 2, 3, 2
QUERY = RNG.normal(size=(B, T, H, D))
KEY = RNG.normal(size=(B, S, K, D))
VALUE = RNG.normal(size=(B, S, K, E))
BIAS = RNG.normal(size=(H, T, S))
WHERE = RNG.random((B, 1, T, S)) < 0.7
WHERE[0, 0, 1] = False  # A query without any key.
COTANGENT = RNG.normal(size=(B, T, H, E))
SINK = np.array([0.3, -0.2, 0.0, 1.0])
LENGTHS = np.array([4, 7])
BLOCK = (2, 4)  # Divides neither.
# Each axis of several examples or heads is traced once more, which takes most of the time: what
# does not depend on them has one head of one example.
ONE_HEAD = QUERY[:1, :, :1], KEY[:1, :, :1], VALUE[:1, :, :1]


def _quartic(z):
  return np.log(1 + z + z**2 / 2 + z**3 / 6 + z**4 / 24)


# Options of attention, and the same of the oracle, of several examples and heads and of one.
CASES_OF_HEADS = {
  "causal, a mask; a bias, a sink and a scale a head": (
    {"causal": True, "where": WHERE, "bias": BIAS, "sink": SINK, "scale": SINK + 0.5},
    {"causal": True, "where": WHERE, "bias": BIAS, "sink": SINK, "scale": SINK + 0.5},
  ),
  "lengths, scaled by length": (
    {
      "causal": True,
      "key_lengths": LENGTHS,
      "query_lengths": np.array([5, 3]),
      "length_scale": SINK + 0.5,
    },
    {
      "causal": True,
      "lengths": LENGTHS,
      "query_lengths": np.array([5, 3]),
      "length_scale": SINK + 0.5,
    },
  ),
  "sigmoid, a bias that excludes": (
    {"normaliser": "sigmoid", "causal": True, "bias": np.where(WHERE, BIAS, -np.inf)},
    {"normaliser": "sigmoid", "causal": True, "where": WHERE, "bias": np.where(WHERE, BIAS, 0)},
  ),
}
CASES_OF_ONE_HEAD = {
  "softmax": ({}, {}),
  "causal": ({"causal": True}, {"causal": True}),
  "taylor, a bias that excludes": (
    {
      "score": functools.partial(taylor_score, order=4),
      "bias": np.where(WHERE, BIAS, -np.inf)[:1, :1],
    },
    {"score": _quartic, "bias": np.where(WHERE, BIAS, 0)[:1, :1], "where": WHERE[:1]},
  ),
  "soft cap, one sink": (
    {"score": lambda z: 2 * jnp.tanh(z / 2), "sink": 0.0},
    {"score": lambda z: 2 * np.tanh(z / 2), "sink": np.zeros(1)},
  ),
  "softpick": (
    {"normaliser": "softpick", "causal": True, "where": WHERE[:1], "score": lambda z: 1.5 * z},
    {"normaliser": "softpick", "causal": True, "where": WHERE[:1], "score": lambda z: 1.5 * z},
  ),
  "relu": (
    {"normaliser": "relu", "key_lengths": LENGTHS[:1]},
    {"normaliser": "relu", "lengths": LENGTHS[:1]},
  ),
  "sparsemax": (
    {"normaliser": sparsemax, "causal": True, "bias": BIAS[:1]},
    {"normaliser": 2.0, "causal": True, "bias": BIAS[:1]},
  ),
  "entmax, a mask": (
    {"normaliser": functools.partial(entmax, alpha=1.4), "where": WHERE[:1]},
    {"normaliser": 1.4, "where": WHERE[:1]},
  ),
}


def _oracle(
  query,
  key,
  value,
  *,
  score=lambda z: z,
  normaliser="softmax",
  bias=None,
  where=None,
  causal=False,
  lengths=None,
  query_lengths=None,
  scale=None,
  length_scale=None,
  sink=None,
):
  """Return outputs and log-normalisers, one query of one head at a time."""
  *shape, num_heads, _ = query.shape
  outputs = np.zeros((*shape, num_heads, E))
  log_totals = np.full((*shape, num_heads), -np.inf)
  for b, t, h in np.ndindex(*shape, num_heads):
    keys = [
      j
      for j in range(S)
      if (not causal or j <= t + S - T)
      and (lengths is None or j < lengths[b])
      and (query_lengths is None or t < query_lengths[b])
      and (where is None or where[b, 0, t, j])
    ]
    factor = D**-0.5 if scale is None else scale[h]
    if length_scale is not None:
      factor *= length_scale[h] * np.log(max(len(keys), 1))
    logits = factor * key[b, keys, h // 2] @ query[b, t, h]
    if bias is not None:
      logits = logits + np.broadcast_to(bias, (shape[0], num_heads, T, S))[b, h, t, keys]
    scores, extra = score(logits), 0 if sink is None else np.exp(sink[h % len(sink)])
    if normaliser == "softpick":
      total = np.abs(np.exp(scores) - 1).sum() + 1e-6
      weights, log_totals[b, t, h] = np.maximum(np.exp(scores) - 1, 0) / total, np.log(total)
    elif normaliser == "sigmoid":
      weights = 1 / (1 + max(len(keys), 1) * np.exp(-scores))
    elif normaliser == "relu":
      weights = np.maximum(scores, 0) / max(len(keys), 1)
    elif normaliser != "softmax":
      weights = _entmax(scores, normaliser) if keys else scores
    else:
      total = np.exp(scores).sum() + extra
      weights = np.exp(scores) / (total or 1)
      log_totals[b, t, h] = np.log(total) if total else -np.inf
    outputs[b, t, h] = weights @ value[b, keys, h // 2]
  return outputs, log_totals


def _cotangent(values):
  return np.resize(COTANGENT, values.shape)


def _differentiate(function, *arguments):
  values, pull = jax.vjp(function, *arguments)
  return values, pull(jnp.asarray(_cotangent(values), values.dtype))


def _check_gradients(function, arrays, gradients, step=1e-6, rtol=1e-5, atol=1e-7):
  """Compares gradients of a function's sum with its change along a direction of each array."""
  rng = np.random.default_rng(1)
  for i, (array, gradient) in enumerate(zip(arrays, gradients, strict=True)):
    direction = rng.normal(size=array.shape)
    ends = [array + sign * step * direction for sign in (1, -1)]
    above, below = (np.sum(function(*arrays[:i], end, *arrays[i + 1 :])) for end in ends)
    along = np.asarray(gradient, float) * direction.reshape(gradient.shape)
    scale = atol * max(np.abs(along).sum(), 1)
    np.testing.assert_allclose(along.sum(), (above - below) / (2 * step), rtol=rtol, atol=scale)


@pytest.mark.parametrize("name", [*CASES_OF_HEADS, *CASES_OF_ONE_HEAD])
def test_values_and_gradients_equal_numpy(name):
  if name in CASES_OF_HEADS:
    (options, of_oracle), arrays, sizes = CASES_OF_HEADS[name], [QUERY, KEY, VALUE], [BLOCK]
  else:
    (options, of_oracle), arrays, sizes = CASES_OF_ONE_HEAD[name], ONE_HEAD, [BLOCK, None]
  learnt = [option for option in ("bias", "sink", "scale", "length_scale") if option in options]

  def weighted(*arrays):
    given = of_oracle | dict(zip(learnt, arrays[3:], strict=True))
    outputs = _oracle(*arrays[:3], **given)[0]
    return _cotangent(outputs) * outputs

  def attend(blocks, query, key, value, *others):
    given = options | dict(zip(learnt, others, strict=True))
    return attention(query, key, value, **given, block_size=blocks)

  @jax.jit
  def run(*given):
    return [_differentiate(functools.partial(attend, blocks), *given) for blocks in sizes]

  with jax.enable_x64(True):
    found = run(*arrays, *(np.asarray(options[option], float) for option in learnt))
  expected = _oracle(*arrays, **of_oracle)[0]
  for_oracle = [*arrays, *(np.asarray(of_oracle[option], float) for option in learnt)]
  for values, gradients in found:
    np.testing.assert_allclose(values, expected, rtol=1e-9, atol=1e-11)
    _check_gradients(weighted, for_oracle, gradients)


@pytest.mark.parametrize("normaliser", ["softmax", "softpick"])
def test_log_normaliser_and_its_gradient(normaliser):
  query, key, value = ONE_HEAD
  options = {"normaliser": normaliser, "where": WHERE[1:]}
  options |= {"sink": np.array([0.3])} if normaliser == "softmax" else {}

  def total(outputs, log_totals):
    return (outputs * COTANGENT[:1, :, :1]).sum() + (log_totals * COTANGENT[1:, :, :1, 0]).sum()

  def ours(query, key):
    found = attention(query, key, value, **options, block_size=BLOCK, return_log_normaliser=True)
    return total(*found), found[1]

  with jax.enable_x64(True):
    gradients, log_totals = jax.jit(jax.grad(ours, argnums=(0, 1), has_aux=True))(query, key)
  np.testing.assert_allclose(log_totals, _oracle(*ONE_HEAD, **options)[1], rtol=1e-10)
  _check_gradients(
    lambda query, key: total(*_oracle(query, key, value, **options)), [query, key], gradients
  )


def _small(dtype=np.float32, heads=1):
  """Returns queries, keys and values of one example without an axis for it."""
  arrays = QUERY[0, :, :heads], KEY[0, :, : -(-heads // 2)], VALUE[0, :, : -(-heads // 2)]
  return [np.asarray(array, dtype) for array in arrays]


def test_a_score_learns_its_constants_and_alpha_its_value():
  def streamed(temperature):
    found = attention(*_small(), score=lambda z: z / temperature, block_size=BLOCK)
    return jnp.sum(found**2)

  def plain(temperature):
    return jnp.sum(reference(*_small(), score=lambda z: z / temperature)[0] ** 2)

  def sparse(alpha, blocks):
    normaliser = functools.partial(entmax, alpha=alpha[:, None, None])
    return jnp.sum(attention(*_small(heads=4), normaliser=normaliser, block_size=blocks) ** 2)

  @jax.jit
  def run(temperature, alpha):
    slopes = [jax.grad(sparse)(alpha, blocks) for blocks in (BLOCK, (T, S))]
    # A tracer stands for a Python number too.
    of_number = jax.grad(streamed)(1.5)
    return jax.grad(streamed)(temperature), of_number, jax.grad(plain)(temperature), slopes

  ours, of_number, expected, slopes = run(np.float32(1.5), np.float32([1.2, 1.5, 1.7, 2.0]))
  np.testing.assert_allclose([ours, of_number], [expected] * 2, rtol=1e-4)
  assert abs(float(expected)) > 1e-3
  np.testing.assert_allclose(*slopes, rtol=1e-4, atol=1e-6)


def test_vmap_and_remat_agree():
  arrays = [np.stack([array, -0.5 * array]) for array in _small()]
  bias, weights = (np.float32(array) for array in (BIAS[0], COTANGENT[0, :, :1]))

  def total(query, key, value, bias):
    options = {"score": taylor_score, "bias": bias, "causal": True, "block_size": BLOCK}
    found = attention(query, key, value, **options)
    return jnp.sum(found * weights)

  gradient = jax.grad(total, argnums=(0, 1, 2, 3))

  @jax.jit
  def run(*arrays):
    remat = jax.grad(jax.checkpoint(total), argnums=(0, 1, 2, 3))
    return gradient(*arrays), remat(*arrays), jax.vmap(gradient, in_axes=(0, 0, 0, None))(*arrays)

  plain, remat, mapped = jax.device_get(run(*arrays, bias))
  for other in (remat, [*mapped[:3], mapped[3].sum(0)]):
    for one, expected in zip(other, plain, strict=True):
      np.testing.assert_allclose(one, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
  ("examples", "heads", "key_heads", "of_bias"),
  [
    (2, 4, 2, (1, 4)),  # Pairs of heads of keys.
    (1, 4, 1, (1, 1)),  # Pairs of queries' heads, of which keys have one.
    (2, 3, 3, (2, 1)),  # Pairs of examples, with a bias for each.
    (3, 3, 1, (1, 3)),  # One by one.
  ],
)
def test_turns_sum_what_heads_and_examples_share(monkeypatch, examples, heads, key_heads, of_bias):
  monkeypatch.setattr(attention_blocks, "_CPU_SIDE_BY_SIDE", 0)
  monkeypatch.setattr(attention_blocks, "_CPU_LEAST_TURN", 0)
  shapes = [(examples, 4, heads, 3), (examples, 6, key_heads, 3), (examples, 6, key_heads, 2)]
  rng = np.random.default_rng(0)
  arrays = [rng.normal(size=s).astype(np.float32) for s in (*shapes, (*of_bias, 4, 6))]
  scale = rng.uniform(0.5, 1, heads).astype(np.float32)
  cotangent = rng.normal(size=(examples, 4, heads, 2)).astype(np.float32)

  def pull(attend, query, key, value, bias, scale):
    return jax.vjp(
      lambda query, key, value, bias, scale, temperature: attend(
        query,
        key,
        value,
        bias=bias,
        scale=scale,
        score=lambda z: taylor_score(z / temperature),
        causal=True,
      ),
      *(query, key, value, bias, scale, np.float32(1.5)),
    )[1](cotangent)

  ours = functools.partial(attention, block_size=(2, 3))
  run = jax.jit(lambda *a: (pull(ours, *a), pull(lambda *b, **o: reference(*b, **o)[0], *a)))
  for one, expected in zip(*run(*arrays, scale), strict=True):
    np.testing.assert_allclose(one, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("normaliser", ["softmax", "sigmoid", "sparsemax"])
def test_half_types_are_summed_in_float32(normaliser):
  halves = [_small(dtype) for dtype in (jnp.bfloat16, jnp.float16)]

  @jax.jit
  def run(halves):
    def differentiate(arrays):
      attend = functools.partial(attention, normaliser=normaliser, block_size=BLOCK)
      return _differentiate(attend, *arrays)

    wide = jax.tree.map(lambda *of: jnp.stack([a.astype(jnp.float32) for a in of]), *halves)
    return [differentiate(arrays) for arrays in halves], jax.vmap(differentiate)(wide)

  found, exact = jax.device_get(run(halves))
  for i, dtype in enumerate((jnp.bfloat16, jnp.float16)):
    for ours, expected in zip(jax.tree.leaves(found[i]), jax.tree.leaves(exact), strict=True):
      assert ours.dtype == dtype
      atol = 8 * float(jnp.finfo(dtype).eps)
      np.testing.assert_allclose(np.asarray(ours, np.float32), expected[i], rtol=0.05, atol=atol)


@pytest.mark.parametrize(
  ("normaliser", "spelt"),
  [
    ("softmax", "where"),
    ("softmax", "bias"),
    ("softpick", "where"),
    ("sigmoid", "bias"),
    ("relu", "where"),
    ("entmax", "bias"),
  ],
)
def test_a_query_without_keys_is_zero_and_no_nan_is_made(normaliser, spelt):
  mask = np.zeros((T, S), bool)
  mask[2:, 1:] = True

  options = {"where": mask} if spelt == "where" else {"bias": np.where(mask, 0, -np.inf)}
  attend = functools.partial(attention, normaliser=normaliser, block_size=BLOCK, **options)
  with jax.debug_nans(True):
    run = jax.jit(functools.partial(_differentiate, attend))
    values, gradients = jax.device_get(run(*_small()))
  np.testing.assert_array_equal(values[:2], 0)
  np.testing.assert_array_equal(gradients[0][:2], 0)
  np.testing.assert_array_equal(gradients[1][0], 0)
  assert np.abs(values[2:]).max() > 0.01


def test_large_logits_neither_overflow_nor_lose_the_maximum():
  normalisers = "softmax", "softpick"

  @jax.jit
  def run(*arrays):
    options = {"scale": 1e4, "block_size": BLOCK}
    return [
      _differentiate(functools.partial(attention, normaliser=name, **options), *arrays)
      for name in normalisers
    ]

  query, key, value = _small()
  logits = query[:, 0] @ key[:, 0].T
  for name, (values, gradients) in zip(normalisers, run(query, key, value), strict=True):
    assert all(np.isfinite(array).all() for array in (values, *gradients))
    best = value[logits.argmax(-1)]
    if name == "softpick":  # Which leaves keys of negative logits without weight.
      best = best * (logits.max(-1) > 0)[:, None, None]
    np.testing.assert_allclose(values, best, atol=1e-4)


def test_gradients_where_all_biases_are_large():
  bias = np.zeros((T, S))
  bias[1], bias[2] = -1e9, 1e9

  @jax.jit
  def run(*arrays):
    found = []
    for normaliser in ("softmax", "softpick"):
      options = {"normaliser": normaliser, "bias": bias}
      ours = functools.partial(attention, **options, block_size=BLOCK)
      expected = lambda *arrays, o=options: reference(*arrays, **o)[0]  # noqa: E731
      found.append([_differentiate(of, *arrays)[1] for of in (ours, expected)])
    return found

  for pair in run(*_small()):
    for one, expected in zip(*pair, strict=True):
      np.testing.assert_allclose(one, expected, rtol=1e-4, atol=1e-5)


def test_no_array_of_queries_by_keys_is_in_memory():
  shape = (1, 2048, 1, 8)
  arrays = [jax.ShapeDtypeStruct(shape, jnp.float32)] * 3
  lengths = np.array([2000])

  def memory(**options):
    def total(*arrays):
      return jnp.sum(attention(*arrays, causal=True, **options) ** 2)

    compiled = jax.jit(jax.grad(total, argnums=(0, 1, 2))).lower(*arrays).compile()
    return compiled.memory_analysis().temp_size_in_bytes

  for options in (
    {},
    {"normaliser": "sigmoid"},
    {"normaliser": "relu", "key_lengths": lengths},
    {"length_scale": 1.0, "query_lengths": lengths},
  ):
    assert memory(block_size=(128, 128), **options) < 2048**2 * 4 / 8
  assert memory(block_size=(128, 128), normaliser=sparsemax) < 2048**2 * 4 / 2


def test_numbers_of_keys_equal_numpy(monkeypatch):
  monkeypatch.setattr(module, "_WEIGHTS", 4 * B * S)  # Blocks of four of the five queries.
  of_queries, of_keys = np.array([5, 3])[:, None, None, None], LENGTHS[:, None, None, None]
  rows, columns = np.arange(T)[:, None], np.arange(S)[None]
  sparse = np.where(WHERE, 0, -np.inf)
  cases = [
    ({}, True),
    ({"causal": True}, columns <= rows + S - T),
    ({"where": WHERE}, WHERE),
    ({"where": WHERE[1, 0, 1]}, WHERE[1, 0, 1]),
    (
      {"causal": True, "query_lengths": np.array([5, 3]), "where": WHERE[:, :, 3:4]},
      (columns <= rows + S - T) & (rows < of_queries) & WHERE[:, :, 3:4],
    ),
    (
      {"causal": True, "key_lengths": LENGTHS, "where": WHERE[1]},
      (columns <= rows + S - T) & (columns < of_keys) & WHERE[1],
    ),
    (
      {"causal": True, "bias": sparse, "query_lengths": np.array([5, 3])},
      (columns <= rows + S - T) & (rows < of_queries) & WHERE,
    ),
  ]

  def log_counts(**options):
    shapes = (array.shape for array in (QUERY, KEY, VALUE))
    return module._log_counts(module._prepare(*map(jnp.zeros, shapes), **options))

  found = jax.jit(lambda: [log_counts(**options) for options, _ in cases])()
  for ours, (_, mask) in zip(found, cases, strict=True):
    expected = np.broadcast_to(mask, (B, H, T, S)).sum(-1)
    np.testing.assert_allclose(
      np.broadcast_to(np.exp(ours), expected.shape), np.maximum(expected, 1), rtol=1e-6
    )


@pytest.mark.parametrize(
  ("normaliser", "spelt"),
  [("softmax", "lengths"), ("softmax", "where"), ("relu", "lengths"), ("sparsemax", "where")],
)
def test_padding_may_hold_anything(normaliser, spelt):
  kept = np.arange(S) < LENGTHS[:, None]
  query = np.where(np.arange(T)[:, None, None] < 3, QUERY[:, :, :1], np.nan)
  key = np.where(kept[..., None, None], KEY[:, :, :1], np.inf)
  value = np.where(kept[..., None, None], VALUE[:, :, :1], np.nan)
  options = {"query_lengths": np.full(B, 3), "normaliser": normaliser, "block_size": BLOCK}
  options |= {"where": kept[:, None, None]} if spelt == "where" else {"key_lengths": LENGTHS}
  run = jax.jit(functools.partial(_differentiate, functools.partial(attention, **options)))
  name = 2.0 if normaliser == "sparsemax" else normaliser
  expected = _oracle(query, key, value, normaliser=name, lengths=LENGTHS, query_lengths=[3] * B)[0]
  values, gradients = run(query, key, value)
  np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)
  _, of_clean = run(*(np.nan_to_num(array, posinf=0) for array in (query, key, value)))
  for ours, other in zip(gradients, of_clean, strict=True):
    np.testing.assert_allclose(ours, other, rtol=1e-5, atol=1e-6)


def test_a_sink_of_minus_infinity_is_none():
  def attend(query, key, value, sink):
    return attention(
      query, key, value, sink=sink, where=WHERE[:1], block_size=BLOCK, return_log_normaliser=True
    )

  @jax.jit
  def run(*arrays):
    found, pull = jax.vjp(attend, *arrays)
    return found, pull(jax.tree.map(jnp.ones_like, found))

  found, gradients = run(*ONE_HEAD, -np.inf)
  for ours, expected in zip(found, _oracle(*ONE_HEAD, where=WHERE[:1]), strict=True):
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)
  assert all(np.isfinite(gradient).all() for gradient in gradients) and gradients[3] == 0


def test_float16_holds_gradients_where_it_does_not_hold_scaled_queries():
  query, key, value = ONE_HEAD
  arrays = [np.asarray(array, np.float16) for array in (query * 300, key * 1e-5, value / 80)]
  _, gradients = jax.jit(
    lambda *given: _differentiate(functools.partial(attention, scale=500.0), *given)
  )(*arrays)

  def weighted(*arrays):
    outputs = _oracle(*arrays, scale=[500.0])[0]
    return _cotangent(outputs) * outputs

  wide = [array.astype(float) for array in arrays]
  _check_gradients(weighted, wide, gradients, step=1e-9, atol=1e-2)


def test_blocks_shrink_where_many_heads_stand_side_by_side():
  choose = functools.partial(attention_blocks._choose_blocks, on_cpu=False)
  assert [choose(heads)[0] for heads in (16, 64, 512, 2**20)] == [1024, 1024, 256, 128]


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_on_meshes_over_batch_and_heads(kind):
  rng = np.random.default_rng(2)
  arrays = [rng.normal(size=(4, 6, 4, 3)).astype(np.float32) for _ in range(3)]
  temperature = np.float32(1.3)
  mesh = jax.make_mesh((2, 2), ("data", "heads"), (kind,) * 2, devices=jax.devices()[:4])
  spec = P("data", None, "heads")

  def losses(temperature, *arrays):
    found = attention(
      *arrays, causal=True, score=lambda z: z / temperature, block_size=BLOCK, sink=0.0
    )
    return jnp.sum(found**2, axis=(1, 3))

  def total(temperature, *arrays):
    return jnp.sum(losses(temperature, *arrays))

  argnums = (0, 1, 2, 3)
  expected = jax.jit(jax.grad(total, argnums))(temperature, *arrays)
  sharded = jax.device_put(arrays, NamedSharding(mesh, spec))
  with jax.set_mesh(mesh):
    found = [jax.jit(jax.grad(total, argnums))(temperature, *sharded)]
    if kind is AxisType.Auto:
      by_shard = jax.shard_map(
        losses, mesh=mesh, in_specs=(P(), spec, spec, spec), out_specs=P("data", "heads")
      )
      found.append(
        jax.jit(jax.grad(lambda *a: jnp.sum(by_shard(*a)), argnums))(temperature, *sharded)
      )
  for gradients in found:
    for one, other in zip(gradients, expected, strict=True):
      np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("normaliser", ["softmax", "softpick", "relu", "sparsemax"])
def test_traces_under_every_flag(normaliser):
  def trace(dtype, batch=(), heads=1):
    arrays = [jax.ShapeDtypeStruct((*batch, *array.shape), dtype) for array in _small(heads=heads)]
    bias = BIAS[:heads].astype("f4")
    options = {"length_scale": 1.0, "key_lengths": np.full(batch, 4), "bias": bias}
    options |= {"sink": SINK[:heads].astype("f4")} if normaliser == "softmax" else {}

    def total(*arrays):
      found = attention(*arrays, normaliser=normaliser, causal=True, block_size=BLOCK, **options)
      assert found.shape == (*batch, T, heads, E) and found.dtype == dtype
      return jnp.sum(found.astype(jnp.float32))

    found = jax.eval_shape(jax.grad(total, argnums=(0, 1, 2)), *arrays)
    assert all(array.dtype == dtype for array in found)

  with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
    trace(jnp.float32, (2, 3), heads=2)
    trace(jnp.bfloat16)
  with jax.enable_x64(True):
    trace(jnp.float32)


def test_no_queries_and_no_keys():
  query, key, value = _small()
  none = key[:0], value[:0]
  assert jax.eval_shape(attention, query[:0], key, value).shape == (0, 1, E)

  @jax.jit
  def run(query):
    gradient = jax.grad(lambda q: jnp.sum(attention(q, *none)))(query)
    return *attention(query, *none, return_log_normaliser=True), gradient

  outputs, log_total, gradient = run(query)
  np.testing.assert_array_equal(outputs, np.zeros((T, 1, E)))
  np.testing.assert_array_equal(log_total, -np.inf)
  np.testing.assert_array_equal(gradient, 0)


def test_the_reference_equals_numpy_and_returns_weights():
  cases = list(CASES_OF_HEADS.values())[:2]
  with jax.enable_x64(True):
    run = jax.jit(lambda *arrays: [reference(*arrays, **options) for options, _ in cases])
    found = run(QUERY, KEY, VALUE)
  for (outputs, weights, _), (_, of_oracle) in zip(found, cases, strict=True):
    np.testing.assert_allclose(outputs, _oracle(QUERY, KEY, VALUE, **of_oracle)[0], atol=1e-11)
    combined = np.einsum("bhts,bshe->bthe", weights, np.repeat(VALUE, 2, 2))
    np.testing.assert_allclose(outputs, combined, atol=1e-11)


@pytest.mark.parametrize("normaliser", ["softmax", "softpick"])
def test_a_score_that_excludes_all_keys_of_a_query(normaliser):
  query, key, value = _small()
  query[:2] = 0
  options = {"score": lambda z: jnp.where(z == 0, -jnp.inf, z), "normaliser": normaliser}
  run = jax.jit(
    lambda *arrays: (
      attention(*arrays, **options, return_log_normaliser=True),
      reference(*arrays, **options),
    )
  )
  (ours, log_total), (outputs, weights, _) = jax.device_get(run(query, key, value))
  np.testing.assert_allclose(ours, outputs, atol=1e-6)
  np.testing.assert_array_equal(ours[:2], 0)
  np.testing.assert_array_equal(weights[:, :2], 0)
  empty = -np.inf if normaliser == "softmax" else np.log(1e-6)
  np.testing.assert_allclose(log_total[:2], empty, rtol=1e-6)


def test_softpick_has_one_gradient_at_a_score_of_zero():
  query, key, value = _small()
  key[2] = 0

  options = {"normaliser": "softpick", "causal": True}
  ours = functools.partial(attention, **options, block_size=BLOCK)
  plain = lambda *arrays: reference(*arrays, **options)[0]  # noqa: E731
  run = jax.jit(lambda *arrays: [_differentiate(of, *arrays)[1] for of in (ours, plain)])
  for one, expected in zip(*run(query, key, value), strict=True):
    np.testing.assert_allclose(one, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"key": KEY[..., :2]}, r"they must be \[..., T, H, D\]"),
    ({"key": KEY[:, :4]}, r"they must be"),
    ({"key": KEY[:, :, [0, 1, 1]], "value": VALUE[:, :, [0, 1, 1]]}, "must divide the former"),
    ({"key": KEY[:, :4], "value": VALUE[:, :4], "causal": True}, "Got 4 keys for 5 queries"),
    ({"score": lambda z: z - z.max(-1, keepdims=True)}, "not elementwise"),
    ({"score": lambda z: z.sum()}, "not elementwise"),
    ({"score": functools.partial(functional.soft_cap_score, cap=-1.0)}, "Got cap=-1.0"),
    ({"score": "taylor"}, "Got score='taylor'; it must be a function"),
    ({"normaliser": "tanh"}, "it must be one of softmax, softpick"),
    ({"normaliser": ["softmax"]}, "it must be one of softmax, softpick"),
    ({"where": np.zeros((T, S))}, "as bias="),
    ({"normaliser": "sigmoid", "sink": 0.0}, "softmax alone has one"),
    ({"normaliser": "relu", "return_log_normaliser": True}, "alone have one"),
    ({"block_size": 4}, r"it must be \(queries, keys\)"),
    ({"where": np.ones((B, T, S), bool)}, r"Got where of shape \(2, 5, 7\)"),
    ({"bias": np.zeros((3, T, S))}, r"Got bias of shape \(3, 5, 7\)"),
    ({"sink": np.zeros(3)}, "one a head"),
    ({"key_lengths": np.zeros(3, int)}, "Got key_lengths of shape"),
    ({"query": QUERY.astype(int)}, "it must hold floats"),
    ({"query": jnp.asarray(QUERY, jnp.bfloat16)}, "give all of them one type"),
    ({"normaliser": lambda scores, where: scores[..., 0]}, "makes weights of shape"),
  ],
)
def test_bad_input_is_refused(change, message):
  given = {"query": QUERY, "key": KEY, "value": VALUE}
  given = {name: np.asarray(array, np.float32) for name, array in given.items()} | {
    name: array.astype(np.float32)
    if isinstance(array, np.ndarray) and array.dtype == np.float64
    else array
    for name, array in change.items()
  }
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(lambda: attention(**given))


def test_a_score_that_couples_keys_by_what_it_learns_is_refused():
  arrays = _small()

  def total(constant, couple):
    score = lambda z: constant * z - couple * constant * z.mean()  # noqa: E731
    return jnp.sum(attention(*arrays, score=score))

  for transform in (jax.jit, jax.grad):
    with pytest.raises(ValueError, match="not elementwise"):
      jax.eval_shape(transform(functools.partial(total, couple=1)), 1.0)
  jax.eval_shape(jax.jit(functools.partial(total, couple=0)), 1.0)


def test_second_derivatives_are_refused():
  query, key, value = _small()

  def total(query):
    return jnp.sum(attention(query, key, value) ** 2)

  with pytest.raises(NotImplementedError, match="attention import reference"):
    jax.eval_shape(jax.grad(lambda q: jnp.sum(jax.grad(total)(q))), query)
  assert functional.attention is attention
