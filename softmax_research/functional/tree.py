"""Tree: a hierarchy with the classes at its leaves, as static index arrays."""

import dataclasses
import functools

import numpy as np
import numpy.typing as npt

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

    Returns:
      The tree.

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
    """Build a tree from nodes that are already in the order of a `Tree`, unchecked.

    Args:
      parents: as the attribute.
      leaves: as the attribute.

    Returns:
      The tree.

    Example:
      >>> Tree.from_breadth_first(np.array([-1, 0, 0]), np.array([1, 2])).depth
      1
    """
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
  """Raise a ValueError unless a tree can have so many classes.

  Example:
    >>> check_tree_classes(10)
  """
  if not 1 <= num_classes <= _MAX_CLASSES:
    raise ValueError(
      f"Got {num_classes} classes; a tree has between 1 and 2**30 of them, so that its nodes can "
      "be counted in int32."
    )


def check_integers(name: str, values: npt.ArrayLike) -> np.ndarray:
  """Return a list of integers as an array, or raise a TypeError.

  Example:
    >>> check_integers("groups", [1, 0])
    array([1, 0])
  """
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
