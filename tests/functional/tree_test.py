"""Trees and their builders."""

import heapq
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softmax_research.functional import (
  Tree,
  balanced_tree,
  huffman_tree,
  taxonomy_tree,
  two_level_tree,
)

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


@pytest.mark.parametrize("branching", [2, 3, 7])
@pytest.mark.parametrize("num_classes", [1, 2, 3, 8, 9, 10, 49, 50, 100])
def test_balanced_paths_differ_by_at_most_one(num_classes, branching):
  tree = balanced_tree(num_classes, branching=branching)
  shortest = next(d for d in range(10) if branching**d >= num_classes)
  assert tree.depth == shortest
  assert set(tree.path_lengths) <= {shortest, max(shortest - 1, 0)}
  short = tree.arities[(tree.arities > 0) & (tree.arities < branching)]
  assert len(short) <= 1 and np.all(short >= 2)


def test_balanced_classes_stand_from_left_to_right():
  tree = balanced_tree(11, branching=3)
  position = np.zeros(tree.num_nodes)
  for node in range(1, tree.num_nodes):
    parent = tree.parents[node]
    share = 3.0 ** -(np.searchsorted(tree.level_starts, node, side="right") - 1)
    position[node] = position[parent] + share * (node - tree.first_child[parent])
  assert np.all(np.diff(position[tree.leaves]) > 0)


def test_a_flat_tree_keeps_the_classes_order():
  for tree in (balanced_tree(5, branching=5), huffman_tree([3, 1, 2, 9, 0], branching=8)):
    assert tree.depth == 1
    np.testing.assert_array_equal(tree.leaves, [1, 2, 3, 4, 5])


def _heap_cost(counts, branching):
  """Returns the total weight of all merges: the optimal sum of count times depth."""
  counts = list(counts)
  while len(counts) > 1 and (len(counts) - 1) % (branching - 1):
    counts.append(0)
  heapq.heapify(counts)
  cost = 0
  while len(counts) > 1:
    merged = sum(heapq.heappop(counts) for _ in range(branching))
    cost += merged
    heapq.heappush(counts, merged)
  return cost


@settings(max_examples=200, deadline=None)
@given(
  st.lists(st.integers(0, 30) | st.integers(0, 10**9), min_size=1, max_size=60),
  st.integers(2, 5),
)
def test_huffman_is_optimal(counts, branching):
  tree = huffman_tree(counts, branching=branching)
  assert np.dot(tree.path_lengths, counts) == _heap_cost(counts, branching)
  assert tree.num_classes == len(counts)


def test_huffman_is_optimal_for_many_classes():
  counts = np.random.default_rng(0).zipf(1.2, 20000) % 10**6
  for branching in (2, 3):
    tree = huffman_tree(counts, branching=branching)
    assert np.dot(tree.path_lengths, counts) == _heap_cost(counts.tolist(), branching)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_the_expected_binary_path_is_within_a_bit_of_the_entropy(exponent):
  counts = np.arange(1, 1001) ** -exponent
  probabilities = counts / counts.sum()
  entropy = -np.sum(probabilities * np.log2(probabilities))
  expected = np.dot(huffman_tree(counts).path_lengths, probabilities)
  assert entropy <= expected < entropy + 1


def test_rarer_classes_never_have_shorter_paths():
  counts = np.random.default_rng(1).integers(0, 50, 300)
  lengths = huffman_tree(counts, branching=3).path_lengths
  longest_of_commoner = [lengths[counts > count].max(initial=0) for count in counts]
  assert np.all(lengths >= longest_of_commoner)


def test_classes_that_never_occur_have_paths_too():
  lengths = huffman_tree([0] * 1024 + [7]).path_lengths
  assert lengths[-1] == 1 and set(lengths[:-1]) == {11}
  assert set(huffman_tree(np.zeros(8)).path_lengths) == {3}


def test_ties_are_broken_the_same_way_each_time():
  counts = [1, 1, 2, 2, 2, 4]
  first, second = huffman_tree(counts), huffman_tree(np.array(counts, np.float32))
  np.testing.assert_array_equal(first.leaves, second.leaves)
  # Classes before merged nodes: 2 and 3 are merged although 0 and 1 together weigh as little.
  assert first.path_lengths.tolist() == [3, 3, 3, 3, 2, 2]


def test_weights_that_double_make_the_longest_path():
  tree = huffman_tree(2.0 ** np.arange(40))
  assert tree.depth == 39
  assert math.isclose(np.sum(2.0**-tree.path_lengths), 1)


@pytest.mark.parametrize("branching", [1, 0, -2, 2.0, True, None])
def test_bad_branching(branching):
  with pytest.raises(ValueError, match="branching="):
    balanced_tree(4, branching=branching)
  with pytest.raises(ValueError, match="branching="):
    huffman_tree([1, 2], branching=branching)


