"""Tree softmax: a class's probability is the product of the choices on its path."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from softmax_research.functional.arrays import (
  check_integer,
  has_explicit_mesh,
  per_class,
  wide_type,
)
from softmax_research.functional.labels import check_class_labels, is_known
from softmax_research.functional.normalise import log_normalise
from softmax_research.functional.tree import Tree
from softmax_research.functional.tree_path import (
  LABELS_REMEDY,
  blocks_pay,
  children,
  path_log_prob_in_blocks,
  path_units,
  walk,
)


def tree_init(key: jax.Array, num_features: int, tree: Tree) -> dict[str, jax.Array]:
  r"""Draw the parameters of a tree softmax.

  A binary tree has one row for each inner node, any other one for each node but the root; the
  rows follow the order of the nodes. A flat tree's rows are the classes' in their order.

  Args:
    key: a random key.
    num_features: D.
    tree: the tree, with R = `tree.num_rows`.

  Returns:
    `{"kernel": [R, D], "bias": [R]}` in float32: a kernel of variance 1 / D, and zeros.

  Example:
    >>> from softmax_research.functional import balanced_tree
    >>> tree_init(jax.random.key(0), 5, balanced_tree(4))["kernel"].shape
    (3, 5)
  """
  check_integer("num_features", num_features)
  kernel = jax.random.normal(key, (tree.num_rows, num_features), jnp.float32)
  return {"kernel": kernel / math.sqrt(num_features), "bias": jnp.zeros(tree.num_rows, jnp.float32)}


def tree_log_probs(
  features: jax.typing.ArrayLike,
  params: dict[str, jax.Array],
  tree: Tree,
  *,
  dtype: jax.typing.DTypeLike | None = None,
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
    dtype: of the result; by default the type that features and kernel promote to.

  Returns:
    Log-probabilities in nats, `[..., K]`; float16 and bfloat16 are summed in float32.

  Raises:
    ValueError: the parameters do not fit the tree or the features.

  Example:
    >>> from softmax_research.functional import balanced_tree
    >>> params = {"kernel": jnp.array([[jnp.log(3.0)], [0.0]]), "bias": jnp.zeros(2)}
    >>> jnp.exp(tree_log_probs(jnp.ones(1), params, balanced_tree(3))).round(2)
    Array([0.38, 0.38, 0.25], dtype=float32)

  Reference:
    Morin & Bengio 2005, "Hierarchical Probabilistic Neural Network Language Model" (AISTATS);
    Mikolov et al. 2013 (arXiv 1310.4546), eq. 3.
  """
  features, params, dtype = check_tree_inputs(features, params, tree.num_rows, dtype)
  logits = _row_logits(features, params)
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
  return _take(jnp.concatenate(levels, axis=-1), tree.leaves).astype(dtype)


