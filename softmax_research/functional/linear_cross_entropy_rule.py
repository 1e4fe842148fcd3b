"""The loss of an output layer block by block, its gradients formed while the logits are there."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from softmax_research.functional.closures import Constants
from softmax_research.functional.linear_cross_entropy_blocks import (
  Layer,
  Slopes,
  Sums,
  Total,
  gradients,
  total,
)
from softmax_research.functional.normalise import log_normalise, log_normaliser
from softmax_research.functional.varying import match_gradient, vary, varying_axes


class Plan(NamedTuple):
  """Hold what of a loss is fixed when it is traced.

  Attributes:
    score: `(constants, logits) -> scores`, elementwise; None for the identity.
    margin: `(constants, logit, feature_norm, kernel_norm) -> logit`, elementwise; None for none.
    smooth: whether labels are smoothed.
    examples: how many examples make a block.
    classes: how many classes make a block.
    axis_name: the mesh axis over which the classes are sharded, or None.
    known_first: whether the examples with a known label come first, so that blocks without one
      can be skipped.
  """

  score: Callable[..., jax.Array] | None
  margin: Callable[..., jax.Array] | None
  smooth: bool
  examples: int
  classes: int
  axis_name: str | None
  known_first: bool = False


class Rows(NamedTuple):
  """Hold what a loss needs of N examples beside their features; None for what it does not need.

  Attributes:
    feature_norm: Euclidean norm of the features, `[N]`.
    kernel_norm: that of the label's column of the kernel, `[N]`.
    log_prior: the label's, `[N]`.
  """

  feature_norm: jax.Array | None
  kernel_norm: jax.Array | None
  log_prior: jax.Array | None


class Facts(NamedTuple):
  """Hold what has no gradient of N examples.

  Attributes:
    label: the label as a column of this device's kernel, `[N]`; out of range if it is none.
    known: whether the label is a class, `[N]`.
    possible: whether the mask leaves the label in, `[N]`; None without a mask.
    count: how many classes the mask leaves in, `[N]`.
    mask: a mask for each example, `[N, K]`; None without, or if the layer has one for all.
  """

  label: jax.Array
  known: jax.Array
  possible: jax.Array | None
  count: jax.Array
  mask: jax.Array | None


class Options(NamedTuple):
  """Hold the numbers that all examples share.

  Attributes:
    label_smoothing: in [0, 1).
    z_loss: at least 0.
    score: the floats that the score closes over.
    margin: the same of the margin.
  """

  label_smoothing: jax.Array
  z_loss: jax.Array
  score: list[jax.Array]
  margin: list[jax.Array]


class Fixed(NamedTuple):
  """Hold what all examples share and what has no gradient.

  Attributes:
    score: what the score closes over beside floats.
    margin: the same of the margin.
  """

  score: list[jax.Array]
  margin: list[jax.Array]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def losses(
  plan: Plan,
  layer: Layer,
  features: jax.Array,
  rows: Rows,
  options: Options,
  facts: Facts,
  fixed: Fixed,
) -> jax.Array:
  """Compute the losses of N examples, without any gradient.

  Differentiated, it forms the gradients in the same pass over the data, as if all losses were
  summed. That is right up to a factor if all losses have the same cotangent, as in every sum or
  mean; otherwise the gradients that are sums over examples are formed again.

  Args:
    plan: what is fixed.
    layer: the layer.
    features: `[N, D]`, N at least 1.
    rows: what else the losses of examples need.
    options: what all examples share.
    facts: of the examples, without gradients.
    fixed: what all share, without gradients.

  Returns:
    `[N]`, in float32 or wider; NaN where the label is not known.

  Example:
    >>> import jax.numpy as jnp
    >>> label, known, zero = jnp.array([2]), jnp.array([True]), jnp.zeros(())
    >>> losses(
    ...   Plan(None, None, False, 1, 4, None),
    ...   Layer(jnp.zeros((2, 4)), None, None, None),
    ...   jnp.ones((1, 2)),
    ...   Rows(None, None, None),
    ...   Options(zero, zero, [], []),
    ...   Facts(label, known, None, jnp.full(1, 4), None),
    ...   Fixed([], []),
    ... )
    Array([1.3862944], dtype=float32)
  """
  shared = _Shared(layer, options, fixed)

  def visit(_, block):
    _, rows, facts = block
    return None, _row_losses(plan, facts, fixed, _find(plan, shared, block)[1:], rows, options)

  _, by_row = _over_blocks(plan, visit, None, _in_blocks(plan, (features, rows, facts)))
  return _out_of_blocks(plan, by_row, len(features))


class _Shared(NamedTuple):
  """Hold what all examples share."""

  layer: Layer
  options: Options
  fixed: Fixed


class _Gradients(NamedTuple):
  """Hold gradients: of each example's loss in what is its own, of the sum in what is shared."""

  features: jax.Array
  rows: Rows
  layer: Sums
  options: Options


