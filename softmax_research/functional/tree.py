"""Tree: a hierarchy with the classes at its leaves, as static index arrays; and its builders."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from softmax_research.functional.arrays import check_integer, is_integer

# A tree of K leaves has up to 2K - 1 nodes, which are counted in int32.
_MAX_CLASSES = 2**30


@dataclasses.dataclass(frozen=True, eq=False)
class Tree:
  r"""Hold a tree whose leaves are the classes.

  Nodes are numbered breadth-first from the root, 0, so that each level and the children of each
  node are runs of consecutive numbers. Every inner node has at least two children. Memory is
  O(K), and no path is stored: a path is walked from its leaf upwards.

  The arrays are NumPy's and belong to the program, not to its data: close over a tree, or name
  it in `static_argnums` (it hashes by identity, so build it once). Make one with
  `balanced_tree`, `huffman_tree`, `two_level_tree`, `taxonomy_tree` or `Tree.from_parents`.

  Attributes:
    parents: each node's parent, `[num_nodes]`; -1 at the root.
    first_child: the children of node i are numbered from `first_child[i]` up to, but without,
      `first_child[i + 1]`; `[num_nodes + 1]`.
    leaves: each class's leaf, `[K]`.
    level_starts: the nodes of depth d are numbered from `level_starts[d]` up to, but without,
      `level_starts[d + 1]`.

  Example:
    >>> tree = Tree.from_parents([-1, 0, 0, 2, 2], leaves=[3, 1, 4])
    >>> tree
    Tree(num_classes=3, num_nodes=5, depth=2)
    >>> tree.path_lengths
    array([2, 1, 2])
  """

  parents: np.ndarray
  first_child: np.ndarray
  leaves: np.ndarray
  level_starts: tuple[int, ...]

  @classmethod
  def from_parents(cls, parents: npt.ArrayLike, leaves: npt.ArrayLike) -> "Tree":
    """Build a tree from each node's parent and each class's leaf.

    The nodes may be numbered in any order; children keep it among themselves. A node with a
    single child has nothing to decide and is left out.

    Args:
      parents: integers `[num_nodes]`, -1 at the root and nowhere else.
      leaves: integers `[K]`, the node of each class.

    Raises:
      TypeError: the parents or the leaves are not integers.
      ValueError: there is not one root, a parent or a leaf does not exist, the nodes without
        children are not the leaves of the classes, or the parents run in a cycle.

    Example:
      >>> Tree.from_parents([-1, 0, 0], leaves=[2, 1]).leaves
      array([2, 1], dtype=int32)
    """
    parents, leaves = check_integers("parents", parents), check_integers("leaves", leaves)
    check_tree_classes(len(leaves))
    _check_parents(parents)
    _check_leaves(parents, leaves)
    order = _breadth_first(parents)
    spliced, leaves = _splice(parents, leaves)
    if len(spliced) < len(parents):
      order = _breadth_first(spliced)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    parents = spliced[order]
    parents[1:] = rank[parents[1:]]
    return cls.from_breadth_first(parents, rank[leaves])

  @classmethod
  def from_breadth_first(cls, parents: np.ndarray, leaves: np.ndarray) -> "Tree":
    """Build a tree from nodes that are already in the order of a `Tree`, unchecked."""
    arities = np.bincount(parents[1:], minlength=len(parents))
    first_child = np.concatenate([[1], 1 + np.cumsum(arities)])
    starts = [0, 1]
    while starts[-1] < len(parents):
      starts.append(int(first_child[starts[-1]]))
    arrays = [array.astype(np.int32) for array in (parents, first_child, leaves)]
    for array in arrays:
      array.setflags(write=False)
    return cls(*arrays, tuple(starts))

  def __repr__(self) -> str:
    return f"Tree(num_classes={self.num_classes}, num_nodes={self.num_nodes}, depth={self.depth})"

  @property
  def num_classes(self) -> int:
    """Number of classes, K."""
    return len(self.leaves)

  @property
  def num_nodes(self) -> int:
    """Number of nodes: the root, the inner nodes and the leaves."""
    return len(self.parents)

  @property
  def depth(self) -> int:
    """Length of the longest path from the root to a leaf, in edges."""
    return len(self.level_starts) - 2

  @property
  def num_inner(self) -> int:
    """Number of inner nodes, those with children."""
    return self.num_nodes - self.num_classes

  @property
  def is_binary(self) -> bool:
    """Whether every inner node has two children."""
    return self.num_inner == self.num_classes - 1

  @property
  def num_rows(self) -> int:
    """Number of rows of parameters: one an inner node if binary, else one a child."""
    return self.num_inner if self.is_binary else self.num_nodes - 1

  @functools.cached_property
  def arities(self) -> np.ndarray:
    """Each node's number of children, `[num_nodes]`."""
    return np.diff(self.first_child)

  @functools.cached_property
  def classes(self) -> np.ndarray:
    """Each leaf's class, `[num_nodes]`; -1 at the root and the inner nodes."""
    classes = np.full(self.num_nodes, -1, np.int32)
    classes[self.leaves] = np.arange(self.num_classes)
    return classes

  @functools.cached_property
  def path_lengths(self) -> np.ndarray:
    """Each class's number of edges from the root, `[K]`."""
    return np.searchsorted(self.level_starts, self.leaves, side="right") - 1

  @functools.cached_property
  def level_widths(self) -> tuple[int, ...]:
    """For each depth but the last, the most children that one of its nodes has."""
    return tuple(np.maximum.reduceat(self.arities, self.level_starts[:-1])[:-1].tolist())


