"""Trees made for speed: balanced over any number of classes, and Huffman from their counts."""

import numpy as np
import numpy.typing as npt

from softmax_research.functional.tree import Tree, check_tree_classes


def _check_branching(branching: int) -> int:
  if isinstance(branching, bool) or not isinstance(branching, int | np.integer) or branching < 2:
    raise ValueError(
      f"Got branching={branching!r}; it must be an integer of at least 2, the number of children "
      "of a node."
    )
  return int(branching)


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
  if isinstance(num_classes, bool) or not isinstance(num_classes, int | np.integer):
    raise ValueError(f"Got num_classes={num_classes!r}; it must be an integer of at least 1.")
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

  Returns:
    The tree.

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
