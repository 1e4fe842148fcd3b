"""Log-probabilities of paths in a binary tree, a block of choices at a time: no padding to pay."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from softmax_research.functional.tree import Tree
from softmax_research.functional.tree_path import path_units
from softmax_research.functional.varying import match_gradient, vary, varying_axes

# How many choices make a block: on CPU so few that their rows of the kernel stay in the cache. On a
# GPU, where this was not measured, so many that a batch is one block or few.
_CPU_BLOCK, _GPU_BLOCK = 2**10, 2**17

# On two cores of a CPU all paths at once are as fast or faster where they are nearly as long as the
# tree is deep and their rows of the kernel are no more numbers than this.
_FEW_NUMBERS, _NEARLY = 2**21, 0.8


class _Choices(NamedTuple):
  """Hold the choices of all paths one after another, padded to whole blocks.

  Attributes:
    example: whose path it is on, `[C]`.
    node: what was chosen, `[C]`; 0 behind the last choice.
    num_blocks: how many blocks have a choice.
  """

  example: jax.Array
  node: jax.Array
  num_blocks: int | jax.Array


def pays(tree: Tree, path: jax.Array, num_features: int) -> bool:
  """Tell whether blocks are faster than all paths of a binary tree at once.

  Example:
    >>> from softmax_research.functional import balanced_tree, huffman_tree
    >>> path = jnp.zeros((512, 17), jnp.int32)
    >>> [pays(tree, path, 64) for tree in (balanced_tree(2**17), huffman_tree([8, 4, 2, 1, 1]))]
    [False, True]
  """
  lengths = tree.path_lengths
  mean_length = np.sum(lengths * 2.0**-lengths)  # Of paths whose choices are all even.
  return bool(mean_length < _NEARLY * tree.depth or path.size * num_features > _FEW_NUMBERS)


def path_log_prob_in_blocks(
  features: jax.Array, params: dict[str, jax.Array], rows: jax.Array, path: jax.Array
) -> jax.Array:
  r"""Sum the log-probabilities of the choices on paths in a binary tree.

  .. math:: \log p(y \mid x) = \sum_{v \in \mathrm{path}(y)} \log \sigma(\pm (w^\top x + b))

  Paths differ in length, and shapes are fixed before they are known. So the choices of all paths
  are put one after another, and taken in as many blocks as they fill; a block's rows of the kernel
  are read while they are in the cache. Derivatives are in reverse mode, and a second one in
  forward mode, since the number of blocks is known at run time only.

  Args:
    features: `[..., D]`, in the type of sums.
    params: the given rows of the parameters, `{"kernel": [U, D], "bias": [U]}`.
    rows: their numbers, ascending, `[U]`.
    path: as from `walk`, `[..., depth]`.

  Returns:
    Log-probabilities in nats, `[...]`, in the type of the features.

  Example:
    >>> import jax.numpy as jnp
    >>> params = {"kernel": jnp.zeros((2, 1)), "bias": jnp.zeros(2)}
    >>> path = jnp.array([[1, 4], [2, 0]])
    >>> jnp.exp(path_log_prob_in_blocks(jnp.ones((2, 1)), params, jnp.array([0, 1]), path))
    Array([0.25, 0.5 ], dtype=float32)
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


@jax.custom_vjp
def _log_prob(features, kernel, bias, rows, path):
  return _forward(features, kernel, bias, rows, path)[0]


def _forward(features, kernel, bias, rows, path):
  choices, dtype = _choices(path), features.dtype

  def visit(block, found):
    log_prob, slopes, places = found
    example, node = _slice(choices.example, block), _slice(choices.node, block)
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

  shape = choices.node.shape
  found = jnp.zeros(len(features), dtype), jnp.zeros(shape, dtype), jnp.zeros(shape, jnp.int32)
  found = vary(found, varying_axes(features, kernel, bias, rows, path))
  log_prob, slopes, places = jax.lax.fori_loop(0, choices.num_blocks, visit, found)
  return log_prob, (features, kernel, bias, choices, slopes, places)


def _backward(residuals, cotangent):
  features, kernel, bias, choices, slopes, places = residuals

  def visit(block, gradients):
    of_features, of_kernel, of_bias = gradients
    example, place = _slice(choices.example, block), _slice(places, block)
    slope = _slice(slopes, block) * _take(cotangent, example)
    of_example = slope[:, None] * _take(kernel, place).astype(features.dtype)
    of_row = slope[:, None] * _take(features, example)
    add = {"mode": "promise_in_bounds"}
    return (
      of_features.at[example].add(of_example, indices_are_sorted=True, **add),
      of_kernel.at[place].add(of_row, **add),
      of_bias.at[place].add(slope, **add),
    )

  values = features, kernel, bias
  zeros = jax.tree.map(lambda value: jnp.zeros(value.shape, features.dtype), values)
  zeros = vary(zeros, varying_axes(values, slopes, cotangent))
  gradients = jax.lax.fori_loop(0, choices.num_blocks, visit, zeros)
  cast = jax.tree.map(lambda g, value: g.astype(value.dtype), gradients, values)
  return *jax.tree.map(match_gradient, cast, values), None, None


_log_prob.defvjp(_forward, _backward)


def _choices(path) -> _Choices:
  """List the choices on paths `[N, depth]`."""
  size = min(path.size, _CPU_BLOCK if jax.default_backend() == "cpu" else _GPU_BLOCK)
  padded = path.size + -path.size % size
  lengths = jnp.sum(path > 0, axis=-1)
  ends = jnp.cumsum(lengths)
  example = jnp.repeat(jnp.arange(len(path)), lengths, total_repeat_length=padded)
  number = jnp.arange(padded)
  depth = jnp.clip(number - (ends - lengths)[example], 0, path.shape[-1] - 1)
  node = jnp.where(number < ends[-1], path[example, depth], 0)
  # A fixed number of blocks where there is but one: under vmap a loop whose number of turns
  # differs copies its state at each.
  num_blocks = 1 if padded == size else (ends[-1] + size - 1) // size
  return _Choices(example.reshape(-1, size), node.reshape(-1, size), num_blocks)


def _slice(blocks, block):
  return jax.lax.dynamic_index_in_dim(blocks, block, keepdims=False)


def _put(blocks, values, block):
  return jax.lax.dynamic_update_index_in_dim(blocks, values, block, axis=0)


def _take(values, indices):
  return values.at[indices].get(mode="promise_in_bounds")