def check_tree_classes(num_classes: int) -> None:
  """Raise a ValueError unless a tree can have so many classes."""
  if not 1 <= num_classes <= _MAX_CLASSES:
    raise ValueError(
      f"Got {num_classes} classes; a tree has between 1 and 2**30 of them, so that its nodes can "
      "be counted in int32."
    )


def check_integers(name: str, values: npt.ArrayLike) -> np.ndarray:
  """Return a list of integers as an array, or raise a TypeError."""
  values = np.asarray(values)
  if values.ndim != 1 or not (np.issubdtype(values.dtype, np.integer) or values.size == 0):
    raise TypeError(
      f"Got {name} of type {values.dtype} and shape {values.shape}; pass a list of integers."
    )
  return values.astype(np.int64)


def _check_parents(parents: np.ndarray) -> None:
  wrong = parents[(parents < -1) | (parents >= len(parents))]
  if wrong.size:
    raise ValueError(
      f"Got the parent {wrong[0]} in a tree of {len(parents)} nodes; a parent is the number of a "
      "node, or -1 at the root."
    )
  if np.sum(parents == -1) != 1:
    raise ValueError(
      f"Got {np.sum(parents == -1)} nodes without a parent; a tree has one, its root: join the "
      "parts under one more node, or break the cycle."
    )


def _check_leaves(parents: np.ndarray, leaves: np.ndarray) -> None:
  num_nodes = len(parents)
  wrong = leaves[(leaves < 0) | (leaves >= num_nodes)]
  if wrong.size:
    raise ValueError(f"Got the leaf {wrong[0]} in a tree of {num_nodes} nodes.")
  has_children = np.bincount(parents[parents >= 0], minlength=num_nodes) > 0
  num_classes = np.bincount(leaves, minlength=num_nodes)
  wrong = np.flatnonzero(num_classes != ~has_children)
  if wrong.size:
    found = "children" if has_children[wrong[0]] else "no children"
    raise ValueError(
      f"Got {num_classes[wrong[0]]} classes at node {wrong[0]}, which has {found}; the nodes "
      "without children must be the leaves of the classes, one each."
    )


def _breadth_first(parents: np.ndarray) -> np.ndarray:
  """Return the nodes level by level, the children of each together and in their order."""
  children = np.argsort(parents, kind="stable")
  arities = np.bincount(parents[parents >= 0], minlength=len(parents))
  starts = 1 + np.cumsum(arities) - arities
  levels = [children[:1]]
  while levels[-1].size:
    counts = arities[levels[-1]]
    offsets = np.repeat(starts[levels[-1]] - (np.cumsum(counts) - counts), counts)
    levels.append(children[offsets + np.arange(len(offsets))])
  order = np.concatenate(levels)
  if len(order) < len(parents):
    stray = np.setdiff1d(np.arange(len(parents)), order)[0]
    raise ValueError(f"Got a cycle of parents: node {stray} cannot be reached from the root.")
  return order


