"""Trees given by the user: classes in groups, or a whole taxonomy as nested lists."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from softmax_research.functional.tree import Tree, check_integers, check_tree_classes


def two_level_tree(groups: Sequence[Sequence[int]] | npt.ArrayLike) -> Tree:
  r"""Build the tree of a class's group, then the class within its group.

  .. math:: p(k \mid x) = p(g(k) \mid x) \, p(k \mid g(k), x)

  About sqrt(K) groups of about sqrt(K) classes make the shortest work. A group of a single class
  becomes a leaf beside the other groups, and a single group the flat tree, plain softmax.

  Args:
    groups: each class's group, an array `[K]` of any integers; or the groups as lists of classes,
      in which every class from 0 to K - 1 stands once.

  Returns:
    The tree. Groups given as numbers are ordered by them, and their classes ascend; lists keep
    their order.

  Raises:
    ValueError: there is no class, a group is empty, or a class is missing or stands twice.
    TypeError: a group or a class is not an integer.

  Example:
    >>> two_level_tree([[0, 3], [1, 2, 4]])
    Tree(num_classes=5, num_nodes=8, depth=2)
    >>> two_level_tree([7, 9, 9, 7, 9])
    Tree(num_classes=5, num_nodes=8, depth=2)

  Reference:
    Goodman 2001, "Classes for Fast Maximum Entropy Training" (arXiv cs/0108006).
  """
  if len(groups) and np.ndim(groups[0]):
    members = [check_integers("a group", group) for group in groups]
    sizes = np.array([len(group) for group in members])
    if not np.all(sizes):
      raise ValueError(f"Got an empty group, number {np.argmin(sizes)}; leave it out.")
    classes = np.concatenate(members)
  else:
    numbers = check_integers("groups", groups)
    classes = np.argsort(numbers, kind="stable")
    sizes = np.unique(numbers, return_counts=True)[1]
  _check_classes(classes)
  # Node 0 is the root, then come the groups, then the classes.
  group_nodes = 1 + np.arange(len(sizes))
  parents = np.concatenate([[-1], np.zeros(len(sizes), int), np.repeat(group_nodes, sizes)])
  leaves = np.empty(len(classes), np.int64)
  leaves[classes] = 1 + len(sizes) + np.arange(len(classes))
  return Tree.from_parents(parents, leaves)


def taxonomy_tree(nested: Sequence[Any] | Mapping[Any, Any]) -> Tree:
  r"""Build the tree of a taxonomy, nested as deep as it may be.

  A node with a single child has nothing to decide and is left out.

  Args:
    nested: lists, tuples or dictionaries (whose keys are names, unused) of the same or of
      classes; every class from 0 to K - 1 stands once.

  Returns:
    The tree; children keep the order in which they stand.

  Raises:
    ValueError: a list is empty, stands twice or within itself, or a class is missing or stands
      twice.
    TypeError: something in it is neither a list, a tuple, a dictionary nor an integer.

  Example:
    >>> taxonomy_tree({"vehicle": [0, 1, 8, 9], "animal": {"bird": 2, "other": [3, 4, 5, 6, 7]}})
    Tree(num_classes=10, num_nodes=14, depth=3)

  Reference:
    Morin & Bengio 2005, "Hierarchical Probabilistic Neural Network Language Model" (AISTATS),
    for a tree from WordNet's taxonomy.
  """
  queue, parents = [nested], [-1]
  leaf_nodes, classes, seen = [], [], set()
  # The queue grows while it is read: breadth-first, and no recursion that a deep nest exhausts.
  for node, item in enumerate(queue):
    if isinstance(item, int | np.integer) and not isinstance(item, bool):
      leaf_nodes.append(node)
      classes.append(item)
      continue
    if not isinstance(item, list | tuple | Mapping):
      raise TypeError(
        f"Got {item!r} in a taxonomy; it may hold lists, tuples, dictionaries and integers."
      )
    if not item:
      raise ValueError(f"Got an empty {type(item).__name__} in a taxonomy; leave it out.")
    if id(item) in seen:
      raise ValueError(
        f"Got a {type(item).__name__} of {len(item)} that stands twice in a taxonomy, or within "
        "itself (a cycle); each part must stand once."
      )
    seen.add(id(item))
    children = item.values() if isinstance(item, Mapping) else item
    queue.extend(children)
    parents.extend([node] * len(item))
  classes = np.array(classes)
  _check_classes(classes)
  leaves = np.empty(len(classes), np.int64)
  leaves[classes] = leaf_nodes
  return Tree.from_parents(parents, leaves)


def _check_classes(classes: np.ndarray) -> None:
  """Raise an error unless every class from 0 to K - 1 stands once."""
  check_tree_classes(len(classes))
  wrong = classes[(classes < 0) | (classes >= len(classes))]
  counts = np.bincount(classes[(classes >= 0) & (classes < len(classes))], minlength=len(classes))
  if np.any(counts > 1):
    raise ValueError(
      f"Got the class {np.argmax(counts)} {np.max(counts)} times; each class must stand once."
    )
  if wrong.size:
    raise ValueError(
      f"Got the class {wrong[0]} among {len(classes)} classes, of which {np.argmin(counts)} is "
      f"missing; every class from 0 to {len(classes) - 1} must stand once."
    )
