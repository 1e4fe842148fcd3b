"""Samples of a tree: a random class by one choice after another along its path."""

import functools

import jax
import jax.numpy as jnp

from softmax_research.functional.arrays import look_up, vary, varying_axes
from softmax_research.functional.gumbel import gumbel_max
from softmax_research.functional.tree import Tree
from softmax_research.functional.tree_softmax import (
  check_tree_inputs,
  child_log_probs,
  for_each_example,
)


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
