"""Label log-probabilities for some rows of a batch, in tiles: the other rows cost nothing."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from softmax_research.functional.labels import is_label
from softmax_research.functional.layer import product


def member_label_log_prob(
  features: jax.Array,
  kernel: jax.Array,
  labels: jax.Array,
  member: jax.Array,
  *,
  tile: tuple[int, int],
) -> jax.Array:
  r"""Compute the label's log-probability under softmax for the rows that are members.

  .. math:: \log p_y = z_y - \log \sum_k e^{z_k}, \qquad z = h W

  How many rows are members is known only at run time, and shapes are fixed before it. So the
  members are sorted to the front, the rows taken in blocks, and blocks without a member skipped.
  One tile of logits stands in memory at a time; derivatives compute it anew.

  Args:
    features: h, `[N, D]`.
    kernel: W, `[D, K]`.
    labels: integers `[N]`, in range for the members.
    member: booleans `[N]`.
    tile: how many rows and how many classes make a tile.

  Returns:
    Log-probabilities in nats, `[N]`, in float32 or wider; 0 for the other rows.

  Example:
    >>> import jax.numpy as jnp
    >>> features, kernel = jnp.zeros((2, 3)), jnp.zeros((3, 4))
    >>> labels, member = jnp.array([3, 0]), jnp.array([True, False])
    >>> jnp.exp(member_label_log_prob(features, kernel, labels, member, tile=(1, 2))).round(4)
    Array([0.25, 1.  ], dtype=float32)
  """
  wide = jnp.promote_types(jnp.result_type(features, kernel), jnp.float32)
  order = jnp.argsort(~member, stable=True)
  log_prob, _ = _first_rows(
    features.astype(wide)[order], kernel.astype(wide), labels[order], jnp.sum(member), tile
  )
  return jnp.where(member, log_prob[jnp.argsort(order)], 0)


@functools.partial(jax.custom_jvp, nondiff_argnums=(4,))
def _first_rows(features, kernel, labels, count, tile):
  """Return log p(label) and the log-normaliser, `[N]` each, of the first `count` rows.

  To differentiate the running maximum and sum would cost far more than the rule below.
  """
  num_rows, lowest = len(labels), jnp.finfo(features.dtype).min

  def update(state, chunk, block):
    (top, total, label_logit), (rows, row_labels) = state, block
    logits, exists, is_row_label = _tile_logits(rows, row_labels, kernel.shape[1], *chunk)
    logits = jnp.where(exists, logits, lowest)
    new_top = jnp.maximum(top, jnp.max(logits, axis=-1))
    total = total * jnp.exp(top - new_top) + jnp.sum(jnp.exp(logits - new_top[:, None]), axis=-1)
    return new_top, total, label_logit + jnp.sum(jnp.where(is_row_label, logits, 0), axis=-1)

  state = (jnp.full(num_rows, lowest), *jnp.zeros((2, num_rows), features.dtype))
  top, total, label_logit = _fold_tiles(update, state, [kernel], (features, labels), count, tile)
  log_total = top + jnp.log(total)  # -inf in the blocks that are skipped
  return label_logit - log_total, log_total


@_first_rows.defjvp
def _first_rows_jvp(tile, primals, tangents):
  features, kernel, labels, count = primals
  features_dot, kernel_dot, _, _ = tangents
  log_prob, log_total = _first_rows(features, kernel, labels, count, tile)

  def update(state, chunk, block):
    (weights, first_class, weights_dot), (rows, row_labels, rows_dot, row_log_total) = chunk, block
    logits, exists, is_row_label = _tile_logits(
      rows, row_labels, kernel.shape[1], weights, first_class
    )
    logits_dot = product(rows_dot, weights) + product(rows, weights_dot)
    probs = jnp.where(exists, jnp.exp(logits - row_log_total[:, None]), 0)
    log_total_dot = jnp.sum(probs * logits_dot, axis=-1)
    label_dot = jnp.sum(jnp.where(is_row_label, logits_dot, 0), axis=-1)
    return state[0] + label_dot - log_total_dot, state[1] + log_total_dot

  rows = (features, labels, features_dot, log_total)
  state = (jnp.zeros_like(log_prob), jnp.zeros_like(log_prob))
  state = _fold_tiles(update, state, [kernel, kernel_dot], rows, count, tile)
  return (log_prob, log_total), state


def _tile_logits(rows, row_labels, num_classes, weights, first_class):
  """Return a tile's logits, which of its classes exist, and which is each row's label."""
  logits = product(rows, weights)
  exists = jax.lax.broadcasted_iota(jnp.int32, logits.shape, 1) < num_classes - first_class
  return logits, exists, is_label(row_labels - first_class, logits)


def _fold_tiles(
  update: Callable[..., Any],
  state: Any,
  kernels: list[jax.Array],
  rows: Any,
  count: jax.Array,
  tile: tuple[int, int],
) -> Any:
  """Update the state of each block of rows by each chunk of classes.

  The blocks are the inner loop, so that a chunk of weights and its gradient stay in cache.
  """
  num_rows, num_classes = len(rows[0]), kernels[0].shape[1]
  block_rows, chunk_classes = min(tile[0], num_rows), min(tile[1], num_classes)

  def in_blocks(array):
    array = jnp.pad(array, [(0, -num_rows % block_rows)] + [(0, 0)] * (array.ndim - 1))
    return array.reshape(-1, block_rows, *array.shape[1:])

  def in_chunks(kernel):
    kernel = jnp.pad(kernel, [(0, 0), (0, -num_classes % chunk_classes)])
    return jnp.moveaxis(kernel.reshape(len(kernel), -1, chunk_classes), 1, 0)

  # Twice: nothing of a tile is kept for the backward pass, nor handed out of the branch, where a
  # block that is skipped would have to hand out zeros.
  recompute = functools.partial(jax.checkpoint, prevent_cse=False)

  @recompute
  def fold(chunk, state, block, first_row):
    def skip(state, *_):
      return state

    return jax.lax.cond(first_row < count, recompute(update), skip, state, chunk, block)

  def over_blocks(state, chunk):
    return jax.lax.map(lambda block: fold(chunk, *block), (state, *blocks)), None

  state, rows = jax.tree.map(in_blocks, (state, rows))
  weights, *others = (in_chunks(kernel) for kernel in kernels)
  chunks = (weights, chunk_classes * jnp.arange(len(weights)), *others)
  blocks = (rows, block_rows * jnp.arange(len(rows[0])))
  state, _ = jax.lax.scan(over_blocks, state, chunks)
  return jax.tree.map(lambda array: array.reshape(-1)[:num_rows], state)
