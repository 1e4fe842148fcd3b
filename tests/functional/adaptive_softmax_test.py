"""Adaptive softmax and its cutoffs."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from softmax_research.functional import (
  adaptive_cutoffs,
  adaptive_softmax_init,
  adaptive_softmax_label_log_prob,
  adaptive_softmax_log_probs,
  log_softmax,
)
from tests.derivatives import check_derivatives

RNG = np.random.default_rng(0)
K, CUTOFFS = 23, (4, 10)
FEATURES = RNG.normal(size=(11, 8))
LABELS = np.array([0, 3, 4, 9, 10, 22, 22, 15, 7, 1, 10])  # all edges of the clusters
PARAMS = {
  "head": {"kernel": RNG.normal(size=(8, 6)), "bias": RNG.normal(size=6)},
  "tails": [
    {"projection": RNG.normal(size=(8, 4)), "kernel": RNG.normal(size=(4, 6))},
    {"projection": RNG.normal(size=(8, 2)), "kernel": RNG.normal(size=(2, 13))},
  ],
}
# Blocks of examples that do not divide them, and of classes: one for a cluster, two for the other.
TILE = (3, 7)


def _log_softmax(logits):
  return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def _oracle(features, params):
  head = _log_softmax(features @ params["head"]["kernel"] + params["head"]["bias"])
  parts = [head[:, :4]]
  for i, tail in enumerate(params["tails"]):
    within = _log_softmax(features @ tail["projection"] @ tail["kernel"])
    parts.append(head[:, 4 + i, None] + within)
  return np.concatenate(parts, axis=1)


def test_log_probs_of_all_classes_and_of_labels():
  weights = np.arange(11.0)

  def plain(features, params):
    log_probs = adaptive_softmax_log_probs(features, params)
    return weights @ log_probs[np.arange(11), LABELS], log_probs

  def of_labels(features, params, tile):
    log_prob = adaptive_softmax_label_log_prob(features, params, LABELS, tile=tile)
    return weights @ log_prob, log_prob

  @jax.jit
  def run(*arguments):
    found = [functools.partial(of_labels, tile=tile) for tile in (None, TILE)]
    return [jax.grad(one, argnums=(0, 1), has_aux=True)(*arguments) for one in (plain, *found)]

  with jax.enable_x64(True):
    (expected, log_probs), *found = jax.device_get(run(FEATURES, PARAMS))
  np.testing.assert_allclose(log_probs, _oracle(FEATURES, PARAMS), rtol=1e-13)
  np.testing.assert_allclose(np.exp(log_probs).sum(-1), 1, rtol=1e-13)
  for gradients, log_prob in found:
    np.testing.assert_allclose(log_prob, log_probs[np.arange(11), LABELS], rtol=1e-13)
    jax.tree.map(
      lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12),
      gradients,
      expected,
    )


def test_clusters_that_one_tile_does_not_hold_are_visited_in_tiles():
  def program(tile):
    def ours(features):
      return adaptive_softmax_label_log_prob(features, PARAMS, LABELS, tile=tile)

    return str(jax.make_jaxpr(ours)(FEATURES))

  assert "[11,13]" in program((11, 13))
  assert "[11,13]" not in program((11, 12)) and "[11,6]" in program((11, 12))


def test_second_order_and_both_modes():
  # The tiles' own derivatives are tested where the tiles are.
  def ours(features, tail):
    params = {"head": {"kernel": PARAMS["head"]["kernel"][:, :5]}, "tails": [tail]}
    return adaptive_softmax_label_log_prob(features, params, LABELS[:4], tile=None)

  check_derivatives(ours, FEATURES[:4], PARAMS["tails"][0])


@pytest.mark.parametrize("bias", [False, True])
def test_against_pytorch(bias):
  torch = pytest.importorskip("torch")
  torch.manual_seed(0)
  peer = torch.nn.AdaptiveLogSoftmaxWithLoss(
    8, K, list(CUTOFFS), div_value=2.0, head_bias=bias, dtype=torch.float64
  )
  features = torch.tensor(FEATURES, requires_grad=True)
  output, loss = peer(features, torch.tensor(LABELS))
  loss.backward()

  def ours_layout(get):
    head = {"kernel": get(peer.head.weight).T} | ({"bias": get(peer.head.bias)} if bias else {})
    tails = [{"projection": get(a.weight).T, "kernel": get(b.weight).T} for a, b in peer.tail]
    return {"head": head, "tails": tails}

  params = ours_layout(lambda weight: weight.detach().numpy())
  init = functools.partial(adaptive_softmax_init, cutoffs=CUTOFFS, factor=2, bias=bias)
  drawn = jax.eval_shape(lambda: init(jax.random.key(0), 8, K))
  assert jax.tree.map(np.shape, drawn) == jax.tree.map(np.shape, params)

  @jax.jit
  @functools.partial(jax.grad, argnums=(0, 1), has_aux=True)
  def run(features, params):
    label_log_prob = adaptive_softmax_label_log_prob(features, params, LABELS)
    log_probs = adaptive_softmax_log_probs(features, params)
    return -label_log_prob.mean(), (label_log_prob, log_probs)

  with jax.enable_x64(True):
    gradients, (label_log_prob, log_probs) = run(FEATURES, params)
  np.testing.assert_allclose(log_probs, peer.log_prob(features).detach(), rtol=1e-12)
  np.testing.assert_allclose(label_log_prob, output.detach(), rtol=1e-12)
  expected = features.grad.numpy(), ours_layout(lambda weight: weight.grad.numpy())
  jax.tree.map(
    lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-14),
    gradients,
    expected,
  )


def test_without_clusters_it_is_softmax():
  labels, kernel = LABELS % 5, RNG.normal(size=(8, 5)).astype(np.float32)

  @jax.jit
  def run(kernel):
    params = {"head": {"kernel": kernel}, "tails": []}
    of_labels = adaptive_softmax_label_log_prob(FEATURES, params, labels)
    return adaptive_softmax_log_probs(FEATURES, params), of_labels, log_softmax(FEATURES @ kernel)

  log_probs, of_labels, expected = run(kernel)
  np.testing.assert_allclose(log_probs, expected, rtol=1e-6)
  np.testing.assert_allclose(of_labels, expected[np.arange(11), labels], rtol=1e-6)


def test_one_class():
  params = {"head": {"kernel": np.ones((8, 1), np.float32)}, "tails": []}
  labels = np.zeros(11, int)
  log_prob = jax.jit(adaptive_softmax_label_log_prob)(FEATURES, params, labels)
  np.testing.assert_array_equal(log_prob, 0)


def test_projections_shrink_by_the_factor_but_not_to_nothing():
  options = {"cutoffs": (2, 4, 8), "factor": 3.0, "bias": True}
  params = jax.eval_shape(
    lambda key: adaptive_softmax_init(key, 10, 9, **options), jax.random.key(0)
  )
  assert [tail["projection"].shape for tail in params["tails"]] == [(10, 3), (10, 1), (10, 1)]
  assert [tail["kernel"].shape for tail in params["tails"]] == [(3, 2), (1, 4), (1, 1)]
  assert params["head"]["kernel"].shape == (10, 5)
  assert params["head"]["bias"].shape == (5,)


@pytest.mark.parametrize("tile", [None, TILE])
def test_labels_out_of_range_give_nan_and_no_gradient(tile):
  labels = LABELS.copy()
  labels[[0, 5]] = -1, K

  @jax.jit
  @functools.partial(jax.grad, has_aux=True)
  def ours(features):
    log_prob = adaptive_softmax_label_log_prob(features, PARAMS, labels, tile=tile)
    return jnp.nansum(log_prob), log_prob

  gradient, log_prob = ours(FEATURES.astype(np.float32))
  assert np.isnan(log_prob).tolist() == [i in (0, 5) for i in range(11)]
  assert np.all(np.isfinite(gradient))
  assert not np.any(gradient[np.array([0, 5])])


def test_small_label_types():
  labels = np.array([0, 250, 255], np.uint8)

  @jax.jit
  def both(key):
    params = adaptive_softmax_init(key, 8, 300, cutoffs=(280,))
    given = [labels.astype(dtype) for dtype in (np.int32, np.uint8)]
    return [adaptive_softmax_label_log_prob(FEATURES[:3], params, one) for one in given]

  wide, narrow = both(jax.random.key(0))
  np.testing.assert_array_equal(narrow, wide)


@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_batch_shapes(shape):
  features = RNG.normal(size=(*shape, 8))
  labels = RNG.integers(K, size=shape)

  @jax.jit
  def run(features):
    of_labels = adaptive_softmax_label_log_prob(features, PARAMS, labels, tile=TILE)
    return adaptive_softmax_log_probs(features, PARAMS), of_labels

  log_probs, of_labels = run(features)
  assert log_probs.shape == (*shape, K)
  picked = np.take_along_axis(np.asarray(log_probs), labels[..., None], -1)[..., 0]
  np.testing.assert_allclose(of_labels, picked, rtol=1e-4)


def test_vmap_is_the_loop():
  features = RNG.normal(size=(3, 11, 8)).astype(np.float32)

  @jax.jit
  def ours(features, labels):
    return adaptive_softmax_label_log_prob(features, PARAMS, labels, tile=TILE)

  labels = np.stack([LABELS, LABELS[::-1], np.zeros(11, int)])
  loop = np.stack([ours(*example) for example in zip(features, labels, strict=True)])
  np.testing.assert_allclose(jax.vmap(ours)(features, labels), loop, rtol=1e-5, atol=1e-5)


def test_batch_sharded_over_a_mesh():
  features = RNG.normal(size=(16, 8)).astype(np.float32)
  labels = RNG.integers(K, size=16)

  def loss(features, params, labels, tile=TILE):
    log_prob = adaptive_softmax_label_log_prob(features, params, labels, tile=tile)
    return log_prob.sum(), log_prob

  plain = jax.jit(jax.grad(functools.partial(loss, tile=None), argnums=1, has_aux=True))
  expected, _ = plain(features, PARAMS, labels)
  for axis_type in (AxisType.Auto, AxisType.Explicit):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(axis_type,), devices=jax.devices("cpu"))
    with jax.set_mesh(mesh):
      batch = jax.device_put((features, labels), NamedSharding(mesh, P("data")))
      params = jax.device_put(jax.tree.map(np.float32, PARAMS), NamedSharding(mesh, P()))
      gradient = jax.jit(jax.grad(loss, argnums=1, has_aux=True))
      gradients, log_prob = gradient(batch[0], params, batch[1])
    oracle = _oracle(features, PARAMS)[np.arange(16), labels]
    np.testing.assert_allclose(log_prob, oracle, rtol=1e-4)
    for one, other in zip(jax.tree.leaves(gradients), jax.tree.leaves(expected), strict=True):
      np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision(dtype):
  features, params = jax.tree.map(lambda a: np.asarray(a, dtype), (FEATURES, PARAMS))
  of_labels = functools.partial(adaptive_softmax_label_log_prob, labels=LABELS, tile=TILE)
  run = jax.jit(lambda *given: (of_labels(*given), adaptive_softmax_log_probs(*given)))
  label_log_prob, log_probs = run(features, params)
  assert label_log_prob.dtype == log_probs.dtype == dtype
  oracle = _oracle(*jax.tree.map(lambda a: np.asarray(a, np.float64), (features, params)))
  tolerance = {"rtol": 2 * float(jnp.finfo(dtype).eps), "atol": 1e-4}
  np.testing.assert_allclose(np.asarray(log_probs, np.float64), oracle, **tolerance)
  picked = oracle[np.arange(11), LABELS]
  np.testing.assert_allclose(np.asarray(label_log_prob, np.float64), picked, **tolerance)
  mixed = jax.eval_shape(of_labels, features, jax.tree.map(np.float32, PARAMS))
  assert mixed.dtype == jnp.float32


@pytest.mark.parametrize(
  ("cutoffs", "message"),
  [
    ((4, 4), "each cluster needs a class"),
    ((10, 4), "each cluster needs a class"),
    ((0, 4), "each cluster needs a class"),
    ((4, 23), "each cluster needs a class"),
    ((4.0,), "must be integers"),
    ((True,), "must be integers"),
    (4, "must be a sequence"),
    ("4,10", "must be a sequence"),
  ],
)
def test_bad_cutoffs(cutoffs, message):
  with pytest.raises(ValueError, match=rf"Got cutoffs=.*{message}.*increasing integers from 1 to"):
    adaptive_softmax_init(jax.random.key(0), 8, K, cutoffs=cutoffs)


def test_more_classes_than_int32_can_number_are_refused():
  with pytest.raises(ValueError, match=r"num_classes=2147483648.*below 2\^31"):
    adaptive_softmax_init(jax.random.key(0), 8, 2**31, cutoffs=CUTOFFS)
  tail = {"projection": np.ones((8, 1)), "kernel": jax.ShapeDtypeStruct((1, 2**31 - 5), "float32")}
  with pytest.raises(ValueError, match=r"num_classes=2147483648.*below 2\^31"):
    jax.eval_shape(
      lambda tail: adaptive_softmax_label_log_prob(FEATURES, PARAMS | {"tails": [tail]}, LABELS),
      tail,
    )


def test_bad_factor():
  with pytest.raises(ValueError, match=r"factor=0\.5.*>= 1"):
    adaptive_softmax_init(jax.random.key(0), 8, K, cutoffs=CUTOFFS, factor=0.5)


@pytest.mark.parametrize("tile", [(0, 4), (4,), 256, (2.0, 4), [4, 5]])
def test_bad_tile(tile):
  with pytest.raises(ValueError, match=r"Got tile=.*\(256, 8192\), or None"):
    adaptive_softmax_label_log_prob(FEATURES, PARAMS, LABELS, tile=tile)


def test_bad_labels():
  with pytest.raises(TypeError, match="negative_log_likelihood on adaptive_softmax_log_probs"):
    adaptive_softmax_label_log_prob(FEATURES, PARAMS, np.ones((11, K)) / K)
  with pytest.raises(ValueError, match=r"integer labels of shape \(3,\)"):
    adaptive_softmax_label_log_prob(FEATURES, PARAMS, LABELS[:3])


@pytest.mark.parametrize(
  ("part", "shape"),
  [(("head", "kernel"), (7, 6)), (("head", "kernel"), (8, 2)), (("head", "bias"), (5,))],
)
def test_bad_head(part, shape):
  head = PARAMS["head"] | {part[1]: np.zeros(shape)}
  with pytest.raises(ValueError, match=r"Got (features|a head) of"):
    adaptive_softmax_log_probs(FEATURES, PARAMS | {"head": head})


def test_bad_tail():
  tail = {"projection": np.zeros((8, 4)), "kernel": np.zeros((3, 6))}
  with pytest.raises(ValueError, match=r"shape \(8, 4\) for a kernel of shape \(3, 6\)"):
    adaptive_softmax_log_probs(FEATURES, PARAMS | {"tails": [tail]})


def _cost(counts, cutoffs, overhead=50, flat=50):
  """The model once more, from its words."""
  probs = np.sort(counts)[::-1] / np.sum(counts)
  bounds = [*cutoffs, len(counts)]
  cost = overhead + max(0, bounds[0] + len(cutoffs) - flat)
  for start, stop in itertools.pairwise(bounds):
    cost += probs[start:stop].sum() * (overhead + max(0, stop - start - flat))
  return cost


@settings(max_examples=60, deadline=None)
@given(
  st.lists(st.integers(0, 50), min_size=2, max_size=9).filter(any),
  st.integers(1, 8),
  st.sampled_from([0.0, 0.5, 2.0]),
  st.sampled_from([0.0, 1.0, 3.0]),
)
def test_no_cutoffs_are_cheaper(counts, num_clusters, overhead, flat):
  num_clusters = min(num_clusters, len(counts) - 1)
  found = adaptive_cutoffs(counts, num_clusters=num_clusters, overhead=overhead, flat=flat)
  assert len(found) == num_clusters
  cost = _cost(counts, found, overhead, flat)
  every = itertools.combinations(range(1, len(counts)), num_clusters)
  least = min(_cost(counts, cutoffs, overhead, flat) for cutoffs in every)
  assert cost == pytest.approx(least, rel=1e-12)


def test_the_default_is_the_cheapest_number_of_clusters():
  counts = 1 / np.arange(1.0, 501)
  costs = {n: _cost(counts, adaptive_cutoffs(counts, num_clusters=n)) for n in range(1, 5)}
  assert _cost(counts, adaptive_cutoffs(counts)) == min(costs.values())
  assert costs[1] > costs[2]  # so that the choice is one


def test_many_classes_cost_within_a_thousandth_of_the_optimum():
  counts = 1 / np.arange(1.0, 200_001)
  cutoffs = adaptive_cutoffs(counts, num_clusters=1)
  # The optimum over every cutoff.
  share = np.cumsum(counts) / counts.sum()
  places = np.arange(1, 200_000)
  rest = 1 - share[places - 1]
  costs = 50 + np.maximum(0, places + 1 - 50) + rest * (50 + np.maximum(0, 200_000 - places - 50))
  assert _cost(counts, cutoffs) <= 1.001 * costs.min()


def test_the_order_of_the_counts_does_not_matter():
  counts = 1 / np.arange(1.0, 301)
  shuffled = np.random.default_rng(0).permutation(counts)
  assert adaptive_cutoffs(shuffled) == adaptive_cutoffs(counts)


def test_one_class_has_no_cluster():
  assert adaptive_cutoffs([3]) == ()


@pytest.mark.parametrize("counts", [[], [0, 0], [1, -1], [1, np.inf], [[1, 2]], 3])
def test_bad_counts(counts):
  with pytest.raises(ValueError, match=r"counts of shape .* they must be a vector"):
    adaptive_cutoffs(counts)


@pytest.mark.parametrize("num_clusters", [0, 3, 1.0, True])
def test_bad_num_clusters(num_clusters):
  with pytest.raises(ValueError, match=r"Got num_clusters=.*integer between 1 and 2.*3 classes"):
    adaptive_cutoffs([3, 2, 1], num_clusters=num_clusters)


@pytest.mark.parametrize("option", ["overhead", "flat"])
def test_bad_model(option):
  with pytest.raises(ValueError, match=f"Got {option}=-1"):
    adaptive_cutoffs([3, 2, 1], **{option: -1})
