"""Paths, the rows that they need and their log-probabilities, against walks in plain Python."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from softmax_research.functional import (
  balanced_tree,
  huffman_tree,
  taxonomy_tree,
  tree_label_log_prob,
  tree_label_rows,
  tree_path,
  two_level_tree,
)
from tests.functional import tree_oracle

TREES = {
  "huffman": huffman_tree(np.arange(1, 31) ** 4),
  "wide": balanced_tree(31, branching=4),
  "uneven": taxonomy_tree([*tree_oracle.UNEVEN, [12, 13]]),
  "groups": two_level_tree(np.arange(17) // 3),
}
LABELS = np.array([13, 0, 13, 3, 12, 1, 11])
WEIGHTS = np.array([0.5, -1.25, 2.0, 0.75, -0.25, 1.5, -1.0])  # Exact in bfloat16 too.


@functools.cache
def _paths(tree):
  """Returns each class's nodes from depth 1 down."""
  paths = []
  for node in tree.leaves:
    path = []
    while node:
      path.append(int(node))
      node = tree.parents[node]
    paths.append(path[::-1])
  return paths


@pytest.mark.parametrize("name", TREES)
def test_walks(name):
  tree = TREES[name]
  walk = jax.jit(functools.partial(tree_path.walk, tree))
  walked = np.asarray(walk(np.arange(tree.num_classes)))
  expected = [path + [0] * (tree.depth - len(path)) for path in _paths(tree)]
  np.testing.assert_array_equal(walked, expected)
  if tree.is_binary:
    inner = np.flatnonzero(tree.arities)
    units = np.searchsorted(inner, tree.parents[walked])
    found = np.asarray(tree_path.path_units(walked))
    np.testing.assert_array_equal(found[walked > 0], units[walked > 0])


@pytest.mark.parametrize("name", TREES)
def test_rows(name):
  tree = TREES[name]
  list_rows = jax.jit(functools.partial(tree_label_rows, tree))
  for labels in ([[0, 0], [0, 0]], [[4, 4], [9, 4]], [[11, 2], [7, 13]]):
    rows = np.asarray(list_rows(np.array(labels)))
    choosing = {int(tree.parents[node]) for y in np.ravel(labels) for node in _paths(tree)[y]}
    if tree.is_binary:
      expected = sorted(np.flatnonzero(tree.arities).tolist().index(node) for node in choosing)
    else:
      expected = [node - 1 for node in range(1, tree.num_nodes) if tree.parents[node] in choosing]
    assert rows[: len(expected)].tolist() == expected
    assert set(rows[len(expected) :]) <= {tree.num_rows}
    assert len(rows) <= tree.num_rows


