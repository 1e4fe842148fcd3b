"""Search in trees and samples of them, against exhaustive log-probabilities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from scipy import stats

from softmax_research.functional import (
  balanced_tree,
  huffman_tree,
  taxonomy_tree,
  tree_init,
  tree_log_probs,
  tree_prediction,
  tree_sample,
  tree_top_k,
)
from tests.functional import tree_oracle

TREES = {
  "huffman": huffman_tree(np.arange(30) ** 3),
  "ternary": balanced_tree(50, branching=3),
  "uneven": taxonomy_tree(tree_oracle.UNEVEN),
  "flat": balanced_tree(6, branching=6),
  "single": balanced_tree(1),
}

NUM_SAMPLES = 10_000


def _example(tree, scale, batch=(2, 4)):
  features, params = tree_oracle.example(tree.num_rows, batch=batch, num_features=5, scale=scale)
  return jax.tree.map(np.float32, (features, params))


def _exhaustive(tree, features, params):
  """Returns log-probabilities `[N, K]`, and probabilities of all nodes `[N, num_nodes]`."""
  exact = jax.tree.map(np.float64, (features.reshape(-1, features.shape[-1]), params))
  weights = np.zeros((features.size // features.shape[-1], tree.num_classes))
  log_probs, *_ = tree_oracle.log_probs_and_gradients(tree_oracle.nest(tree), *exact, weights)
  below = np.zeros((len(log_probs), tree.num_nodes))
  below[:, tree.leaves] = np.exp(log_probs)
  for node in range(tree.num_nodes - 1, 0, -1):
    below[:, tree.parents[node]] += below[:, node]
  return log_probs, below


def _check_top_k(found, log_probs, k):
  order = np.argsort(-log_probs, axis=-1)[:, :k]
  np.testing.assert_array_equal(found.classes.reshape(-1, k), order)
  expected = np.take_along_axis(log_probs, order, axis=-1)
  np.testing.assert_allclose(found.log_probs.reshape(-1, k), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", TREES)
def test_a_search_finds_what_an_exhaustive_one_does_and_visits_no_more_than_it_must(name):
  tree = TREES[name]
  features, params = _example(tree, scale=1.0)
  log_probs, below = _exhaustive(tree, features, params)
  k = min(3, tree.num_classes)
  found = jax.jit(lambda f, p: tree_top_k(f, p, tree, k))(features, params)
  _check_top_k(found, log_probs, k)
  bound = np.sort(log_probs)[:, -k]
  for n, probs in enumerate(below):
    # No exact search expands fewer nodes than those more probable than the last class found.
    needed = (tree.arities > 0) & ((np.log(probs) > bound[n] + 1e-9) | (np.arange(len(probs)) == 0))
    assert found.num_visited.ravel()[n] == tree.arities[needed].sum()


@pytest.mark.parametrize("name", ["huffman", "uneven"])
def test_a_crowded_search_goes_deep_and_forgets_nothing(name, monkeypatch):
  monkeypatch.setattr(tree_prediction, "_FRONTIER", 1)
  tree = TREES[name]
  features, params = _example(tree, scale=1.0)
  log_probs, _ = _exhaustive(tree, features, params)
  few, every = jax.jit(lambda f, p: [tree_top_k(f, p, tree, k) for k in (3, tree.num_classes)])(
    features, params
  )
  _check_top_k(few, log_probs, 3)
  _check_top_k(every, log_probs, tree.num_classes)
  # All classes cannot be found without a visit to every node.
  np.testing.assert_array_equal(every.num_visited, tree.num_nodes - 1)


def test_impossible_classes_are_none_and_nan_stays():
  tree = TREES["huffman"]
  features, params = _example(tree, scale=1.0)
  params["bias"][1:4] = -np.inf, np.inf, -np.inf
  some_nan = features.copy()
  some_nan[0, 0] = np.nan

  @jax.jit
  def run(params):
    found = tree_top_k(some_nan, params, tree, tree.num_classes)
    return tree_log_probs(features, params, tree), found

  log_probs, found = jax.device_get(run(params))
  np.testing.assert_allclose(found.log_probs[0, 1:], -np.sort(-log_probs[0, 1:]), rtol=1e-5)
  possible = np.sum(log_probs[1] > -np.inf, axis=-1)
  assert np.all(possible < tree.num_classes)
  np.testing.assert_array_equal(np.sum(found.classes[1] >= 0, axis=-1), possible)
  assert np.all(np.isnan(found.log_probs[0, 0]))


def test_what_a_model_has_learnt_decides_how_many_nodes_are_visited():
  tree = balanced_tree(300)  # More open nodes than the frontier holds.
  search = jax.jit(lambda f, p: tree_top_k(f, p, tree, k=2))
  features, params = _example(tree, scale=6.0, batch=(8,))
  confident = search(6 * features, params)
  assert np.mean(confident.num_visited) < 4 * tree.depth
  params = {"kernel": np.zeros_like(params["kernel"]), "bias": np.full(299, np.float32(1e-3))}
  ignorant = search(features, params)
  expected = np.sort(_exhaustive(tree, features, params)[0])[:, :-3:-1]
  np.testing.assert_allclose(ignorant.log_probs, expected, rtol=1e-6)
  assert np.all(ignorant.num_visited > 500)


def test_examples_sharded_over_explicit_axes():
  tree = TREES["uneven"]
  features, params = _example(tree, scale=2.0, batch=(8,))
  log_probs, _ = _exhaustive(tree, features, params)
  mesh = jax.make_mesh(
    (8,), ("batch",), axis_types=(AxisType.Explicit,), devices=jax.devices("cpu")
  )
  with jax.set_mesh(mesh):
    features = jax.device_put(features, NamedSharding(mesh, PartitionSpec("batch")))
    found = jax.jit(lambda x, p: tree_top_k(x, p, tree, 2))(features, params)
  assert found.classes.sharding.spec[0] == "batch"
  _check_top_k(jax.device_get(found), log_probs, 2)


@pytest.mark.parametrize("name", ["huffman", "uneven"])
def test_shapes_and_types(name):
  tree = TREES[name]

  def search(batch, dtype=jnp.float32):
    features = jax.ShapeDtypeStruct((*batch, 5), dtype)
    params = jax.eval_shape(lambda: tree_init(jax.random.key(0), 5, tree))
    params = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, dtype), params)
    found = jax.eval_shape(lambda f, p: tree_top_k(f, p, tree, k=2), features, params)
    assert found.log_probs.shape == found.classes.shape == (*batch, 2)
    assert found.num_visited.shape == batch
    assert found.classes.dtype == jnp.int32
    return found.log_probs.dtype

  assert search(()) == search((0,)) == jnp.float32
  assert search((3,), jnp.bfloat16) == jnp.bfloat16
  with jax.enable_x64(True):
    assert search((3,), jnp.float64) == jnp.float64


@pytest.mark.parametrize("name", ["huffman", "uneven"])
def test_features_that_are_nan_give_nan(name):
  tree = TREES[name]
  features, params = _example(tree, scale=1.0, batch=(2,))
  features[0, 0] = np.nan
  found = jax.jit(lambda f: tree_top_k(f, params, tree, 2))(features)
  np.testing.assert_array_equal(np.isnan(found.log_probs), [[True, True], [False, False]])


@pytest.mark.parametrize("k", [0, 51, -1, 2.0, True])
def test_bad_k(k):
  tree = TREES["ternary"]
  with pytest.raises(ValueError, match="between 1 and 50"):
    tree_top_k(*_example(tree, scale=1.0), tree, k)


@pytest.mark.parametrize("name", TREES)
def test_classes_are_drawn_by_their_probabilities(name):
  tree = TREES[name]
  features, params = _example(tree, scale=0.4, batch=(2,))

  @jax.jit
  def draw(features, params):
    many = jnp.broadcast_to(features, (NUM_SAMPLES, *features.shape))
    classes = tree_sample(jax.random.key(0), many, params, tree)
    return classes, tree_log_probs(features, params, tree)

  classes, each = jax.device_get(draw(features, params))
  assert classes.shape == (NUM_SAMPLES, 2) and classes.dtype == np.int32
  for drawn, log_probs in zip(classes.T, each, strict=True):
    expected = NUM_SAMPLES * np.exp(np.float64(log_probs))
    observed = np.bincount(drawn, minlength=tree.num_classes)
    assert len(observed) == tree.num_classes
    rare = expected < 5
    both = [np.append(x[~rare], x[rare].sum()) for x in (observed, expected)]
    assert abs(both[0][-1] - both[1][-1]) < 4 * np.sqrt(both[1][-1] + 1)
    if tree.num_classes > 1:
      observed, expected = (x[:-1] / x[:-1].sum() for x in both)
      assert stats.chisquare(NUM_SAMPLES * observed, NUM_SAMPLES * expected).pvalue > 0.01


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_samples_on_a_mesh(kind):
  tree = TREES["uneven"]
  features, params = _example(tree, scale=1.0)

  @jax.jit
  def draw(features, params):
    return tree_sample(jax.random.key(0), features, params, tree)

  expected = draw(features, params)
  mesh = jax.make_mesh((2,), ("batch",), (kind,), devices=jax.devices("cpu")[:2])
  with jax.set_mesh(mesh):
    rows = NamedSharding(mesh, PartitionSpec("batch"))
    whole = NamedSharding(mesh, PartitionSpec())
    found = draw(jax.device_put(features, rows), jax.device_put(params, whole))
  np.testing.assert_array_equal(found, expected)
