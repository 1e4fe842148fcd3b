"""Trees from groups and from nested taxonomies: what they become and what is rejected."""

import numpy as np
import pytest

from softmax_research.functional import taxonomy_tree, two_level_tree


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
