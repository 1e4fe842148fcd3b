"""Equal time: output layers that start from one vector for each class."""

import numpy as np
import pytest

from experiments.many import equal_time
from softmax_research import functional

_VECTORS = np.random.RandomState(0).randn(5, 3).astype(np.float32)
_VECTORS *= 2 / np.linalg.norm(_VECTORS, axis=1, keepdims=True)


def mean(*classes):
  """Return the classes' mean vector, scaled to the length of each."""
  total = _VECTORS[list(classes)].astype(np.float64).sum(axis=0)
  return 2 * total / np.linalg.norm(total)


@pytest.mark.parametrize(
  ("tree", "path"),
  [
    (functional.balanced_tree(5), [((0, 1, 2), (3, 4)), ((2,), (0, 1))]),
    (functional.balanced_tree(5, branching=3), [((0, 1, 2), (3,), (4,)), ((2,), (0,), (1,))]),
    (functional.two_level_tree([0, 0, 0, 1, 1]), [((0, 1, 2), (3, 4)), ((2,), (0,), (1,))]),
  ],
)
def test_a_tree_chooses_among_the_means_of_its_parts(tree, path):
  # The path is that of class 2: at each step the part with it, then the others.
  x = np.array([0.3, -0.5, 0.8])
  expected = 0.0
  for parts in path:
    logits = np.array([mean(*part) @ x for part in parts])
    expected += logits[0] - np.log(np.exp(logits).sum())
  params = {
    "kernel": equal_time.imprinted_kernel(_VECTORS, tree),
    "bias": np.zeros(tree.num_rows, np.float32),
  }
  log_probs = functional.tree_log_probs(x.astype(np.float32), params, tree)
  np.testing.assert_allclose(log_probs[2], expected, rtol=1e-5)


def test_a_dense_layer_has_the_vectors_for_columns():
  np.testing.assert_array_equal(equal_time.imprinted_kernel(_VECTORS, None), _VECTORS.T)
