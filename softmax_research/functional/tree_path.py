"""Paths: the nodes from the root of a tree to a label, and the parameters that they need."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from softmax_research.functional.arrays import (
  look_up,
  match_gradient,
  vary,
  varying_axes,
)
from softmax_research.functional.labels import check_class_labels
from softmax_research.functional.tree import Tree

LABELS_REMEDY = "For distributions over classes use negative_log_likelihood on tree_log_probs."

# How many choices make a block: on CPU so few that their rows of the kernel stay in the cache. On a
# GPU, where this was not measured, so many that a batch is one block or few.
_CPU_BLOCK, _GPU_BLOCK = 2**10, 2**17

# On two cores of a CPU all paths at once are as fast or faster where they are nearly as long as the
# tree is deep and their rows of the kernel are no more numbers than this.
_FEW_NUMBERS, _NEARLY = 2**21, 0.8


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
    >>> from softmax_research.functional import balanced_tree
    >>> tree_label_rows(balanced_tree(8), jnp.array([0, 1, 7]))
    Array([0, 1, 2, 3, 6, 7], dtype=int32)
  """
  labels = check_class_labels(labels, np.shape(labels), tree.num_classes, LABELS_REMEDY)
  path = walk(tree, jnp.clip(labels, 0, tree.num_classes - 1))
  if tree.is_binary:
    # At each depth no more units than there are, and no more than there are paths.
    inner = np.add.reduceat(tree.arities > 0, tree.level_starts[:-1])
    units = jnp.where(path > 0, path_units(path), tree.num_rows)
    size = int(np.minimum(inner, labels.size).sum())
    return _sorted_unique(units, size, fill=tree.num_rows)
  # The root chooses on every path, a leaf on none.
  deeper = jnp.where(path[..., 1:] > 0, path[..., :-1], tree.num_nodes).ravel()
  nodes = jnp.concatenate([jnp.zeros(1, jnp.int32), deeper])
  nodes = _sorted_unique(nodes, min(tree.num_inner, nodes.size), fill=tree.num_nodes)
  first, arity = children(tree, nodes)
  size = min(tree.num_rows, tree.level_widths[0] + labels.size * sum(tree.level_widths[1:]))
  ends = jnp.cumsum(arity)
  places = jnp.arange(size, dtype=jnp.int32)
  rows = jnp.repeat(first - 1 - (ends - arity), arity, total_repeat_length=size) + places
  return jnp.where(places < ends[-1], rows, tree.num_rows)


@functools.partial(jax.jit, static_argnums=0)
def walk(tree: Tree, labels: jax.Array) -> jax.Array:
  """Return the nodes on the way from the root to some labels; 0 past the leaf.

  Those at depth 1, 2, ..., `[..., tree.depth]`; the labels `[...]` are in range. The jit is for
  eager callers, for whom the loop would be compiled anew in every call.
  """

  def step(node, level_start):
    # The numbers of deeper nodes are larger, so one comparison tells whether a path is so deep.
    deep = node >= level_start
    return jnp.where(deep, look_up(tree.parents, node), node), jnp.where(deep, node, 0)

  starts = np.array(tree.level_starts[1:-1], np.int32)
  _, path = jax.lax.scan(step, look_up(tree.leaves, labels), starts, reverse=True)
  return jnp.moveaxis(path, 0, -1)


def path_units(path: jax.Array) -> jax.Array:
  """Return the rows of the logistic units that choose the nodes of a path in a binary tree."""
  # The children of the i-th inner node are the nodes 2i + 1 and 2i + 2.
  return jnp.maximum(path - 1, 0) // 2


