"""Prediction in a tree: the most probable classes, and random ones, at the cost of some paths."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from softmax_research.functional.arrays import check_integer, look_up, vary, varying_axes
from softmax_research.functional.gumbel import gumbel_max
from softmax_research.functional.tree import Tree
from softmax_research.functional.tree_softmax import (
  check_tree_inputs,
  child_log_probs,
  for_each_example,
)

# So many nodes stay open in the best-first search before it goes deep instead. Larger costs time
# at each step, smaller visits more nodes; neither changes what is found.
_FRONTIER = 128


class TreeSearch(NamedTuple):
  """Hold what a search found.

  Attributes:
    log_probs: of the classes found, in nats.
    classes: the classes found, int32.
    num_visited: for each example, the nodes whose log-probability was computed; an exhaustive
      search computes those of all nodes but the root.
  """

  log_probs: jax.Array
  classes: jax.Array
  num_visited: jax.Array


class _State(NamedTuple):
  """Hold a best-first search under way: the open nodes, the best classes, the work done."""

  nodes: jax.Array
  log_probs: jax.Array
  num_open: jax.Array  # Open nodes stand first in the two arrays above.
  best_log_probs: jax.Array
  best_classes: jax.Array
  num_visited: jax.Array


def tree_top_k(
  features: jax.typing.ArrayLike, params: dict[str, jax.Array], tree: Tree, k: int = 1
) -> TreeSearch:
  r"""Find the k most probable classes by best-first search.

  .. math:: \log p(v \mid x) \ge \log p(k \mid x) \quad \text{for every class } k \text{ below } v

  A log-probability only falls along a path, so a node bounds all classes below it. The search
  expands the most probable node it knows of until none is more probable than the k-th class
  found: the result is exact, and no exact search expands fewer nodes. A confident model visits
  little more than k paths; under one that has learnt nothing no node can be left out. Where more
  nodes than a fixed frontier holds are open, the deepest goes first until there is room again.

  Differentiate `tree_label_log_prob` at the classes found; the search itself has no gradient.

  Args:
    features, params, tree: those of `tree_log_probs`.
    k: how many classes, between 1 and K.

  Returns:
    Log-probabilities and classes `[..., k]`, the most probable first, and the numbers of nodes
    visited `[...]`. Of equally probable classes any may come first. Where fewer classes are
    possible, the rest has class -1 and log-probability -inf. Where a feature is NaN so are the
    log-probabilities, and the classes mean nothing.

  Raises:
    ValueError: k is out of range, or the parameters do not fit the tree or the features.

  Example:
    >>> from softmax_research.functional import balanced_tree
    >>> params = {"kernel": jnp.array([[2.0], [1.0], [0.0]]), "bias": jnp.zeros(3)}
    >>> found = tree_top_k(jnp.ones(1), params, balanced_tree(4), k=2)
    >>> found.classes.tolist(), found.num_visited.item()
    ([0, 1], 4)
  """
  check_integer("k", k, 1, tree.num_classes)
  features, params, result_type = check_tree_inputs(features, params, tree.num_rows)

  found = _search(features, params, tree, int(k))
  return found._replace(log_probs=found.log_probs.astype(result_type))


# For eager callers, for whom the loop would be compiled anew in every call.
@functools.partial(jax.jit, static_argnums=(2, 3))
def _search(features, params, tree: Tree, k: int) -> TreeSearch:
  search = functools.partial(_best_first, tree=tree, k=k)
  return for_each_example(search, (features,), params)


def _best_first(feature, params, tree: Tree, k: int) -> TreeSearch:
  dtype = feature.dtype
  if tree.depth == 0:
    return TreeSearch(jnp.zeros(1, dtype), jnp.zeros(1, jnp.int32), jnp.zeros((), jnp.int32))
  num_slots = _num_slots(tree)
  state = _State(
    nodes=jnp.zeros(num_slots, jnp.int32),
    log_probs=jnp.full(num_slots, -jnp.inf, dtype),
    num_open=jnp.zeros((), jnp.int32),
    best_log_probs=jnp.full(k, -jnp.inf, dtype),
    best_classes=jnp.full(k, -1, jnp.int32),
    num_visited=jnp.zeros((), jnp.int32),
  )

  def expand(state, node, log_prob, width):
    """Put a node's children among the best classes if they are leaves, else among the open."""
    nodes, exist, choices = child_log_probs(feature, params, tree, node, width)
    log_probs, classes = log_prob + choices, jnp.where(exist, look_up(tree.classes, nodes), -1)
    is_leaf = classes >= 0
    shown = jnp.where(is_leaf | jnp.isnan(log_probs), log_probs, -jnp.inf)
    candidates = jnp.concatenate([state.best_log_probs, shown])
    best_log_probs, places = jax.lax.top_k(candidates, k)
    enters = ~is_leaf & (log_probs > best_log_probs[-1])
    # Slots past the end are dropped.
    slots = jnp.where(enters, state.num_open + jnp.cumsum(enters) - 1, num_slots)
    return _State(
      nodes=state.nodes.at[slots].set(nodes, mode="drop"),
      log_probs=state.log_probs.at[slots].set(log_probs, mode="drop"),
      num_open=state.num_open + jnp.sum(enters, dtype=jnp.int32),
      best_log_probs=best_log_probs,
      best_classes=jnp.concatenate([state.best_classes, classes])[places],
      num_visited=state.num_visited + jnp.sum(exist, dtype=jnp.int32),
    )

  root, certain = jnp.zeros((), jnp.int32), jnp.zeros((), dtype)
  state = expand(state, root, certain, tree.level_widths[0])
  axes = varying_axes(state)
  state = vary(state, axes)

  def goes_on(state):
    return jnp.max(state.log_probs) > state.best_log_probs[-1]

  def step(state):
    crowded = state.num_open > _FRONTIER
    deepest = jnp.argmax(jnp.where(state.log_probs > -jnp.inf, state.nodes, -1))
    slot = jnp.where(crowded, deepest, jnp.argmax(state.log_probs))
    node, log_prob = state.nodes[slot], state.log_probs[slot]
    last = state.num_open - 1  # takes the place of the node that is expanded
    state = state._replace(
      nodes=state.nodes.at[slot].set(state.nodes[last]),
      log_probs=state.log_probs.at[slot].set(state.log_probs[last]).at[last].set(-jnp.inf),
      num_open=last,
    )
    return vary(expand(state, node, log_prob, max(tree.level_widths[1:])), axes)

  if tree.depth > 1:
    state = jax.lax.while_loop(goes_on, step, state)
  spoilt = jnp.isnan(state.best_log_probs[0])  # NaN comes before all numbers.
  log_probs = jnp.where(spoilt, jnp.nan, state.best_log_probs)
  return TreeSearch(log_probs, state.best_classes, state.num_visited)


