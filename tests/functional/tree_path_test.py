"""Paths and the rows that they need, against walks in plain Python."""

import functools

import jax
import numpy as np
import pytest

from softmax_research.functional import (
  balanced_tree,
  huffman_tree,
  taxonomy_tree,
  tree_label_rows,
  two_level_tree,
)
from softmax_research.functional.tree_path import path_siblings, path_units, walk

TREES = [
  huffman_tree(np.arange(20) ** 3),
  balanced_tree(31, branching=4),
  taxonomy_tree([3, [0, [4, 1, 9, 10], [[11, 7], 2]], [5, 13], [6, 8, 12]]),
  two_level_tree(np.arange(17) // 3),
]


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


@pytest.mark.parametrize("tree", TREES)
def test_walks(tree):
  labels = np.arange(tree.num_classes)
  paths = _paths(tree)
  walked = np.asarray(walk(tree, labels))
  expected = [path + [0] * (tree.depth - len(path)) for path in paths]
  np.testing.assert_array_equal(walked, expected)
  first, count = map(np.asarray, path_siblings(tree, walked))
  for label, path in enumerate(paths):
    for depth, node in enumerate(path):
      siblings = np.flatnonzero(tree.parents == tree.parents[node])
      assert siblings[0] == first[label, depth] and len(siblings) == count[label, depth]


def test_units_are_the_inner_nodes_in_their_order():
  tree = TREES[0]
  inner = np.flatnonzero(tree.arities).tolist()
  units = np.asarray(path_units(walk(tree, np.arange(tree.num_classes))))
  for label, path in enumerate(_paths(tree)):
    expected = [inner.index(tree.parents[node]) for node in path]
    assert units[label, : len(path)].tolist() == expected


@pytest.mark.parametrize("tree", TREES)
@pytest.mark.parametrize("labels", [[0], [4, 4, 4], [[11, 2], [7, 13]], list(range(14))])
def test_rows(tree, labels):
  rows = np.asarray(jax.jit(lambda y: tree_label_rows(tree, y))(np.array(labels)))
  paths = _paths(tree)
  choosing = {int(tree.parents[node]) for label in np.ravel(labels) for node in paths[label]}
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
  assert tree_label_rows(balanced_tree(1), [0, 0]).shape == (0,)
  empty = np.zeros(0, np.int32)
  assert tree_label_rows(TREES[1], empty).tolist() == [0, 1, 2, 3]