def children(tree: Tree, nodes: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Return the first child of some nodes and their numbers of children; 0 for what is no node."""
  first = look_up(tree.first_child, nodes)
  return first, look_up(tree.first_child, nodes + 1) - first


def blocks_pay(tree: Tree, path: jax.Array, num_features: int) -> bool:
  """Tell whether blocks are faster than all paths of a binary tree at once."""
  lengths = tree.path_lengths
  mean_length = np.sum(lengths * 2.0**-lengths)  # Of paths whose choices are all even.
  return bool(mean_length < _NEARLY * tree.depth or path.size * num_features > _FEW_NUMBERS)


def path_log_prob_in_blocks(
  features: jax.Array, params: dict[str, jax.Array], rows: jax.Array, path: jax.Array
) -> jax.Array:
  """Sum the log-probabilities of the choices on paths `[..., depth]` in a binary tree.

  Paths differ in length, and shapes are fixed before they are known. So the choices of all paths
  are put one after another, and taken in as many blocks as they fill; a block's rows of the kernel
  are read while they are in the cache. Derivatives are in reverse mode, and a second one in
  forward mode, since the number of blocks is known at run time only. The parameters are those of
  the given rows, whose numbers ascend; the features are in the type of sums.
  """
  if path.size == 0:
    return jnp.zeros(path.shape[:-1], features.dtype)
  log_prob = _log_prob(
    features.reshape(-1, features.shape[-1]),
    params["kernel"],
    params["bias"],
    rows,
    path.reshape(-1, path.shape[-1]),
  )
  return log_prob.reshape(path.shape[:-1])


def _sorted_unique(numbers: jax.Array, size: int, *, fill: int) -> jax.Array:
  """Return each number once, ascending, `[size]`; none is above the fill, and it fills up."""
  # Sorted twice, numbers are made unique several times as fast as by jnp.unique.
  numbers = jnp.sort(numbers.ravel())
  again = jnp.concatenate([jnp.zeros(1, bool), numbers[1:] == numbers[:-1]])
  return jnp.sort(jnp.where(again, fill, numbers))[:size]


@jax.custom_vjp
def _log_prob(features, kernel, bias, rows, path):
  return _forward(features, kernel, bias, rows, path)[0]


def _forward(features, kernel, bias, rows, path):
  (examples, nodes), num_blocks = _choices(path)
  dtype = features.dtype

  def visit(block, state):
    log_prob, slopes, places = state
    example, node = _slice(examples, block), _slice(nodes, block)
    # Unrolled, the search is one loop over the places instead of one for each of its steps.
    place = jnp.searchsorted(rows, path_units(node), method="scan_unrolled").astype(jnp.int32)
    place = jnp.minimum(place, len(rows) - 1)
    logits = jnp.sum(_take(features, example) * _take(kernel, place).astype(dtype), axis=-1)
    sign = jnp.where(node % 2 == 1, 1, -1).astype(dtype)  # First children have the odd numbers.
    logits = sign * (logits + _take(bias, place).astype(dtype))
    choice = jnp.where(node > 0, jax.nn.log_sigmoid(logits), 0)
    slope = jnp.where(node > 0, sign * jax.nn.sigmoid(-logits), 0)
    return (
      log_prob.at[example].add(choice, mode="promise_in_bounds", indices_are_sorted=True),
      _put(slopes, slope, block),
      _put(places, place, block),
    )

  state = jnp.zeros(len(features), dtype), jnp.zeros(nodes.shape, dtype), jnp.zeros_like(nodes)
  state = vary(state, varying_axes(features, kernel, bias, rows, path))
  log_prob, slopes, places = jax.lax.fori_loop(0, num_blocks, visit, state)
  return log_prob, (features, kernel, bias, examples, num_blocks, slopes, places)


def _backward(residuals, cotangent):
  features, kernel, bias, examples, num_blocks, slopes, places = residuals

  def visit(block, gradients):
    feature_gradient, kernel_gradient, bias_gradient = gradients
    example, place = _slice(examples, block), _slice(places, block)
    slope = _slice(slopes, block) * _take(cotangent, example)
    to_features = slope[:, None] * _take(kernel, place).astype(features.dtype)
    to_kernel = slope[:, None] * _take(features, example)
    add = {"mode": "promise_in_bounds"}
    return (
      feature_gradient.at[example].add(to_features, indices_are_sorted=True, **add),
      kernel_gradient.at[place].add(to_kernel, **add),
      bias_gradient.at[place].add(slope, **add),
    )

  values = features, kernel, bias
  zeros = jax.tree.map(lambda value: jnp.zeros(value.shape, features.dtype), values)
  zeros = vary(zeros, varying_axes(values, slopes, cotangent))
  gradients = jax.lax.fori_loop(0, num_blocks, visit, zeros)
  cast = jax.tree.map(lambda g, value: g.astype(value.dtype), gradients, values)
  return *jax.tree.map(match_gradient, cast, values), None, None


_log_prob.defvjp(_forward, _backward)


def _choices(path: jax.Array) -> tuple[tuple[jax.Array, jax.Array], int | jax.Array]:
  """List the choices on paths `[N, depth]` one after another, in blocks.

  Those are the example on whose path each choice is and the chosen node, each `[blocks, block
  size]`, the node 0 behind the last choice; the other result is how many blocks have a choice.
  """
  size = min(path.size, _CPU_BLOCK if jax.default_backend() == "cpu" else _GPU_BLOCK)
  padded = path.size + -path.size % size
  lengths = jnp.sum(path > 0, axis=-1)
  ends = jnp.cumsum(lengths)
  examples = jnp.repeat(jnp.arange(len(path)), lengths, total_repeat_length=padded)
  number = jnp.arange(padded)
  depth = jnp.clip(number - (ends - lengths)[examples], 0, path.shape[-1] - 1)
  nodes = jnp.where(number < ends[-1], path[examples, depth], 0)
  # A fixed number of blocks where there is but one: under vmap a loop whose number of turns
  # differs copies its state at each.
  num_blocks = 1 if padded == size else (ends[-1] + size - 1) // size
  return (examples.reshape(-1, size), nodes.reshape(-1, size)), num_blocks


def _slice(blocks, block):
  return jax.lax.dynamic_index_in_dim(blocks, block, keepdims=False)


def _put(blocks, values, block):
  return jax.lax.dynamic_update_index_in_dim(blocks, values, block, axis=0)


def _take(values, indices):
  return values.at[indices].get(mode="promise_in_bounds")
