"""Instance discrimination: the order in which similar images are neighbours."""

import numpy as np

from experiments.many import instances
from softmax_research import functional


def test_the_nodes_of_a_balanced_tree_are_clusters():
  # Clusters of as many images as 3 nodes have leaves, numbered from left to right.
  tree = functional.balanced_tree(11)
  below = [{node} for node in range(tree.num_nodes)]
  for node in range(tree.num_nodes - 1, 0, -1):
    below[tree.parents[node]] |= below[node]
  sizes = [sum(leaf in below[node] for leaf in tree.leaves) for node in (3, 4, 2)]
  cluster = np.repeat([0, 1, 2], sizes)
  centres = np.array([[-100, -20], [-100, 20], [100, 0]])
  random = np.random.RandomState(0)
  shuffled = random.permutation(len(cluster))
  images = (centres[cluster] + random.uniform(-1, 1, (11, 2)))[shuffled]
  order = instances.order(images[:, :, None])
  assert sorted(order) == list(range(11))
  runs = np.split(cluster[shuffled][order], np.cumsum(sizes)[:-1])
  assert all(len(set(run)) == 1 for run in runs)
