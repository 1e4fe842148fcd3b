"""What a dense output layer says of all its classes, without its logits in memory."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from softmax_research.functional.arrays import (
  affine,
  check_integer,
  has_explicit_mesh,
  per_class,
  vary,
  varying_axes,
  wide_type,
)
from softmax_research.functional.linear_cross_entropy import (
  Hoisted,
  Score,
  blocks_for,
  check_layer,
  hoist_scores,
)
from softmax_research.functional.normalise import exclude, log_normaliser, log_or_zero, lower
from softmax_research.functional.streaming import (
  Constants,
  Examples,
  Layer,
  Loss,
  cut_columns,
  even_size,
  losses,
  over_classes,
)


class TopClasses(NamedTuple):
  """Hold the most probable classes.

  Attributes:
    log_probs: of the classes, in nats, the most probable first.
    classes: int32.
  """

  log_probs: jax.Array
  classes: jax.Array


def linear_log_normaliser(
  features: jax.typing.ArrayLike,
  kernel: jax.typing.ArrayLike,
  *,
  bias: jax.typing.ArrayLike | None = None,
  score: Score | None = None,
  log_prior: jax.typing.ArrayLike | None = None,
  where: jax.typing.ArrayLike | None = None,
  block_size: tuple[int, int] | str | None = None,
) -> jax.Array:
  r"""Compute the log-normaliser of a dense output layer, a block of examples at a time.

  .. math:: \log Z = \log \sum_k e^{\mathrm{score}(x w_k + b_k) + \log \pi_k}

  A class's log-probability is its own score less this. Blocks, types, gradients and what is
  refused are those of `linear_cross_entropy`, of which this is a part.

  Args:
    features, kernel, bias, score, log_prior, where, block_size: those of `linear_cross_entropy`.

  Returns:
    log Z in nats, `[...]`, in float32 or the wider type of features and kernel; -inf where no
    class is possible.

  Raises:
    ValueError: a shape does not fit, or the score is not elementwise.
    NotImplementedError: it is differentiated twice.

  Example:
    >>> linear_log_normaliser(jax.numpy.ones((2, 3)), jax.numpy.zeros((3, 4))).round(4)
    Array([1.3863, 1.3863], dtype=float32)
  """
  layer, features, score, class_mask = _check(features, kernel, bias, score, log_prior, where)
  if has_explicit_mesh(features) or has_explicit_mesh(layer.kernel):
    # No blocks can be cut out of axes whose sharding is part of the type.
    return log_normaliser(_scores(layer, features, score), where=where)
  batch = features.shape[:-1]
  num_examples = math.prod(batch)
  if num_examples == 0:
    return jnp.zeros(batch, wide_type(features))
  blocks = blocks_for(block_size, num_examples, layer.kernel.shape[1], features.dtype)
  examples = Examples(
    features.reshape(num_examples, features.shape[-1]),
    jnp.full(num_examples, -1),
    jnp.ones(num_examples, bool),
    class_mask,
  )
  loss = Loss(blocks, score.call, normaliser_alone=True)
  return losses(loss, layer, Constants(score.constants), examples).reshape(batch)


def linear_top_k(
  features: jax.typing.ArrayLike,
  kernel: jax.typing.ArrayLike,
  k: int,
  *,
  bias: jax.typing.ArrayLike | None = None,
  score: Score | None = None,
  log_prior: jax.typing.ArrayLike | None = None,
  where: jax.typing.ArrayLike | None = None,
  block_size: int = 8192,
) -> TopClasses:
  r"""Find the k most probable classes of a dense output layer, a block of classes at a time.

  .. math:: \log p_k = s_k - \log \sum_j e^{s_j}, \qquad
    s_k = \mathrm{score}(x w_k + b_k) + \log \pi_k

  One sweep over the classes keeps the best so far and the sum of exponentials.

  Args:
    k: how many classes, between 1 and K.
    features, kernel, bias, score, log_prior, where: those of `linear_cross_entropy`.
    block_size: how many classes are computed together, for all examples.

  Returns:
    Log-probabilities and classes, `[..., k]` each, the most probable first and of equal ones the
    lowest. Where fewer classes are possible, the rest has class -1 and log-probability -inf. Their
    gradient is right, but keeps every block's scores: for training use `linear_cross_entropy`.

  Raises:
    ValueError: k is out of range, a shape does not fit, or the score is not elementwise.

  Example:
    >>> features, kernel = jax.numpy.ones((1, 1)), jax.numpy.log(jax.numpy.array([[1.0, 2, 1]]))
    >>> found = linear_top_k(features, kernel, 2)
    >>> found.classes, jax.numpy.exp(found.log_probs).round(2)
    (Array([[1, 0]], dtype=int32), Array([[0.5 , 0.25]], dtype=float32))
  """
  layer, features, score, class_mask = _check(features, kernel, bias, score, log_prior, where)
  num_classes, dtype = layer.kernel.shape[1], wide_type(features)
  check_integer("k", k, 1, num_classes)
  check_integer("block_size", block_size)
  if has_explicit_mesh(features) or has_explicit_mesh(layer.kernel):
    scores = exclude(_scores(layer, features, score), where)
    best, classes = jax.lax.top_k(scores, k)
    return _finish(best, classes, _total(scores, best))
  batch = features.shape[:-1]
  count = math.prod(batch)
  rows = features.reshape(count, features.shape[-1])
  size = even_size(num_classes, block_size)
  axes = varying_axes(layer, features, score.constants, class_mask)

  def visit(start, is_fresh, state):
    old_best, classes, total = state
    tile, mask = cut_columns((layer, class_mask), start, size)
    if is_fresh is not None:
      mask = is_fresh if mask is None else is_fresh & mask
    scores = exclude(_scores(tile, rows, score), mask)
    best, places = jax.lax.top_k(jnp.concatenate([old_best, scores], axis=-1), k)
    numbers = jnp.broadcast_to((start + jnp.arange(size, dtype=jnp.int32))[None], scores.shape)
    classes = jnp.take_along_axis(jnp.concatenate([classes, numbers], axis=-1), places, axis=-1)
    decay = jnp.exp(_top(old_best) - _top(best))[:, 0]
    return best, classes, total * decay + _total(scores, best)

  state = jnp.full((count, k), -jnp.inf, dtype), jnp.full((count, k), -1, jnp.int32)
  state = vary((*state, jnp.zeros(count, dtype)), axes)
  found = _finish(*over_classes(size, num_classes, visit, state))
  return jax.tree.map(lambda array: array.reshape(*batch, k), found)


def _check(
  features, kernel, bias, score, log_prior, where
) -> tuple[Layer, jax.Array, Hoisted, jax.Array | None]:
  """Return what a layer is computed from after checking it."""
  features, layer, class_mask = check_layer(features, kernel, bias, log_prior, where)
  axes = varying_axes(features, layer.kernel)
  score, _ = hoist_scores(score, None, wide_type(features), axes, None)
  return layer, features, score, class_mask


def _scores(layer: Layer, features: jax.Array, score: Hoisted) -> jax.Array:
  logits = affine(features, layer.kernel, layer.bias)
  scores = logits if score.call is None else score.call(score.constants, logits)
  return scores if layer.log_prior is None else scores + per_class(layer.log_prior, scores)


def _top(best: jax.Array) -> jax.Array:
  """Return the largest score, finite where no class is possible.

  Not as the first: XLA on CPU would see parts of a sorted array, and sort it all for them.
  """
  top = jnp.max(jax.lax.stop_gradient(best), axis=-1, keepdims=True)
  return jnp.maximum(top, jnp.finfo(best.dtype).min)


def _total(scores: jax.Array, best: jax.Array) -> jax.Array:
  """Return the sum of exponentials relative to the best's, beside which it may have no digit."""
  return jnp.sum(jnp.exp(scores - _top(best)), axis=-1)


def _finish(best: jax.Array, classes: jax.Array, total: jax.Array) -> TopClasses:
  possible = best != -jnp.inf
  log_probs = lower(best - _top(best), log_or_zero(total)[..., None])
  return TopClasses(log_probs, jnp.where(possible, classes, -1).astype(jnp.int32))