def _num_slots(tree: Tree) -> int:
  """Return how many nodes can be open at once.

  That is the frontier, the children that may join it at once, and then those that a descent to
  the deepest leaf leaves open at each level.
  """
  parents = tree.parents[1:][tree.arities[1:] > 0]
  inner_children = np.bincount(parents, minlength=tree.num_nodes)
  widths = np.maximum.reduceat(inner_children, tree.level_starts[:-1])
  return min(tree.num_inner, int(_FRONTIER + widths.max() + widths.sum()))


def tree_sample(
  key: jax.Array, features: jax.typing.ArrayLike, params: dict[str, jax.Array], tree: Tree
) -> jax.Array:
  r"""Draw a class for each example from a tree softmax.

  .. math:: v_0 = \mathrm{root}, \qquad v_{d + 1} \sim p(\cdot \mid v_d, x) \quad
    \text{until a leaf}

  The cost grows with the tree's depth, not with the number of classes.

  Args:
    key: a random key.
    features, params, tree: those of `tree_log_probs`.

  Returns:
    Classes, int32 `[...]`.

  Raises:
    ValueError: the parameters do not fit the tree or the features.

  Example:
    >>> from softmax_research.functional import balanced_tree
    >>> params = {"kernel": jnp.array([[99.0], [0.0], [-99.0]]), "bias": jnp.zeros(3)}
    >>> tree_sample(jax.random.key(0), jnp.ones((2, 1)), params, balanced_tree(4)) < 2
    Array([ True,  True], dtype=bool)
  """
  features, params, _ = check_tree_inputs(features, params, tree.num_rows)
  return _sample(key, features, params, tree)


# For eager callers, for whom the loop would be compiled anew in every call.
@functools.partial(jax.jit, static_argnums=3)
def _sample(key, features, params, tree: Tree) -> jax.Array:
  widths = tree.level_widths

  def descend(feature, key, params):
    def choose(depth, node, width):
      nodes, exist, log_probs = child_log_probs(feature, params, tree, node, width)
      place = gumbel_max(jax.random.fold_in(key, depth), log_probs, where=exist)
      # A leaf has no children; the path ends there.
      return jnp.where(
        jnp.any(exist) & (look_up(tree.classes, node) < 0), nodes[jnp.maximum(place, 0)], node
      )

    node = vary(jnp.zeros((), jnp.int32), varying_axes(feature, params))
    if tree.depth > 0:
      node = choose(0, node, widths[0])
    if tree.depth > 1:
      width = max(widths[1:])
      node = jax.lax.fori_loop(1, tree.depth, lambda d, node: choose(d, node, width), node)
    return look_up(tree.classes, node)

  keys = jax.random.split(key, features.shape[:-1])
  return for_each_example(descend, (features, keys), params).astype(jnp.int32)
