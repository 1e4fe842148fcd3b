"""Search in trees against exhaustive log-probabilities."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from softmax_research.functional import (
  balanced_tree,
  huffman_tree,
  taxonomy_tree,
  tree_greedy,
  tree_init,
  tree_log_probs,
  tree_top_k,
  two_level_tree,
)

TREES = {
  "binary": balanced_tree(37),
  "huffman": huffman_tree(np.arange(30) ** 3),
  "ternary": balanced_tree(50, branching=3),
  "two levels": two_level_tree(np.arange(40) // 7),
  "uneven": taxonomy_tree([3, [0, [4, 1, 9, 10], [[11, 7], 2]], [5, 13], [6, 8, 12]]),
  "flat": balanced_tree(6, branching=6),
  "pair": balanced_tree(2),
  "single": balanced_tree(1),
}


def _example(tree, scale, num_examples=8):
  params = tree_init(jax.random.key(0), 5, tree)
  params = jax.tree.map(lambda value: scale * value, params)
  return scale * jax.random.normal(jax.random.key(1), (num_examples, 5)), params


@pytest.mark.parametrize(
  ("name", "frontier"),
  [*((name, 128) for name in TREES), ("binary", 1), ("ternary", 1), ("uneven", 1)],
)
def test_top_k_equals_exhaustive_search(name, frontier, monkeypatch):
  # With a frontier of one node the search must go deep and still forget nothing.
  monkeypatch.setattr("softmax_research.functional.tree_search._FRONTIER", frontier)
  tree = TREES[name]
  features, params = _example(tree, scale=2.0)
  few = min(3, tree.num_classes)

  @jax.jit
  def search(features, params):
    return tuple(tree_top_k(features, params, tree, k) for k in (few, tree.num_classes))

  expected = jax.jit(functools.partial(tree_log_probs, tree=tree))(features, params)
  for found in search(features, params):
    k = found.classes.shape[-1]
    log_probs, classes = jax.lax.top_k(expected, k)
    np.testing.assert_array_equal(found.classes, classes)
    np.testing.assert_allclose(found.log_probs, log_probs, rtol=1e-5, atol=1e-6)
    assert np.all(found.num_visited <= tree.num_nodes - 1)
  # All classes cannot be found without a visit to every node.
  np.testing.assert_array_equal(found.num_visited, tree.num_nodes - 1)


@pytest.mark.parametrize("name", TREES)
def test_greedy_follows_the_most_probable_children(name):
  tree = TREES[name]
  features, params = _example(tree, scale=1.0)
  found = jax.jit(functools.partial(tree_greedy, tree=tree))(features, params)
  log_probs = np.asarray(jax.jit(functools.partial(tree_log_probs, tree=tree))(features, params))
  for example, probabilities in enumerate(np.exp(np.float64(log_probs))):
    below = np.zeros(tree.num_nodes)
    below[tree.leaves] = probabilities
    for node in range(tree.num_nodes - 1, 0, -1):
      below[tree.parents[node]] += below[node]
    node, visited = 0, 0
    while tree.arities[node]:
      first = tree.first_child[node]
      visited += tree.arities[node]
      node = first + np.argmax(below[first : first + tree.arities[node]])
    assert found.classes[example] == tree.classes[node]
    assert found.num_visited[example] == visited
    np.testing.assert_allclose(
      found.log_probs[example], log_probs[example, tree.classes[node]], rtol=1e-5, atol=1e-6
    )


def test_a_confident_model_visits_little_more_than_a_path():
  tree = balanced_tree(2**14)
  features, params = _example(tree, scale=6.0)
  found = jax.jit(lambda f, p: tree_top_k(f, p, tree))(features, params)
  assert np.mean(found.num_visited) < 4 * tree.depth


def test_a_model_that_has_learnt_nothing_is_searched_to_the_end():
  tree = balanced_tree(300)  # More open nodes than the frontier holds.
  params = {"kernel": jnp.zeros((299, 1)), "bias": jnp.full(299, 1e-3)}
  found = jax.jit(lambda f, p: tree_top_k(f, p, tree, k=2))(jnp.ones(1), params)
  expected, _ = jax.lax.top_k(tree_log_probs(jnp.ones(1), params, tree), 2)
  np.testing.assert_allclose(found.log_probs, expected, rtol=1e-6)
  assert found.num_visited > 500


def test_no_exact_search_expands_fewer_nodes():
  tree = TREES["ternary"]
  features, params = _example(tree, scale=1.0)
  found = jax.jit(lambda f, p: tree_top_k(f, p, tree, k=4))(features, params)
  log_probs = np.asarray(jax.jit(functools.partial(tree_log_probs, tree=tree))(features, params))
  for example, probabilities in enumerate(np.exp(np.float64(log_probs))):
    below = np.zeros(tree.num_nodes)
    below[tree.leaves] = probabilities
    for node in range(tree.num_nodes - 1, 0, -1):
      below[tree.parents[node]] += below[node]
    bound = np.sort(probabilities)[-4]
    needed = tree.arities[(tree.arities > 0) & (below > bound)].sum()
    assert found.num_visited[example] == needed


def test_examples_sharded_over_explicit_axes():
  tree = TREES["uneven"]
  features, params = _example(tree, scale=2.0)
  log_probs, classes = jax.lax.top_k(tree_log_probs(features, params, tree), 2)
  mesh = jax.make_mesh((8,), ("batch",), axis_types=(AxisType.Explicit,))
  with jax.set_mesh(mesh):
    features = jax.device_put(features, NamedSharding(mesh, PartitionSpec("batch")))
    found = jax.jit(lambda x, p: tree_top_k(x, p, tree, 2))(features, params)
    greedy = tree_greedy(features, params, tree)
  assert found.classes.sharding.spec[0] == "batch"
  np.testing.assert_array_equal(found.classes, classes)
  np.testing.assert_allclose(found.log_probs, log_probs, rtol=1e-5)
  assert np.all(np.asarray(greedy.log_probs) <= np.asarray(log_probs)[:, 0] + 1e-5)


def test_shapes_and_types():
  tree = TREES["two levels"]
  features, params = _example(tree, scale=1.0, num_examples=6)
  search = jax.jit(lambda f, p: (tree_top_k(f, p, tree, k=2), tree_greedy(f, p, tree)))
  flat, greedy = search(features, params)
  many, many_greedy = search(features.reshape(2, 3, 5), params)
  np.testing.assert_array_equal(many.classes.reshape(6, 2), flat.classes)
  np.testing.assert_array_equal(many_greedy.classes.ravel(), greedy.classes)
  none, none_greedy = search(features[:0], params)
  assert none.classes.shape == (0, 2) and none_greedy.num_visited.shape == (0,)
  half = jax.eval_shape(search, features.astype(jnp.bfloat16), jax.tree.map(jnp.bfloat16, params))
  assert all(found.log_probs.dtype == jnp.bfloat16 for found in half)
  with jax.enable_x64(True):
    wide, wide_greedy = search(*jax.tree.map(jnp.float64, (features, params)))
  assert wide.log_probs.dtype == wide_greedy.log_probs.dtype == jnp.float64
  np.testing.assert_array_equal(wide.classes, flat.classes)


@pytest.mark.parametrize("name", ["binary", "uneven"])
def test_features_that_are_nan_give_nan(name):
  tree = TREES[name]
  features, params = _example(tree, scale=1.0, num_examples=2)
  features = features.at[0, 0].set(jnp.nan)
  found, greedy = jax.jit(lambda f: (tree_top_k(f, params, tree, 2), tree_greedy(f, params, tree)))(
    features
  )
  np.testing.assert_array_equal(np.isnan(found.log_probs), [[True, True], [False, False]])
  np.testing.assert_array_equal(np.isnan(greedy.log_probs), [True, False])


@pytest.mark.parametrize("k", [0, 38, -1, 2.0, True])
def test_bad_k(k):
  tree = TREES["binary"]
  features, params = _example(tree, scale=1.0)
  with pytest.raises(ValueError, match="between 1 and 37"):
    tree_top_k(features, params, tree, k)
