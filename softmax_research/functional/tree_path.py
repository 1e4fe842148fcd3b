"""Paths: the nodes from the root of a tree to a label, and the parameters that they need."""

import jax
import jax.numpy as jnp
import numpy as np

from softmax_research.functional.layer import check_class_labels, look_up
from softmax_research.functional.tree import Tree

LABELS_REMEDY = "For distributions over classes use negative_log_likelihood on tree_log_probs."


def tree_label_rows(tree: Tree, labels: jax.typing.ArrayLike) -> jax.Array:
  r"""List the rows of the parameters on which the log-probabilities of some labels depend.

  Args:
    tree: the tree, with R = `tree.num_rows`.
    labels: integers of any shape.

  Returns:
    Ascending row numbers, each once, `[U]`, where U depends on the tree and on the number of
    labels alone and is at most R; filled up with R, which no row has.

  Raises:
    TypeError: the labels are not integers.

  Example:
    >>> import jax.numpy as jnp
    >>> from softmax_research.functional import balanced_tree
    >>> tree_label_rows(balanced_tree(8), jnp.array([0, 1, 7]))
    Array([0, 1, 2, 3, 6, 7], dtype=int32)
  """
  labels = jnp.asarray(labels)
  labels = check_class_labels(labels, labels[..., None], tree.num_classes, LABELS_REMEDY)
  path = walk(tree, jnp.clip(labels, 0, tree.num_classes - 1))
  if tree.depth == 0:
    return jnp.zeros(0, jnp.int32)
  if tree.is_binary:
    return _unit_rows(tree, path.reshape(-1, tree.depth))
  # The root chooses on every path, a leaf on none.
  deeper = jnp.where(path[..., 1:] > 0, path[..., :-1], tree.num_nodes).ravel()
  nodes = jnp.concatenate([jnp.zeros(1, jnp.int32), deeper])
  size = min(tree.num_inner, nodes.size)
  nodes = jnp.unique(nodes, size=size, fill_value=tree.num_nodes)
  first, arity = _children(tree, nodes)
  size = min(tree.num_rows, tree.level_widths[0] + labels.size * sum(tree.level_widths[1:]))
  ends = jnp.cumsum(arity)
  places = jnp.arange(size, dtype=jnp.int32)
  rows = jnp.repeat(first - 1 - (ends - arity), arity, total_repeat_length=size) + places
  return jnp.where(places < ends[-1], rows, tree.num_rows)


def walk(tree: Tree, labels: jax.Array) -> jax.Array:
  """Return the nodes on the way from the root to some labels.

  Args:
    tree: the tree.
    labels: integers `[...]` in range.

  Returns:
    The node at depth 1, 2, ... of each path, `[..., tree.depth]`; 0 past the leaf.

  Example:
    >>> import jax.numpy as jnp
    >>> walk(Tree.from_parents([-1, 0, 0, 2, 2], [1, 3, 4]), jnp.array([0, 2]))
    Array([[1, 0],
           [2, 4]], dtype=int32)
  """

  def step(node, level_start):
    # The numbers of deeper nodes are larger, so one comparison tells whether a path is so deep.
    deep = node >= level_start
    return jnp.where(deep, look_up(tree.parents, node), node), jnp.where(deep, node, 0)

  starts = np.array(tree.level_starts[1:-1], np.int32)
  _, path = jax.lax.scan(step, look_up(tree.leaves, labels), starts, reverse=True)
  return jnp.moveaxis(path, 0, -1)


def path_units(path: jax.Array) -> jax.Array:
  """Return the rows of the logistic units that choose the nodes of a path in a binary tree.

  Args:
    path: as from `walk`.

  Returns:
    Row numbers of the shape of the path; 0 past the leaf.

  Example:
    >>> import jax.numpy as jnp
    >>> path_units(jnp.array([2, 4, 0]))
    Array([0, 1, 0], dtype=int32)
  """
  # The children of the i-th inner node are the nodes 2i + 1 and 2i + 2.
  return jnp.maximum(path - 1, 0) // 2


def path_siblings(tree: Tree, path: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Return the runs of siblings among which the nodes of a path were chosen.

  Args:
    tree: the tree.
    path: as from `walk`, `[..., tree.depth]`.

  Returns:
    The first sibling and the number of siblings, each `[..., tree.depth]`; past the leaf any.

  Example:
    >>> import jax.numpy as jnp
    >>> tree = Tree.from_parents([-1, 0, 0, 0, 3, 3], [1, 2, 4, 5])
    >>> path_siblings(tree, walk(tree, jnp.array([3])))
    (Array([[1, 4]], dtype=int32), Array([[3, 2]], dtype=int32))
  """
  root = jnp.zeros_like(path[..., :1])
  return _children(tree, jnp.concatenate([root, path[..., :-1]], axis=-1))


def _unit_rows(tree: Tree, path: jax.Array) -> jax.Array:
  """Return the distinct rows of the logistic units on paths `[N, depth]`, ascending."""
  # At each depth no more units than there are, and no more than there are paths.
  inner = np.add.reduceat(tree.arities > 0, tree.level_starts[:-1])
  size = int(np.minimum(inner, len(path)).sum())
  units = jnp.where(path > 0, path_units(path), tree.num_rows)
  # Sorted twice, numbers are made unique several times as fast as by jnp.unique.
  units = jnp.sort(units.ravel())
  again = jnp.concatenate([jnp.zeros(1, bool), units[1:] == units[:-1]])
  return jnp.sort(jnp.where(again, tree.num_rows, units))[:size]


def _children(tree: Tree, nodes: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Return the first child and the number of children; none for what is not a node."""
  first = look_up(tree.first_child, nodes)
  return first, look_up(tree.first_child, nodes + 1) - first
