"""The index arrays of a tree: numbering, levels, what is left out and what is rejected."""

import numpy as np
import pytest

from softmax_research.functional import Tree, balanced_tree

# A root (6) with a leaf (0), an only child's chain (4, 5, 1), and a node (2) of two leaves.
PARENTS = [6, 5, 6, 2, 6, 4, -1, 2]
LEAVES = [3, 1, 0, 7]


def test_nodes_are_numbered_level_by_level_with_siblings_together():
  tree = Tree.from_parents(PARENTS, LEAVES)
  # In the order of the children: 0, 2, then 4 in whose place stands its only descendant 1.
  np.testing.assert_array_equal(tree.parents, [-1, 0, 0, 0, 2, 2])
  np.testing.assert_array_equal(tree.first_child, [1, 4, 4, 6, 6, 6, 6])
  np.testing.assert_array_equal(tree.leaves, [4, 3, 1, 5])
  np.testing.assert_array_equal(tree.classes, [-1, 2, -1, 1, 0, 3])
  np.testing.assert_array_equal(tree.path_lengths, [2, 1, 1, 2])
  assert tree.level_starts == (0, 1, 4, 6)
  assert tree.level_widths == (3, 2)
  assert (tree.num_classes, tree.num_nodes, tree.num_inner, tree.depth) == (4, 6, 2, 2)
  assert not tree.is_binary and tree.num_rows == 5


def test_any_numbering_of_the_nodes_gives_the_same_paths():
  rng = np.random.default_rng(0)
  tree = balanced_tree(23, branching=3)
  names = rng.permutation(tree.num_nodes)
  parents = np.full(tree.num_nodes, -1)
  parents[names[1:]] = names[tree.parents[1:]]
  shuffled = Tree.from_parents(parents, names[tree.leaves])
  np.testing.assert_array_equal(shuffled.path_lengths, tree.path_lengths)
  assert shuffled.level_starts == tree.level_starts
  # The leaves below each node stay together: walk up from each leaf and compare the sets.
  assert _clades(shuffled) == _clades(tree)


def _clades(tree):
  below = [set() for _ in range(tree.num_nodes)]
  for label, node in enumerate(tree.leaves):
    while node >= 0:
      below[node].add(label)
      node = tree.parents[node]
  return {frozenset(classes) for classes in below}


def test_a_chain_above_the_root_is_left_out():
  tree = Tree.from_parents([-1, 0, 1, 2, 2], [3, 4])
  np.testing.assert_array_equal(tree.parents, [-1, 0, 0])
  assert tree.is_binary and tree.num_rows == 1


def test_a_single_class_is_a_root_without_choices():
  tree = Tree.from_parents([-1], [0])
  assert (tree.depth, tree.num_rows, tree.num_inner) == (0, 0, 0)
  assert tree.level_widths == () and tree.path_lengths.tolist() == [0]


def test_a_tree_is_static():
  tree, other = balanced_tree(4), balanced_tree(4)
  assert hash(tree) != hash(other) and tree != other and tree == tree
  with pytest.raises(ValueError, match="read-only"):
    tree.parents[0] = 3


@pytest.mark.parametrize(
  ("parents", "leaves", "message"),
  [
    ([0, 0, 0], [1, 2], "0 nodes without a parent"),
    ([-1, -1, 0, 0, 1, 1], [2, 3, 4, 5], "2 nodes without a parent"),
    ([-1, 0, 5], [1, 2], "the parent 5"),
    ([-1, 0, -2], [1, 2], "the parent -2"),
    ([-1, 0, 0, 4, 3, 3, 4], [1, 2, 5, 6], "a cycle of parents: node 3"),
    ([-1, 0, 0, 3], [1, 2], "node 3"),
    ([-1, 0, 0], [1], "0 classes at node 2, which has no children"),
    ([-1, 0, 0], [1, 1], "2 classes at node 1"),
    ([-1, 0, 0], [0, 1, 2], "1 classes at node 0, which has children"),
    ([-1, 0, 0], [1, 3], "the leaf 3"),
    ([-1], [], "0 classes"),
  ],
)
def test_what_is_no_tree_is_rejected(parents, leaves, message):
  with pytest.raises(ValueError, match=message):
    Tree.from_parents(parents, leaves)


@pytest.mark.parametrize(("parents", "leaves"), [([-1.0, 0.0], [1]), ([[-1, 0]], [1])])
def test_what_is_no_list_of_integers_is_rejected(parents, leaves):
  with pytest.raises(TypeError, match="list of integers"):
    Tree.from_parents(parents, leaves)
