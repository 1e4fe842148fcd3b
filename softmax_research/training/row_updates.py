"""Row updates: an optimiser's step on a few rows of the parameters, no others touched."""

from collections.abc import Callable
from typing import Any

import jax
import optax

#: Stands for all rows of a part of the parameters.
ALL_ROWS = slice(None)


def update_rows(
  optimizer: optax.GradientTransformation,
  loss: Callable[[Any], jax.Array],
  params: Any,
  opt_state: Any,
  rows: Any,
) -> tuple[jax.Array, Any, Any]:
  r"""Make one update of some rows of the parameters, at the cost of those rows.

  The rows are taken from the parameters and from every array of the optimiser's state that has
  their shape (its moments), updated as if they were all there is, and written back. So any
  elementwise optax transformation will do. Compile it with the parameters and the state donated
  (`jax.jit(..., donate_argnums=...)`), or both are copied whole at each step.

  Rows that are not given keep their moments: those of Adam decay with a row's own updates, not
  with time, while its step counts every update. Transformations that look at all parameters at
  once, as a clipping of the global norm, see the rows alone.

  Args:
    optimizer: an optax gradient transformation.
    loss: `some -> scalar`, where `some` has the structure of the parameters but these rows only.
    params: arrays `[R, ...]` in any structure.
    opt_state: the optimiser's state, from `optimizer.init(params)`.
    rows: distinct row numbers, as from `functional.tree_label_rows`; numbers of R and more fill
      up to a fixed length and change nothing. One array for all parameters, or a structure that
      gives one to each part, or `ALL_ROWS` to a part that is updated whole.

  Returns:
    The loss, the parameters and the state.

  Example:
    >>> import jax.numpy as jnp
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
    optimizer, lambda _, its: its, opt_state, rows, transform_non_params=lambda _: ALL_ROWS
  )
  some, some_state = jax.tree.map(_take, rows, params), jax.tree.map(_take, state_rows, opt_state)
  value, gradient = jax.value_and_grad(loss)(some)
  updates, some_state = optimizer.update(gradient, some_state, some)
  some = optax.apply_updates(some, updates)
  params = jax.tree.map(_put, rows, params, some)
  return value, params, jax.tree.map(_put, state_rows, opt_state, some_state)


def _take(rows, values):
  return values if isinstance(rows, slice) else values.at[rows].get(mode="clip")


def _put(rows, values, some):
  if isinstance(rows, slice):
    return some
  return values.at[rows].set(some, mode="drop", unique_indices=True)