def _forward(plan, layer, features, rows, options, facts, fixed):
  operands = layer, features, rows, options, facts, fixed
  value, unit = _losses_and_gradients(plan, *operands)
  return value, (operands, unit)


def _backward(plan, residuals, cotangent):
  (layer, features, rows, options, facts, fixed), unit = residuals
  # Examples without a known label have no gradient, whatever their cotangent.
  top = jnp.max(cotangent, where=facts.known, initial=-jnp.inf)
  low = jnp.min(cotangent, where=facts.known, initial=jnp.inf)
  uniform = top <= low
  factor = jnp.where(uniform & jnp.any(facts.known), top, 0)
  cotangent = jnp.where(facts.known, cotangent, 0)
  blocks = _in_blocks(plan, (features, rows, facts, cotangent))
  shared = _Shared(layer, options, fixed)

  def visit(i, sums):
    *block, factors = jax.tree.map(lambda leaf: leaf[i], blocks)
    return _visit(plan, shared, block, sums, factors)[2]

  # No turn of a loop rather than a branch not taken: under vmap both branches are computed.
  num_turns = jnp.where(uniform, 0, _num_visited(plan, blocks[2]))
  sums = unit.layer, unit.options
  axes = varying_axes(sums, num_turns)
  sums = vary(jax.tree.map(lambda leaf: jnp.where(uniform, factor * leaf, 0), sums), axes)
  of_layer, of_options = jax.lax.fori_loop(0, num_turns, visit, sums)

  def finish(gradient, value):
    return match_gradient(gradient.astype(value.dtype), value)

  def times_cotangent(gradient, value):
    return finish(cotangent.reshape(-1, *[1] * (value.ndim - 1)) * gradient, value)

  of_layer = Layer(of_layer.kernel, of_layer.bias, of_layer.log_prior, None)
  return (
    jax.tree.map(finish, of_layer, layer._replace(mask=None)),
    times_cotangent(unit.features, features),
    jax.tree.map(times_cotangent, unit.rows, rows),
    jax.tree.map(finish, of_options, options),
    None,
    None,
  )


losses.defvjp(_forward, _backward)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _losses_and_gradients(plan, layer, features, rows, options, facts, fixed):
  """Return the losses, and the gradients of their sum."""
  wide = jnp.promote_types(jnp.result_type(features, layer.kernel), jnp.float32)
  axes = varying_axes(layer, features, rows, options, facts)

  def zeros(tree, axes):
    return vary(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, wide), tree), axes)

  shared = _Shared(layer, options, fixed)
  sums = (
    zeros(Sums(layer.kernel, layer.bias, layer.log_prior, []), axes),
    zeros(options, axes - {plan.axis_name}),
  )

  def step(sums, block):
    value, own, sums = _visit(plan, shared, block, sums)
    return sums, (value, own)

  blocks = _in_blocks(plan, (features, rows, facts))
  (of_layer, of_options), by_row = _over_blocks(plan, step, sums, blocks)
  value, (of_features, of_rows) = _out_of_blocks(plan, by_row, len(features))
  return value, _Gradients(of_features, of_rows, of_layer, of_options)


@_losses_and_gradients.defjvp
def _refuse(plan, primals, tangents):
  raise NotImplementedError(
    "linear_cross_entropy has no second derivatives: it keeps no logits to differentiate. Use "
    "cross_entropy(features @ kernel, labels) for them, a head with implementation='plain', or an "
    "adaptive softmax with tile=None."
  )


def _visit(plan, shared, block, sums, factors=None):
  """Return a block's losses, the gradients of its examples, and the sums of gradients continued.

  The factors multiply the losses in the gradients; none are ones.
  """
  (features, rows, facts), (layer, options, fixed), (of_layer, of_options) = block, shared, sums
  found = _find(plan, shared, block, keep_logits=True)
  row_losses = functools.partial(_row_losses, plan, facts, fixed)
  value, pull = jax.vjp(row_losses, found[1:], rows, options)
  slopes, of_rows, new_options = pull(jnp.ones_like(value) if factors is None else factors)
  of_features, of_layer = gradients(
    _mask(layer, facts),
    plan.score,
    Constants(options.score, fixed.score),
    features,
    facts.label,
    plan.classes,
    found,
    Slopes(*slopes),
    of_layer._replace(score=jax.tree.map(jnp.zeros_like, options.score)),
  )
  of_score = of_layer.score
  if plan.axis_name is not None:
    of_features, of_score = jax.lax.psum((of_features, of_score), plan.axis_name)
  new_options = new_options._replace(score=jax.tree.map(jnp.add, new_options.score, of_score))
  of_options = jax.tree.map(jnp.add, of_options, new_options)
  return value, (of_features, of_rows), (of_layer._replace(score=[]), of_options)


