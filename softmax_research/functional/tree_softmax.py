"""Tree softmax: a class's probability is the product of the choices on its path."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from softmax_research.functional import tree_path_blocks
from softmax_research.functional.labels import is_known, select_label
from softmax_research.functional.layer import check_class_labels
from softmax_research.functional.mesh import has_explicit_mesh
from softmax_research.functional.normalise import log_normalise
from softmax_research.functional.tree import Tree
from softmax_research.functional.tree_parameters import (
  check_tree_inputs,
  row_logits,
  take_rows,
  take_runs,
)
from softmax_research.functional.tree_path import LABELS_REMEDY, path_siblings, path_units, walk


def tree_log_probs(
  features: jax.typing.ArrayLike, params: dict[str, jax.Array], tree: Tree
) -> jax.Array:
  r"""Compute the log-probabilities of all classes.

  .. math:: \log p(k \mid x) = \sum_{v \in \mathrm{path}(k)} \log p(v \mid \mathrm{parent}(v), x)

  A node chooses among its children by softmax, with one row of the kernel for each child,

  .. math::
    p(v \mid u, x) = \frac{e^{w_v^\top x + b_v}}{\sum_{v' \in \mathrm{children}(u)}
    e^{w_{v'}^\top x + b_{v'}}}

  and in a binary tree by a logistic unit, with one row for the node itself,

  .. math:: p(\mathrm{first} \mid u, x) = \sigma(w_u^\top x + b_u)

  which says the same with half the parameters. The probabilities sum to one over the leaves of
  any tree. The cost grows with K; for a label alone take `tree_label_log_prob`.

  Args:
    features: `[..., D]`.
    params: as from `tree_init`.
    tree: the tree.

  Returns:
    Log-probabilities in nats, `[..., K]`, in the type that features and kernel promote to;
    float16 and bfloat16 are summed in float32.

  Raises:
    ValueError: the parameters do not fit the tree or the features.

  Example:
    >>> import jax.numpy as jnp
    >>> from softmax_research.functional import balanced_tree
    >>> params = {"kernel": jnp.array([[jnp.log(3.0)], [0.0]]), "bias": jnp.zeros(2)}
    >>> jnp.exp(tree_log_probs(jnp.ones(1), params, balanced_tree(3))).round(2)
    Array([0.38, 0.38, 0.25], dtype=float32)

  Reference:
    Morin & Bengio 2005, "Hierarchical Probabilistic Neural Network Language Model" (AISTATS);
    Mikolov et al. 2013 (arXiv 1310.4546), eq. 3.
  """
  features, params, result_type = check_tree_inputs(features, params, tree.num_rows)
  logits = row_logits(features, params)
  if tree.is_binary:
    choices = jnp.stack([jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)], axis=-1)
    choices = choices.reshape(*logits.shape[:-1], 2 * tree.num_rows)
  else:
    choices = _normalise_siblings(logits, tree)
  level = jnp.zeros_like(features[..., :1])
  levels, above = [level], 0
  for start, stop in itertools.pairwise(tree.level_starts[1:]):
    level = _take(level, tree.parents[start:stop] - above) + choices[..., start - 1 : stop - 1]
    levels.append(level)
    above = start
  return _take(jnp.concatenate(levels, axis=-1), tree.leaves).astype(result_type)


def tree_label_log_prob(
  features: jax.typing.ArrayLike,
  params: dict[str, jax.Array],
  tree: Tree,
  labels: jax.typing.ArrayLike,
  *,
  rows: jax.Array | None = None,
) -> jax.Array:
  r"""Compute the log-probability of each example's label, at the cost of its path.

  .. math:: \log p(y \mid x) = \sum_{v \in \mathrm{path}(y)} \log p(v \mid \mathrm{parent}(v), x)

  The same number as `tree_log_probs` gives at the label, from the rows on its path alone: log K
  of them in a balanced binary tree. So that the gradient and the update cost no more than that,
  differentiate with respect to those rows, and leave the others where they are::

    rows = tree_label_rows(tree, labels)
    some = {name: value.at[rows].get(mode="clip") for name, value in params.items()}
    gradient = jax.grad(lambda some: -tree_label_log_prob(..., rows=rows).mean())(some)
    params = {n: v.at[rows].add(-rate * gradient[n], mode="drop") for n, v in params.items()}

  `training.update_rows` does the same with any elementwise optax transformation and its state.
  Given rows, the choices in a binary tree are computed in blocks, as many as the labels' paths
  fill, if the batch is large or many paths are shorter than the tree is deep. Count on derivatives
  in reverse mode alone then; without rows there are all orders in both modes.

  Args:
    features: `[..., D]`.
    params: as from `tree_init`, or only the given rows of it, `{"kernel": [U, D], "bias": [U]}`.
    tree: the tree.
    labels: integers `[...]`.
    rows: which rows `params` holds, as from `tree_label_rows` for these labels; all by default.

  Returns:
    Log-probabilities in nats, `[...]`, in the type that features and kernel promote to; NaN for a
    label out of range.

  Raises:
    ValueError: the parameters do not fit the tree, the features or the rows, or the labels' shape
      does not fit.
    TypeError: the labels are not integers.

  Example:
    >>> import jax.numpy as jnp
    >>> from softmax_research.functional import balanced_tree
    >>> params = {"kernel": jnp.array([[jnp.log(3.0)], [0.0]]), "bias": jnp.zeros(2)}
    >>> tree = balanced_tree(3)
    >>> jnp.exp(tree_label_log_prob(jnp.ones((2, 1)), params, tree, jnp.array([2, 0]))).round(2)
    Array([0.25, 0.38], dtype=float32)

  Reference:
    Morin & Bengio 2005, "Hierarchical Probabilistic Neural Network Language Model" (AISTATS).
  """
  num_rows = tree.num_rows if rows is None else len(rows)
  features, params, result_type = check_tree_inputs(features, params, num_rows)
  labels = check_class_labels(labels, features, tree.num_classes, LABELS_REMEDY)
  in_range = is_known(labels, tree.num_classes)
  path = walk(tree, jnp.where(in_range, labels, 0))
  if tree.is_binary:
    log_prob = _sum_logistic(features, params, tree, path, rows)
  else:
    log_prob = _sum_softmax(features, params, tree, path, rows)
  return jnp.where(in_range, log_prob, jnp.nan).astype(result_type)


def _sum_logistic(features, params, tree, path, rows) -> jax.Array:
  """Sum the log-probabilities of logistic units along paths."""
  places = path_units(path)
  if rows is not None:
    in_blocks = tree_path_blocks.pays(tree, path, features.shape[-1])
    if in_blocks and not has_explicit_mesh(features):
      return tree_path_blocks.path_log_prob_in_blocks(features, params, rows, path)
    # Unrolled, the search is one loop over the places instead of one for each of its steps.
    places = jnp.searchsorted(rows, places, method="scan_unrolled")
  return jnp.sum(_choices(row_logits(features, take_rows(params, places)), path), axis=-1)


def _choices(logits: jax.Array, nodes: jax.Array) -> jax.Array:
  """Return the log-probability of choosing each node, 0 past the leaf."""
  first = nodes % 2 == 1  # First children have the odd numbers.
  return jnp.where(nodes > 0, jax.nn.log_sigmoid(jnp.where(first, logits, -logits)), 0)


def _sum_softmax(features, params, tree, path, rows) -> jax.Array:
  # All paths choose at the root: one product with its rows, which come first.
  logits = row_logits(features, {n: v[: tree.level_widths[0]] for n, v in params.items()})
  log_prob = select_label(log_normalise(logits), path[..., 0] - 1)
  first, arity = path_siblings(tree, path)
  start = first - 1
  if rows is not None:
    start = jnp.searchsorted(rows, start)  # Of siblings either all are there or none.
  for depth in range(1, tree.depth):
    width = tree.level_widths[depth]
    # A run has W rows even where siblings are fewer; near the end it starts before them.
    run_start = jnp.clip(start[..., depth], 0, len(params["bias"]) - width)
    skipped = start[..., depth] - run_start
    logits = row_logits(features, take_runs(params, run_start, width))
    place = jnp.arange(width) - skipped[..., None]
    exists = (place >= 0) & (place < arity[..., depth, None])
    position = path[..., depth] - first[..., depth] + skipped
    active = path[..., depth] > 0
    choices = select_label(log_normalise(logits, where=exists), jnp.where(active, position, 0))
    log_prob = log_prob + jnp.where(active, choices, 0)
  return log_prob


def _take(values: jax.Array, indices: np.ndarray) -> jax.Array:
  return values.at[..., indices].get(mode="promise_in_bounds")


def _normalise_siblings(logits: jax.Array, tree: Tree) -> jax.Array:
  """Normalise the logits of all nodes but the root among siblings.

  Nodes with about as many children (within a factor of 2) are normalised together, so that
  padding costs little memory however uneven the tree is.
  """
  log_probs, order = [], []
  inner = np.flatnonzero(tree.arities)
  sizes = np.ceil(np.log2(tree.arities[inner]))
  for size in np.unique(sizes):
    nodes = inner[sizes == size]
    offsets = np.arange(tree.arities[nodes].max())
    exists = offsets < tree.arities[nodes, None]
    rows = np.where(exists, tree.first_child[nodes, None] + offsets - 1, 0)
    group = log_normalise(_take(logits, rows), where=exists)
    log_probs.append(group.reshape(*logits.shape[:-1], rows.size))
    order.append(np.where(exists, rows, -1).ravel())
  order = np.concatenate(order)
  places = np.empty(tree.num_rows, np.int64)
  places[order[order >= 0]] = np.flatnonzero(order >= 0)
  return _take(jnp.concatenate(log_probs, axis=-1), places)
