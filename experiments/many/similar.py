"""Similar images side by side: an order in which each part of a tree of classes is a cluster."""

import numpy as np

# Principal components to cut along, and images they are computed of; so few are left in any order.
_COMPONENTS, _SAMPLE, _FEW = 16, 20_000, 4


def order(images: np.ndarray) -> np.ndarray:
  """Order images so that the nodes of a balanced binary tree over them are clusters.

  The images of each node are cut in two along the principal component in which they differ most,
  as many to the left as the node's left child has. Labels are not looked at.

  Args:
    images: `[N, ...]`.

  Returns:
    Each place's image, `[N]`.

  Example:
    >>> images = np.array([[3.0, 0], [0, 1], [9, 0], [8, 1], [1, 0], [2, 1], [7, 0], [6, 1]])
    >>> sorted(images[order(images)[:4], 0].tolist())
    [0.0, 1.0, 2.0, 3.0]

  Reference:
    Bentley 1975, "Multidimensional Binary Search Trees Used for Associative Searching"; Mnih &
    Hinton 2008, "A Scalable Hierarchical Distributed Language Model", for trees of the data.
  """
  points = images.reshape(len(images), -1)
  sample = points[:: -(-len(points) // _SAMPLE)].astype(np.float32)
  axes = np.linalg.eigh(np.cov(sample, rowvar=False))[1][:, -_COMPONENTS:].astype(np.float32)
  axes *= np.where(axes.sum(axis=0) < 0, -1, 1)  # Their signs are up to the solver.
  points = np.concatenate([part @ axes for part in np.array_split(points, 100)])

  def cut(members):
    if len(members) <= _FEW:
      return members
    widest = np.argmax(np.var(points[members], axis=0))
    left = _left(len(members))
    members = members[np.argpartition(points[members, widest], left)]
    return np.concatenate([cut(members[:left]), cut(members[left:])])

  return cut(np.arange(len(points)))


def _left(count: int) -> int:
  """Return how many of a balanced binary tree's leaves are below the root's first child.

  Example:
    >>> [_left(count) for count in range(2, 9)]
    [1, 2, 2, 3, 4, 4, 4]
  """
  half = 1 << (count.bit_length() - 2)
  return half + min(half, count - 2 * half)