def test_rows_grow_with_the_paths_alone():
  small, large = balanced_tree(2**10), balanced_tree(2**16)
  groups = two_level_tree(np.arange(10**4) // 100)
  shapes = [
    jax.eval_shape(functools.partial(tree_label_rows, tree), np.arange(4)).shape
    for tree in (small, large, groups)
  ]
  # Below the root of a binary tree are two nodes to choose at, for however many labels.
  assert shapes == [(3 + 4 * 8,), (3 + 4 * 14,), (100 + 4 * 100,)]


def test_rows_without_labels_or_choices():
  none = jax.eval_shape(lambda: tree_label_rows(balanced_tree(1), [0, 0]))
  assert none.shape == (0,)
  rows = jax.jit(functools.partial(tree_label_rows, TREES["wide"]))(np.zeros(0, np.int32))
  assert rows.tolist() == [0, 1, 2, 3]
  # The rows of no label are those of the root alone, fewer than a group may have.
  tree, none = two_level_tree([0, 0, 0, 1, 1]), np.zeros(0, np.int32)
  rows = jax.jit(functools.partial(tree_label_rows, tree))(none)
  some = {"kernel": np.zeros((len(rows), 3)), "bias": np.zeros(len(rows))}
  of_none = jax.jit(lambda x, some: tree_label_log_prob(x, some, tree, none, rows=rows))
  assert of_none(np.zeros((0, 3)), some).shape == (0,)


@pytest.fixture(params=[4, 1000], ids=["many blocks", "one block"])
def block(request, monkeypatch):
  """Makes blocks so small that there are many, or so large that there is one."""
  for name in ("_CPU_BLOCK", "_GPU_BLOCK"):
    monkeypatch.setattr(tree_path, name, request.param)
  monkeypatch.setattr(tree_path, "_FEW_NUMBERS", 0)
  return request.param


@pytest.fixture
def many_blocks(monkeypatch):
  for name in ("_CPU_BLOCK", "_GPU_BLOCK"):
    monkeypatch.setattr(tree_path, name, 4)
  monkeypatch.setattr(tree_path, "_FEW_NUMBERS", 0)


def _example(tree, dtype=np.float64):
  given = tree_oracle.example(tree.num_rows, batch=(len(LABELS),), num_features=3)
  return jax.tree.map(lambda value: value.astype(dtype), given)


def _expected(tree, features, params, labels=LABELS):
  """Returns log-probabilities at the labels, and the gradients of their weighted sum."""
  weights = np.zeros((len(labels), tree.num_classes))
  weights[np.arange(len(labels)), labels] = WEIGHTS
  log_probs, *gradients = tree_oracle.log_probs_and_gradients(
    tree_oracle.nest(tree), features, params, weights
  )
  return log_probs[np.arange(len(labels)), labels], *gradients


def _ours(tree):
  """Returns `(features, params, labels) -> values and gradients`, the latter of all rows."""

  def run(features, params, labels):
    rows = tree_label_rows(tree, labels)
    some = {name: value.at[rows].get(mode="clip") for name, value in params.items()}

    def loss(features, some):
      log_prob = tree_label_log_prob(features, some, tree, labels, rows=rows)
      return WEIGHTS.astype(log_prob.dtype) @ log_prob, log_prob

    (of_features, of_some), value = jax.grad(loss, (0, 1), has_aux=True)(features, some)
    of_params = {
      n: jnp.zeros_like(v).at[rows].add(of_some[n], mode="drop") for n, v in params.items()
    }
    return value, of_features, of_params

  return run


def _label_log_prob_text(tree, *example):
  """Returns the program of the labels' log-probabilities from all rows, given as such."""
  rows = np.arange(tree.num_rows)
  return str(
    jax.make_jaxpr(lambda x, p: tree_label_log_prob(x, p, tree, LABELS, rows=rows))(*example)
  )


def _assert_close(found, expected, **tolerance):
  for ours, exact in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
    np.testing.assert_allclose(np.asarray(ours, np.float64), exact, **tolerance)


@pytest.mark.parametrize("name", ["wide", "groups"])
def test_the_rows_of_the_paths_suffice(name):
  features, params = _example(TREES[name])
  with jax.enable_x64(True):
    found = jax.jit(_ours(TREES[name]))(features, params, LABELS)
  _assert_close(found, _expected(TREES[name], features, params), rtol=1e-12, atol=1e-13)


def test_binary_paths_in_blocks(block):
  tree = TREES["huffman"]
  features, params = _example(tree)
  run = _ours(tree)
  with jax.enable_x64(True):
    assert "custom_vjp_call" in _label_log_prob_text(tree, features, params)
    found = jax.jit(run)(features, params, LABELS)
  _assert_close(found, _expected(tree, features, params), rtol=1e-12, atol=1e-13)
  # What is past the leaves makes no blocks.

  @jax.jit
  def count_blocks():
    path = tree_path.walk(tree, LABELS)
    return path, tree_path._choices(path)[1]

  path, num_blocks = count_blocks()
  expected = -(-tree.path_lengths[LABELS].sum() // block)
  assert num_blocks == expected
  assert block == 1000 or expected < -(-path.size // block)


def test_small_batches_of_even_trees_take_no_blocks():
  tree = balanced_tree(32)
  features, params = _example(tree)
  run = _ours(tree)
  with jax.enable_x64(True):
    assert "custom_vjp_call" not in _label_log_prob_text(tree, features, params)
    found = jax.jit(run)(features, params, LABELS)
  _assert_close(found, _expected(tree, features, params), rtol=1e-12, atol=1e-13)


def test_second_derivatives_of_blocks_in_forward_mode(many_blocks):
  tree = TREES["huffman"]
  features, params = _example(tree)
  with jax.enable_x64(True):

    @jax.jit
    def second(features, params):
      return jax.jvp(lambda x: _ours(tree)(x, params, LABELS)[1], (features,), (features,))[1]

    found = np.asarray(second(features, params))
  near = [_expected(tree, (1 + step) * features, params)[1] for step in (1e-5, -1e-5)]
  np.testing.assert_allclose(found, np.subtract(*near) / 2e-5, rtol=1e-6, atol=1e-8)
  assert np.linalg.norm(found) > 0.1


def test_vmap_over_parameters_and_labels_of_blocks(many_blocks):
  tree = TREES["huffman"]
  features, params = _example(tree, np.float32)
  labels = np.stack([LABELS, LABELS[::-1]])
  seeds = jax.tree.map(lambda value: np.stack([value, 2 * value]), params)
  found = jax.device_get(jax.jit(jax.vmap(functools.partial(_ours(tree), features)))(seeds, labels))
  for i in range(2):
    given = jax.tree.map(lambda value, i=i: np.float64(value[i]), seeds)
    expected = _expected(tree, np.float64(features), given, labels[i])
    _assert_close(jax.tree.map(lambda x, i=i: x[i], found), expected, rtol=2e-5, atol=1e-5)


def test_examples_of_blocks_sharded_by_shard_map(many_blocks):
  tree = TREES["huffman"]
  features, params = _example(tree)
  mesh = jax.make_mesh(
    (7,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices("cpu")
  )
  rows = np.asarray(jax.jit(functools.partial(tree_label_rows, tree))(LABELS))

  @jax.jit
  @jax.grad
  def gradient(some):
    @functools.partial(jax.shard_map, mesh=mesh, in_specs=(P(), *[P("data")] * 3), out_specs=P())
    def loss(some, features, labels, weights):
      log_prob = tree_label_log_prob(features, some, tree, labels, rows=rows)
      return jax.lax.psum(weights @ log_prob, "data")

    return loss(some, features, LABELS, WEIGHTS)

  held = rows[rows < tree.num_rows]
  with jax.enable_x64(True):
    some = {name: value[rows.clip(max=tree.num_rows - 1)] for name, value in params.items()}
    found = jax.device_get(gradient(some))
  *_, expected = _expected(tree, features, params)
  for name in params:
    np.testing.assert_allclose(
      found[name][: len(held)], expected[name][held], rtol=1e-12, atol=1e-13
    )


def test_half_precision_in_blocks_is_summed_in_float32(many_blocks):
  tree = TREES["huffman"]
  features, params = _example(tree)
  half = jax.tree.map(lambda value: value.astype(jnp.bfloat16), (features, params))
  found = jax.jit(_ours(tree))(*half, LABELS)
  _assert_close(found, _expected(tree, features, params), rtol=2**-8, atol=1e-6)
  assert {leaf.dtype.name for leaf in jax.tree.leaves(found)} == {"bfloat16"}