def tree_label_log_prob(
  features: jax.typing.ArrayLike,
  params: dict[str, jax.Array],
  tree: Tree,
  labels: jax.typing.ArrayLike,
  *,
  rows: jax.Array | None = None,
  dtype: jax.typing.DTypeLike | None = None,
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
    features, tree, dtype: those of `tree_log_probs`.
    params: as from `tree_init`, or only the given rows of it, `{"kernel": [U, D], "bias": [U]}`.
    labels: integers `[...]`.
    rows: which rows `params` holds, as from `tree_label_rows` for these labels; all by default.

  Returns:
    Log-probabilities in nats, `[...]`; NaN for a label out of range.

  Raises:
    ValueError: the parameters do not fit the tree, the features or the rows, or the labels' shape
      does not fit.
    TypeError: the labels are not integers.

  Example:
    >>> from softmax_research.functional import balanced_tree
    >>> params = {"kernel": jnp.array([[jnp.log(3.0)], [0.0]]), "bias": jnp.zeros(2)}
    >>> tree = balanced_tree(3)
    >>> jnp.exp(tree_label_log_prob(jnp.ones((2, 1)), params, tree, jnp.array([2, 0]))).round(2)
    Array([0.25, 0.38], dtype=float32)

  Reference:
    Morin & Bengio 2005, "Hierarchical Probabilistic Neural Network Language Model" (AISTATS).
  """
  num_rows = tree.num_rows if rows is None else len(rows)
  features, params, dtype = check_tree_inputs(features, params, num_rows, dtype)
  labels = check_class_labels(labels, features.shape[:-1], tree.num_classes, LABELS_REMEDY)
  in_range = is_known(labels, tree.num_classes)
  path = walk(tree, jnp.where(in_range, labels, 0))
  in_blocks = rows is not None and tree.is_binary and blocks_pay(tree, path, features.shape[-1])
  if num_rows == 0 or labels.size == 0:  # There is but one class, or no label at all.
    log_prob = jnp.zeros_like(labels, features.dtype)
  elif in_blocks and not has_explicit_mesh(features):
    log_prob = path_log_prob_in_blocks(features, params, rows, path)
  else:
    sum_choices = _sum_logistic if tree.is_binary else _sum_softmax
    log_prob = for_each_example(
      lambda feature, path, given: sum_choices(feature, path, *given, tree),
      (features, path),
      (params, rows),
    )
  return jnp.where(in_range, log_prob, jnp.nan).astype(dtype)


def check_tree_inputs(
  features: jax.typing.ArrayLike,
  params: dict[str, jax.Array],
  num_rows: int,
  dtype: jax.typing.DTypeLike | None = None,
) -> tuple[jax.Array, dict[str, jax.Array], jnp.dtype]:
  """Return features and parameters as arrays, and the result's type, after checking the shapes.

  The features are in the type of sums, float32 or wider. The result's type is by default the one
  that features and kernel promote to.
  """
  features = jnp.asarray(features)
  params = {name: jnp.asarray(params[name]) for name in ("kernel", "bias")}
  shapes = params["kernel"].shape, params["bias"].shape
  if features.ndim == 0 or shapes != ((num_rows, features.shape[-1]), (num_rows,)):
    raise ValueError(
      f"Got features of shape {features.shape}, a kernel of {shapes[0]} and a bias of "
      f"{shapes[1]}; with features [..., D] they must be [{num_rows}, D] and [{num_rows}]."
    )
  dtype = dtype or jnp.result_type(features, params["kernel"])
  return features.astype(wide_type(features, params["kernel"])), params, dtype


def for_each_example(function: Callable[..., Any], examples: tuple, params: Any) -> Any:
  """Call `function(*examples, params)` for one example after the other, in one program.

  The first of the examples are features `[..., D]`; the results have the leading axes `[...]` in
  front and are sharded as the features are.
  """
  features = examples[0]
  for _ in range(features.ndim - 1):
    function = jax.vmap(function, in_axes=(*[0] * len(examples), None))
  if has_explicit_mesh(features):
    # Rows are picked by number, which Explicit axes leave to the compiler only in here.
    given = jax.typeof(features).sharding
    batch = jax.sharding.NamedSharding(given.mesh, jax.sharding.PartitionSpec(*given.spec[:-1]))
    function = jax.sharding.auto_axes(function, out_sharding=batch)
  return function(*examples, params)


def child_log_probs(
  feature: jax.Array,
  params: dict[str, jax.Array],
  tree: Tree,
  node: jax.typing.ArrayLike,
  width: int,
  rows: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Compute the log-probabilities of an inner node's children, given the node, for one example.

  The parameters may be those of the given rows alone. The results are `[width]`, room for so many
  children (2 in a binary tree): nodes, which of them are children of the node, and their
  log-probabilities, -inf for the others.
  """
  first, arity = children(tree, jnp.asarray(node))
  row = (first - 1) // 2 if tree.is_binary else first - 1
  if rows is not None:
    row = jnp.searchsorted(rows, row)  # Of siblings either all are there or none.
  if tree.is_binary:
    logit = _row_logits(feature, _slice(params, row, 1))
    log_probs = jax.nn.log_sigmoid(jnp.concatenate([logit, -logit]))
    return first + jnp.arange(2, dtype=jnp.int32), jnp.ones(2, bool), log_probs
  # A run of rows is cut as one slice, which with hundreds of rows is several times as fast as row
  # by row; near the end it starts before the children.
  start = jnp.clip(row, 0, len(params["bias"]) - width)
  nodes = first + start - row + jnp.arange(width, dtype=jnp.int32)
  exist = (nodes >= first) & (nodes < first + arity)
  logits = _row_logits(feature, _slice(params, start, width))
  return nodes, exist, log_normalise(logits, where=exist)


def _sum_logistic(feature, path, params, rows, tree) -> jax.Array:
  """Sum the log-probabilities of one example's choices in a binary tree."""
  places = path_units(path)
  if rows is not None:
    # Unrolled, the search is one loop over the places instead of one for each of its steps.
    places = jnp.searchsorted(rows, places, method="scan_unrolled")
  logits = _row_logits(feature, {n: v.at[places].get(mode="clip") for n, v in params.items()})
  first = path % 2 == 1  # First children have the odd numbers.
  return jnp.sum(jnp.where(path > 0, jax.nn.log_sigmoid(jnp.where(first, logits, -logits)), 0))


def _sum_softmax(feature, path, params, rows, tree) -> jax.Array:
  """Sum the log-probabilities of one example's choices among siblings."""
  log_prob = jnp.zeros((), feature.dtype)
  for depth, width in enumerate(tree.level_widths):
    # All paths choose at the root, so that its rows are multiplied by all features at once. Past
    # the leaf there is no choice: no child has the number 0.
    node = jnp.where(path[depth] > 0, path[depth - 1], 0) if depth else 0
    nodes, _, log_probs = child_log_probs(feature, params, tree, node, width, rows)
    log_prob += jnp.sum(jnp.where(nodes == path[depth], log_probs, 0))
  return log_prob


def _row_logits(features: jax.Array, rows: dict[str, jax.Array]) -> jax.Array:
  """Return the logits `[..., L]` of rows `{"kernel": [L, D], "bias": [L]}`."""
  logits = jnp.einsum("...d,ld->...l", features, rows["kernel"].astype(features.dtype))
  return logits + per_class(rows["bias"], logits)


def _slice(params: dict[str, jax.Array], start: jax.Array, size: int) -> dict[str, jax.Array]:
  return {n: jax.lax.dynamic_slice_in_dim(v, start, size) for n, v in params.items()}


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