def _splice(parents: np.ndarray, leaves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Let each only child take its parent's place."""
  only = (parents >= 0) & (np.bincount(parents[parents >= 0], minlength=len(parents)) == 1)[parents]
  place = np.where(only, parents, np.arange(len(parents)))
  while np.any(only[place]):
    place = place[place]
  rank = np.cumsum(~only) - 1
  return np.where(parents >= 0, rank[place[parents]], -1)[~only], rank[place[leaves]]


def balanced_tree(num_classes: int, *, branching: int = 2) -> Tree:
  r"""Build the balanced tree: all paths are as short as they can be, within one edge.

  The classes keep their order from left to right, so each inner node stands for a range of
  neighbouring classes. Every inner node has `branching` children, but for one that has what is
  left. A branching of at least K gives the flat tree, plain softmax.

  Args:
    num_classes: K, at least 1.
    branching: children of an inner node, at least 2.

  Returns:
    A tree of depth ceil(log K / log branching).

  Raises:
    ValueError: the number of classes or the branching is not an integer in range.

  Example:
    >>> balanced_tree(6).path_lengths
    array([3, 3, 3, 3, 2, 2])

  Reference:
    Morin & Bengio 2005, "Hierarchical Probabilistic Neural Network Language Model" (AISTATS),
    for binary trees.
  """
  check_integer("num_classes", num_classes)
  check_tree_classes(num_classes)
  branching = _check_branching(branching)
  # The numbering of a heap; each inner node adds branching - 1 to the leaves, rounded up.
  num_inner = -(-(num_classes - 1) // (branching - 1))
  nodes = np.arange(num_inner + num_classes)
  parents = (nodes - 1) // branching
  start, width = 0, 1  # of the deepest level, whose leaves are the leftmost
  while start + width < len(nodes):
    start, width = start + width, width * branching
  leaves = np.concatenate([nodes[start:], nodes[num_inner:start]])
  return Tree.from_breadth_first(parents, leaves)


def huffman_tree(counts: npt.ArrayLike, *, branching: int = 2) -> Tree:
  r"""Build the Huffman tree, which has the shortest expected path of all trees.

  .. math:: \sum_k p_k \, \mathrm{depth}(k), \qquad p_k = \frac{n_k}{\sum_j n_j}

  The rarest nodes are merged, `branching` at a time, until one is left; the first merge takes
  fewer where that lets all others be full. For binary trees the expected path is between the
  entropy of the counts, in bits, and one more. Of equal counts the older node is merged first,
  classes before merged nodes and in their order, so the tree is deterministic and the longest
  path no longer than it must be.

  Args:
    counts: how often each class occurs, `[K]`, at least 0; any unit.
    branching: children of an inner node, at least 2.

  Raises:
    ValueError: the counts are not a list of at least one finite number >= 0, or the branching is
      below 2.

  Example:
    >>> huffman_tree([5, 1, 1, 2]).path_lengths
    array([1, 3, 3, 2])

  Reference:
    Huffman 1952, "A Method for the Construction of Minimum-Redundancy Codes"; Mikolov et al.
    2013, "Distributed Representations of Words and Phrases and their Compositionality"
    (arXiv 1310.4546), for its use as an output layer.
  """
  counts = np.asarray(counts, np.float64)
  if counts.ndim != 1 or not np.all((counts >= 0) & np.isfinite(counts)):
    raise ValueError(
      f"Got counts of shape {counts.shape} that are not all finite and at least 0; pass one "
      "number a class, how often it occurs."
    )
  check_tree_classes(len(counts))
  branching = _check_branching(branching)
  nodes = np.argsort(counts, kind="stable")
  weights, num_nodes = counts[nodes], len(counts)
  num_inner = -(-(len(counts) - 1) // (branching - 1))
  parents = np.full(num_nodes + num_inner, -1, np.int64)
  size = len(counts) - (num_inner - 1) * (branching - 1)  # of the first merge
  while len(nodes) > 1:
    # A merged node weighs at least as much as the first one. So all nodes up to that weight are
    # merged among themselves, in order, and can be so at once: some log K rounds in NumPy
    # replace K steps in Python.
    limit = np.searchsorted(weights, np.sum(weights[:size]), side="right")
    merges = 1 if size < branching else limit // size
    merged = np.arange(num_nodes, num_nodes + merges)
    parents[nodes[: merges * size]] = np.repeat(merged, size)
    merged_weights = np.sum(weights[: merges * size].reshape(merges, size), axis=1)
    nodes = np.concatenate([nodes[merges * size :], merged])
    weights = np.concatenate([weights[merges * size :], merged_weights])
    order = np.argsort(weights, kind="stable")
    nodes, weights = nodes[order], weights[order]
    num_nodes, size = num_nodes + merges, branching
  return Tree.from_parents(parents, np.arange(len(counts)))


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
    members = [check_integers("a group", group).tolist() for group in groups]
    if [] in members:
      raise ValueError(f"Got an empty group, number {members.index([])}; leave it out.")
  else:
    numbers = check_integers("groups", groups)
    check_tree_classes(len(numbers))
    classes = np.argsort(numbers, kind="stable")
    starts = np.unique(numbers[classes], return_index=True)[1]
    members = [group.tolist() for group in np.split(classes, starts[1:])]
  return taxonomy_tree(members)


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
    if is_integer(item):
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


def _check_branching(branching: int) -> int:
  check_integer("branching", branching, 2, remedy="It is the number of children of a node.")
  return int(branching)
