"""Imprinting: an output layer's kernel that starts from one vector for each class."""

import itertools

import numpy as np

from softmax_research import functional


def kernel(vectors: np.ndarray, tree: functional.Tree | None) -> np.ndarray:
  r"""Return the kernel with which each class, or part of a tree, is at its own vector.

  Args:
    vectors: of one length, as features of the classes' examples, `[K, D]`.
    tree: of the classes; None for a dense layer.

  Returns:
    `[D, K]` for a dense layer, `[R, D]` for a tree. Inner nodes have the mean of their classes'
    vectors, scaled to the same length; in a binary tree the row of a choice is the difference of
    the two nodes.

  Example:
    >>> kernel(10 * np.eye(3), functional.balanced_tree(3)).round()
    array([[  7.,   7., -10.],
           [ 10., -10.,   0.]], dtype=float32)

  Reference:
    Qi, Brown & Lowe 2018, "Low-Shot Learning with Imprinted Weights" (arXiv 1712.07136).
  """
  if tree is None:
    return vectors.T
  nodes = np.zeros((tree.num_nodes, vectors.shape[1]), np.float32)
  nodes[tree.leaves] = vectors
  for start, stop in reversed(list(itertools.pairwise(tree.level_starts[1:]))):
    np.add.at(nodes, tree.parents[start:stop], nodes[start:stop])
  lengths = np.linalg.norm(nodes, axis=1, keepdims=True)
  nodes *= np.linalg.norm(vectors, axis=1).max() / np.maximum(lengths, 1e-12)
  return nodes[1::2] - nodes[2::2] if tree.is_binary else nodes[1:]
