"""Row updates: an optimiser's step on a few rows of the parameters, no others touched."""

from collections.abc import Callable
from typing import Any

import jax
import optax


def update_rows(
  optimizer: optax.GradientTransformation,
  loss: Callable[[Any], jax.Array],
  params: Any,
  opt_state: Any,
  rows: jax.Array,
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
    params: arrays `[R, ...]`.
    opt_state: the optimiser's state, from `optimizer.init(params)`.
    rows: distinct row numbers, as from `functional.tree_label_rows`; numbers of R and more fill
      up to a fixed length and change nothing.

  Returns:
    The loss, the parameters and the state.

  Example:
    >>> import jax.numpy as jnp
    >>> params, optimizer = {"kernel": jnp.zeros((4, 1))}, optax.sgd(1.0)
    >>> loss, params, _ = update_rows(
    ...   optimizer,
    ...   lambda some: jnp.sum(some["kernel"]),
    ...   params,
    ...   optimizer.init(params),
    ...   jnp.array([1, 3, 4]),
    ... )
    >>> params["kernel"].ravel().tolist()
    [0.0, -1.0, 0.0, -1.0]
  """

  def take(values):
    return values.at[rows].get(mode="clip")

  def put(values, some):
    return values.at[rows].set(some, mode="drop", unique_indices=True)

  has_rows = optax.tree_map_params(
    optimizer, lambda _: True, opt_state, transform_non_params=lambda _: False
  )
  some = jax.tree.map(take, params)
  state = jax.tree.map(lambda its, leaf: take(leaf) if its else leaf, has_rows, opt_state)
  value, gradient = jax.value_and_grad(loss)(some)
  updates, state = optimizer.update(gradient, state, some)
  params = jax.tree.map(put, params, optax.apply_updates(some, updates))
  opt_state = jax.tree.map(
    lambda its, old, new: put(old, new) if its else new, has_rows, opt_state, state
  )
  return value, params, opt_state
