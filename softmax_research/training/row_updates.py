"""Row updates: an optimiser's step on a few rows of the parameters, no others touched."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

#: Stands for all rows of a part of the parameters.
ALL_ROWS = slice(None)

# Stand for a part that is left out, and for what an optimiser keeps once for all parameters.
_NO_ROWS, _SHARED = slice(0), "shared"

# How many rows are updated at a time: so few that what is computed of them stays in the cache.
_BLOCK = 512


def update_rows(
  optimizer: optax.GradientTransformation,
  loss: Callable[[Any], jax.Array],
  params: Any,
  opt_state: Any,
  rows: Any,
) -> tuple[jax.Array, Any, Any]:
  r"""Make one update of some rows of the parameters, at the cost of those rows.

  The rows are taken from the parameters and from every array of the optimiser's state that has
  their shape (its moments), updated a block at a time as if the block were all there is, and
  written back; blocks past the last row that exists cost nothing. So any elementwise optax
  transformation will do, and none that looks at several rows at once, as a clipping of the global
  norm does: scale the loss or its gradient instead. Compile it with the parameters and the state
  donated (`jax.jit(..., donate_argnums=...)`), or both are copied whole at each step.

  Rows that are not given keep their moments: those of Adam decay with a row's own updates, not
  with time, while its step counts every update.

  Args:
    optimizer: an optax gradient transformation.
    loss: `some -> scalar`, where `some` has the structure of the parameters but these rows only.
    params: arrays `[R, ...]` in any structure.
    opt_state: the optimiser's state, from `optimizer.init(params)`.
    rows: distinct row numbers, as from `functional.tree_label_rows`; numbers of R and more fill
      up to a fixed length and change nothing. One array for all parameters, or a structure that
      gives one to each part, or `ALL_ROWS` to a part that is updated whole.

  Example:
    >>> params, optimizer = {"kernel": jnp.zeros((4, 1)), "scale": jnp.ones(1)}, optax.sgd(1.0)
    >>> loss, params, _ = update_rows(
    ...   optimizer,
    ...   lambda some: jnp.sum(some["kernel"]) + some["scale"][0],
    ...   params,
    ...   optimizer.init(params),
    ...   {"kernel": jnp.array([1, 3, 4]), "scale": ALL_ROWS},
    ... )
    >>> params["kernel"].ravel().tolist(), params["scale"].tolist()
    ([0.0, -1.0, 0.0, -1.0], [0.0])
  """
  rows = jax.tree.map(lambda its, part: jax.tree.map(lambda _: its, part), rows, params)
  state_rows = optax.tree_map_params(
    optimizer, lambda _, its: its, opt_state, rows, transform_non_params=lambda _: _SHARED
  )
  value, gradient = jax.value_and_grad(loss)(jax.tree.map(_take, rows, params))

  def update(block, updated):
    params, state = updated
    # What is shared starts from the same value for every block, so that it changes once.
    state = jax.tree.map(lambda r, *two: two[r is _SHARED], state_rows, state, opt_state)
    its, its_state = (
      jax.tree.map(functools.partial(_rows_of, block), which) for which in (rows, state_rows)
    )
    its_gradient = jax.tree.map(functools.partial(_gradient_of, block), rows, gradient)
    some, some_state = jax.tree.map(_take, its, params), jax.tree.map(_take, its_state, state)
    updates, some_state = optimizer.update(its_gradient, some_state, some)
    some = optax.apply_updates(some, updates)
    return jax.tree.map(_put, its, params, some), jax.tree.map(_put, its_state, state, some_state)

  # In a loop of as many turns as needed donated parameters stay in place; a condition copies them.
  num_blocks = functools.reduce(
    jnp.maximum, jax.tree.leaves(jax.tree.map(_count_blocks, rows, params)), 0
  )
  params, opt_state = jax.lax.fori_loop(0, num_blocks, update, update(None, (params, opt_state)))
  return value, params, opt_state


def _take(rows, values):
  if isinstance(rows, slice):
    return values if rows == ALL_ROWS else jnp.zeros(0, values.dtype)
  return values.at[rows].get(mode="clip")


def _put(rows, values, some):
  if isinstance(rows, slice):
    return some if rows == ALL_ROWS else values
  return values.at[rows].set(some, mode="drop", unique_indices=True)


def _rows_of(block, rows):
  """Return which of some rows belong to a block; without a block, to what is updated whole."""
  if rows is _SHARED:
    return ALL_ROWS
  if isinstance(rows, slice) != (block is None):
    return _NO_ROWS
  if block is None:
    return rows
  places = _slice(block, jnp.arange(len(rows)))
  # A last block that is not full starts earlier: it leaves out what was in the one before.
  return jnp.where(places >= block * _size(rows), _slice(block, rows), np.iinfo(np.int32).max)


def _gradient_of(block, rows, gradient):
  if isinstance(rows, slice) != (block is None):
    return jnp.zeros(0, gradient.dtype)
  return gradient if block is None else _slice(block, gradient)


def _slice(block, values):
  return jax.lax.dynamic_slice_in_dim(values, block * _size(values), _size(values))


def _size(values):
  return min(_BLOCK, len(values))


def _count_blocks(rows, values):
  """Return the number of blocks up to the last row that exists."""
  if isinstance(rows, slice) or not len(rows):
    return 0
  in_use = jnp.where(rows < len(values), jnp.arange(len(rows)), -1)
  return jnp.max(in_use) // _size(rows) + 1