def _find(plan, shared, block, *, keep_logits=False) -> Total:
  """Sweep over the classes, on all devices that have some of them."""
  (features, _, facts), (layer, options, fixed) = block, shared
  found = total(
    _mask(layer, facts),
    plan.score,
    Constants(options.score, fixed.score),
    features,
    facts.label,
    plan.classes,
    sum_scores=plan.smooth,
    keep_logits=keep_logits,
  )
  if plan.axis_name is None:
    return found
  # Two messages of a few numbers an example: the largest, then all sums together.
  top = jax.lax.pmax(found.log_others, plan.axis_name)
  top = jnp.where(top == -jnp.inf, 0, top)
  parts = [jnp.exp(found.log_others - top), found.label_logit]
  parts += [] if found.others is None else [found.others]
  total_others, label_logit, *others = jax.lax.psum(jnp.stack(parts), plan.axis_name)
  return Total(found.logits, label_logit, jnp.log(total_others) + top, *(others or [None]))


def _row_losses(plan, facts, fixed, found, rows, options) -> jax.Array:
  """Return losses from what a sweep over the classes found, `[N]`; cheap, so JAX differentiates."""
  label_logit, log_others, others = found
  if plan.margin is not None:
    label_logit = plan.margin(
      Constants(options.margin, fixed.margin), label_logit, rows.feature_norm, rows.kernel_norm
    )
  label_score = label_logit
  if plan.score is not None:
    label_score = plan.score(Constants(options.score, fixed.score), label_score)
  if rows.log_prior is not None:
    label_score = label_score + rows.log_prior
  if facts.possible is not None:
    label_score = jnp.where(facts.possible, label_score, -jnp.inf)
  scores = jnp.stack([log_others, label_score], axis=-1)
  loss = -log_normalise(scores)[..., 1]
  log_total = log_normaliser(scores)
  log_total = jnp.where(log_total == -jnp.inf, 0, log_total)
  if plan.smooth:
    counted = label_score if facts.possible is None else jnp.where(facts.possible, label_score, 0)
    uniform = log_total - (others + counted) / jnp.maximum(facts.count, 1)
    loss = (1 - options.label_smoothing) * loss + options.label_smoothing * uniform
  loss = loss + options.z_loss * log_total**2
  return jnp.where(facts.known, loss, jnp.nan)


def _mask(layer: Layer, facts: Facts) -> Layer:
  return layer if facts.mask is None else layer._replace(mask=facts.mask)


def _in_blocks(plan: Plan, tree):
  """Cut arrays `[N, ...]` into blocks `[N / B, B, ...]`, the last of them padded with zeros.

  A block takes every so manieth example, so that examples sharded over devices are so in a block,
  unless it can be skipped.
  """

  def cut(array):
    padded = jnp.pad(array, [(0, -len(array) % plan.examples)] + [(0, 0)] * (array.ndim - 1))
    if plan.known_first:
      return padded.reshape(-1, plan.examples, *array.shape[1:])
    return jnp.swapaxes(padded.reshape(plan.examples, -1, *array.shape[1:]), 0, 1)

  return jax.tree.map(cut, tree)


def _out_of_blocks(plan: Plan, tree, num_examples: int):
  """Put blocks back into arrays `[N, ...]`."""

  def join(array):
    array = array if plan.known_first else jnp.swapaxes(array, 0, 1)
    return array.reshape(-1, *array.shape[2:])[:num_examples]

  return jax.tree.map(join, tree)


def _over_blocks(plan: Plan, visit: Callable, sums, blocks):
  """Scan `visit(sums, block) -> sums, by_row` over blocks, with zeros by row for skipped ones."""
  if not plan.known_first:
    return jax.lax.scan(visit, sums, blocks)
  _, _, facts = blocks

  def body(i, state):
    sums, by_row = state
    sums, new = visit(sums, jax.tree.map(lambda leaf: leaf[i], blocks))
    put = functools.partial(jax.lax.dynamic_update_index_in_dim, index=i, axis=0)
    return sums, jax.tree.map(lambda all_rows, some: put(all_rows, some), by_row, new)

  _, shapes = jax.eval_shape(visit, sums, jax.tree.map(lambda leaf: leaf[0], blocks))
  by_row = jax.tree.map(lambda s: jnp.zeros((len(facts.known), *s.shape), s.dtype), shapes)
  by_row = vary(by_row, varying_axes(sums, blocks))
  return jax.lax.fori_loop(0, _num_visited(plan, facts), body, (sums, by_row))


def _num_visited(plan: Plan, blocks: Facts) -> jax.typing.ArrayLike:
  """Return how many blocks there are, without those at the end that can be skipped."""
  return jnp.sum(jnp.any(blocks.known, axis=1)) if plan.known_first else len(blocks.known)