@pytest.mark.parametrize("num_classes", [0, -3, 2**31, 4.0, True])
def test_bad_numbers_of_classes(num_classes):
  with pytest.raises(ValueError, match="classes"):
    balanced_tree(num_classes)


@pytest.mark.parametrize("counts", [[], [1, -1], [1, np.nan], [np.inf, 1], [[1, 2]], 3])
def test_bad_counts(counts):
  with pytest.raises(ValueError, match=r"counts|classes"):
    huffman_tree(counts)


def test_groups_as_lists_and_as_numbers_make_the_same_tree():
  lists = two_level_tree([[0, 3], [1, 2, 4]])
  for numbers in ([7, 9, 9, 7, 9], np.array([-1, 0, 0, -1, 0], np.int8)):
    tree = two_level_tree(numbers)
    np.testing.assert_array_equal(tree.parents, lists.parents)
    np.testing.assert_array_equal(tree.leaves, lists.leaves)
  np.testing.assert_array_equal(lists.leaves, [3, 5, 6, 4, 7])


def test_groups_keep_the_order_of_the_lists():
  tree = two_level_tree([np.array([4, 1]), (3, 0, 2)])
  np.testing.assert_array_equal(tree.leaves, [6, 4, 7, 5, 3])


def test_a_group_of_one_class_is_a_leaf_beside_the_groups():
  tree = two_level_tree([[0, 1], [2], [3, 4]])
  np.testing.assert_array_equal(tree.path_lengths, [2, 2, 1, 2, 2])
  np.testing.assert_array_equal(tree.leaves, [4, 5, 2, 6, 7])


@pytest.mark.parametrize("groups", [[[0, 1, 2, 3]], [5, 5, 5, 5], [[0], [1], [2], [3]]])
def test_one_group_or_groups_of_one_make_the_flat_tree(groups):
  tree = two_level_tree(groups)
  assert tree.depth == 1
  np.testing.assert_array_equal(tree.leaves, [1, 2, 3, 4])


def test_a_single_class():
  assert two_level_tree([[0]]).depth == two_level_tree([3]).depth == taxonomy_tree(0).depth == 0


def test_lists_tuples_and_dictionaries_nest():
  tree = taxonomy_tree({"animal": [2, (0, np.int64(5))], "plant": {"tree": 1, "herb": [3, 4]}})
  np.testing.assert_array_equal(tree.parents, [-1, 0, 0, 1, 1, 2, 2, 4, 4, 6, 6])
  np.testing.assert_array_equal(tree.leaves, [7, 5, 3, 9, 10, 8])


def test_an_only_child_takes_its_parents_place():
  tree = taxonomy_tree([[[1]], 2, [[0, [3]]]])
  np.testing.assert_array_equal(tree.leaves, [4, 1, 2, 5])
  assert tree.num_nodes == 6


def test_a_two_level_tree_is_a_taxonomy():
  groups = [[0, 3], [5], [1, 2, 4]]
  np.testing.assert_array_equal(two_level_tree(groups).parents, taxonomy_tree(groups).parents)
  np.testing.assert_array_equal(two_level_tree(groups).leaves, taxonomy_tree(groups).leaves)


def test_depth_is_no_matter_of_recursion():
  nested = 0
  for label in range(1, 3000):
    nested = [nested, label]
  assert taxonomy_tree(nested).depth == 2999


def _cycle():
  nested = [0, 1]
  nested.append([2, nested])
  return nested


_PART = [0, 1]


@pytest.mark.parametrize(
  ("nested", "message"),
  [
    (_cycle(), "a cycle"),
    ([_PART, [2, _PART]], "stands twice"),
    ([0, [1, 1]], "the class 1 2 times"),
    ([0, [1, 3]], "the class 3 among 3 classes, of which 2 is missing"),
    ([0, [1, -1]], "the class -1 among 3 classes"),
    ([0, []], "an empty list"),
    ({}, "an empty dict"),
  ],
)
def test_what_is_no_taxonomy_is_rejected(nested, message):
  with pytest.raises(ValueError, match=message):
    taxonomy_tree(nested)


@pytest.mark.parametrize("nested", [[0, 1.0], [0, "1"], [0, None], [0, True], {0: {1, 2}}])
def test_other_types_are_rejected(nested):
  with pytest.raises(TypeError, match="in a taxonomy"):
    taxonomy_tree(nested)


@pytest.mark.parametrize(
  ("groups", "error", "message"),
  [
    ([], ValueError, "0 classes"),
    ([[0, 1], []], ValueError, "an empty group, number 1"),
    ([[0, 1], [1, 2]], ValueError, "the class 1 2 times"),
    ([[0, 1], [3, 4]], ValueError, "2 is missing"),
    ([[0, 1], [2.0, 3.0]], TypeError, "list of integers"),
    ([0.0, 1.0], TypeError, "list of integers"),
    ([[0, 1], 2], TypeError, "list of integers"),
  ],
)
def test_what_are_no_groups_is_rejected(groups, error, message):
  with pytest.raises(error, match=message):
    two_level_tree(groups)
