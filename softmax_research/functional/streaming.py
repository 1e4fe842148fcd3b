"""Streaming: losses of a dense output layer whose logits are in memory for one block at a time.

Two sweeps go over the classes of a block of examples. The first finds those `Statistics` of each
example's scores on which its loss depends; the second forms the gradients through them. The label
is kept apart from the other classes: a margin changes its logit alone.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from softmax_research.functional.arrays import evaluate, product, vary, varying_axes, wide_type
from softmax_research.functional.labels import is_label, weigh
from softmax_research.functional.normalise import log_normalise, log_normaliser

# CPU. How many logits are kept at a time, and the least number of examples for which more may be:
# every block of examples reads and writes the kernel's gradient once, which costs as much as the
# products of some tens of examples. Of the kernel's gradient so many columns are made at a time:
# enough for a product at full speed, few enough that the product, logits and exponentials are
# still in a cache when they are added.
_CPU_LOGITS = 2**24
_CPU_EXAMPLES = 256
_CPU_LOGITS_AT_MOST = 3 * 2**24
_CPU_CLASSES = 8192
# GPU. A product must be large and kernels few, so a block has all classes and the logits fill a
# gigabyte. On an H200, with 8,192 examples of 2,304 features, 256,000 classes and bfloat16, blocks
# of (191, 8192) took 277 ms, (2048, all) 53, and (2048, all) with the logits kept in bfloat16 52,
# where the plain form took 44 ms. Compiled for an H200, (2048, all) has 2.5 GB of temporaries, 1.05
# times the kernel's gradient in float32, and (4096, all) 4.5 GB.
_GPU_BYTES = 2**30
# The lean form, everywhere: with 8,192 examples these are 10,240 classes and a third of a gigabyte
# in float32. On the same H200 tiles of 4,000 classes took 76 ms and 0.3 GB, of 8,000 72 ms and 0.5
# GB, of 16,000 68 ms and 0.9 GB, and of 11,131 classes 221 ms: a product's sides must be multiples
# of some power of two there. Fewer classes than a thousand would make products too small.
_LEAN_LOGITS = 84 * 10**6
_LEAN_MULTIPLE = 128
_LEAN_CLASSES_AT_LEAST = 1024


class Blocks(NamedTuple):
  """Hold how a loss is cut: how many examples make a block, and its classes visited at a time.

  The logits of a block, those of all classes, are kept in `logits_type` for the gradients; if it is
  None they are computed again.
  """

  examples: int
  classes: int
  logits_type: jnp.dtype | None


def choose_blocks(
  num_examples: int, num_classes: int, dtype: jnp.dtype, *, backend: str, lean: bool = False
) -> Blocks:
  """Choose blocks, about equal ones, by the sizes of a layer, its type and the backend.

  Where logits are kept, no product is computed twice, but every block of examples is added to the
  kernel's gradient, in float32 or wider. The lean form, of least memory, keeps none. It has all
  examples in one block, so that a column of the kernel's gradient is complete when it is made.
  """
  wide = wide_type(dtype)
  if lean:
    most = max(_LEAN_LOGITS // num_examples, _LEAN_CLASSES_AT_LEAST)
    even = even_size(num_classes, most)
    classes = num_classes if even == num_classes else -(-even // _LEAN_MULTIPLE) * _LEAN_MULTIPLE
    return Blocks(num_examples, min(classes, num_classes), None)
  if backend == "cpu":
    few = min(_CPU_EXAMPLES, _CPU_LOGITS_AT_MOST // num_classes)
    examples = max(_CPU_LOGITS // num_classes, few, 1)
    return Blocks(even_size(num_examples, examples), even_size(num_classes, _CPU_CLASSES), wide)
  # float16 would overflow.
  logits_type = dtype if dtype == jnp.bfloat16 else wide
  examples = max(_GPU_BYTES // (num_classes * logits_type.itemsize), 1)
  return Blocks(even_size(num_examples, examples), num_classes, logits_type)


def even_size(total: int, most: int) -> int:
  """Return the size of blocks that are about equal, of so many at most."""
  num_blocks = -(-total // most)
  return -(-total // num_blocks)


class Loss(NamedTuple):
  """Hold what of a loss is fixed when it is traced.

  The scores are elementwise, None for the identity: `(constants, logits) -> scores` for all classes
  but the label, `(constants, label_logits, feature_norms, label_kernel_norms) -> label_scores` for
  the label, a margin and the score.
  """

  blocks: Blocks
  score: Callable[..., jax.Array] | None = None
  label_score: Callable[..., jax.Array] | None = None
  link: Callable[..., jax.Array] | None = None  # (constants, -log p of the label) -> losses
  axis_name: str | None = None  # the mesh axis over which the classes are sharded
  known_first: bool = False  # the blocks without a known label are last, and skipped
  weighs_targets: bool = False  # there are class weights, and targets in place of labels
  normaliser_alone: bool = False  # put out log Z over all classes; the labels are out of range


class Layer(NamedTuple):
  """Hold an output layer's arrays; None for what it lacks."""

  kernel: jax.Array  # [D, K], in the type of the features
  bias: jax.Array | None = None  # [K]
  log_prior: jax.Array | None = None  # [K]; -inf excludes a class
  class_weights: jax.Array | None = None  # [K]; for smoothed labels and targets


class Constants(NamedTuple):
  """Hold the arrays that the functions of a `Loss` close over."""

  score: tuple[jax.Array, ...] = ()
  label_score: tuple[jax.Array, ...] = ()
  link: tuple[jax.Array, ...] = ()


class Examples(NamedTuple):
  """Hold what belongs to N examples, `[N]` each but three; None for what a loss does not need."""

  features: jax.Array  # [N, D]
  labels: jax.Array  # as columns of this device's kernel; out of range if it has no such
  known: jax.Array  # whether the label is a class; the others have no loss
  class_mask: jax.Array | None = None  # [N, K]; false excludes a class
  feature_norms: jax.Array | None = None
  label_kernel_norms: jax.Array | None = None
  label_log_prior: jax.Array | None = None  # -inf if the label is excluded
  label_weight: jax.Array | None = None
  label_smoothing: jax.Array | None = None
  z_loss: jax.Array | None = None
  targets: jax.Array | None = None  # [N, K]; in place of labels, which are then out of range


_WITHOUT_GRADIENT = dict.fromkeys(("labels", "known", "class_mask", "targets"))


class Statistics(NamedTuple):
  """Hold what the losses of N examples depend on, each `[N]`.

  All scores are less the top, beside which a float may have no digit for the rest.
  """

  label_logits: jax.Array | None
  top: jax.Array | None  # the largest score of all classes but the label; 0 if none is possible
  log_others: jax.Array  # of the sum of exponentials of those scores
  sum_others: jax.Array | None = None  # of those that are possible; None without label smoothing
  num_others: jax.Array | None = None  # of those classes; None likewise
  weight_others: jax.Array | None = None  # of those classes; None without class weights too
  expected: jax.Array | None = None  # score under the targets; None without targets
  total_target: jax.Array | None = None  # their sum, which weights make differ from one


def losses(loss: Loss, layer: Layer, constants: Constants, examples: Examples) -> jax.Array:
  """Compute the losses of N examples.

  Where the logits are kept, the gradients are formed in the same pass over the data, as if all
  losses were summed. That is right up to a factor if all losses have the same cotangent, as in
  every sum or mean; otherwise the gradients that are sums over examples are formed again. Where
  they are not kept, the gradients are formed once, when the cotangent is known. The losses are in
  float32 or wider, and 0 where the label is not known.
  """
  axes = varying_axes(layer, constants, examples)
  own_axes = axes - {loss.axis_name}
  if axes and any(constants):
    # JAX sums the gradients of constants over devices whose cotangents differ, so these have to be
    # known when the gradients are formed.
    loss = loss._replace(blocks=loss.blocks._replace(logits_type=None))
  return _losses(loss, vary(layer, axes), constants, vary(examples, own_axes))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _losses(loss, layer, constants, examples):
  loss = loss._replace(blocks=loss.blocks._replace(logits_type=None))
  return _losses_and_gradients(loss, layer, constants, examples)[0]


def _forward(loss, layer, constants, examples):
  values, *residuals = _losses_and_gradients(loss, layer, constants, examples)
  return values, (layer, constants, examples, *residuals)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _losses_and_gradients(loss, layer, constants, examples):
  """Return the losses, the statistics in blocks and, if logits are kept, the sum's gradients."""
  keeps_logits = loss.blocks.logits_type is not None
  blocks, complete = _example_blocks(loss, examples)

  def visit(sums, block):
    block = complete(block)
    statistics, logits = _statistics(loss, layer, constants, block, loss.blocks.logits_type)
    values = _example_losses(loss, statistics, constants, block)
    if not keeps_logits:
      return sums, (values, statistics, None)
    cotangent = jnp.ones_like(values)
    of_examples, sums = _gradients(
      loss, layer, constants, block, statistics, cotangent, sums, logits
    )
    return sums, (values, statistics, of_examples)

  sums = _zero_sums(layer, constants, examples, loss) if keeps_logits else None
  sums, (values, statistics, of_examples) = _over_blocks(
    loss, visit, sums, blocks, _num_blocks(loss, examples)
  )
  values, of_examples = _out_of_blocks(loss, (values, of_examples), len(examples.labels))
  return values, statistics, sums, of_examples


@_losses_and_gradients.defjvp
def _refuse(loss, primals, tangents):
  raise NotImplementedError(
    "linear_cross_entropy has no second derivatives: it keeps no logits to differentiate. Use "
    "cross_entropy(features @ kernel, labels) for them, a head with implementation='plain', or an "
    "adaptive softmax with tile=None."
  )


def _backward(loss, residuals, cotangent):
  layer, constants, examples, statistics, sums, of_examples = residuals
  keeps_logits = loss.blocks.logits_type is not None
  num_blocks, scale = _num_blocks(loss, examples), None
  if keeps_logits:
    # Examples without a known label have no gradient, whatever their cotangent.
    top = jnp.max(cotangent, where=examples.known, initial=-jnp.inf)
    low = jnp.min(cotangent, where=examples.known, initial=jnp.inf)
    is_uniform = top <= low
    scale = jnp.where(is_uniform, jnp.where(jnp.any(examples.known), top, 0), 1)
    # No turn of a loop rather than a branch not taken: under vmap both branches are computed. And
    # loops alone change a large array in place: anything between two of them would be a copy.
    num_blocks = jnp.where(is_uniform, 0, num_blocks)

    def clear(_, sums):
      return _typed_as(jax.tree.map(jnp.zeros_like, sums), sums)

    sums = jax.lax.fori_loop(0, jnp.minimum(num_blocks, 1), clear, sums)
  else:
    sums = _zero_sums(layer, constants, examples, loss)
  cotangent = jnp.where(examples.known, cotangent, 0)

  blocks, complete = _example_blocks(loss, examples)

  def visit(sums, block):
    block, *others = block
    of_examples, sums = _gradients(loss, layer, constants, complete(block), *others, sums)
    return sums, None if keeps_logits else of_examples

  blocks = blocks, statistics, _in_blocks(loss, cotangent)
  sums, later = _over_blocks(loss, visit, sums, blocks, num_blocks)
  if keeps_logits:
    of_examples = jax.tree.map(
      lambda leaf: cotangent.reshape(-1, *[1] * (leaf.ndim - 1)) * leaf, of_examples
    )
  else:
    of_examples = _out_of_blocks(loss, later, len(cotangent))

  if scale is not None:
    sums = jax.tree.map(lambda total: scale * total.astype(scale.dtype), sums)
  given = layer, constants, examples._replace(**_WITHOUT_GRADIENT)
  return typed_gradients((*sums, of_examples), given)


_losses.defvjp(_forward, _backward)


def _statistics(loss, layer, constants, examples, logits_type=None):
  """Sweep over the classes; return the statistics of N examples and, given a type, their logits.

  The logits are kept without the bias: in the type in which the product puts them out.
  """
  num_examples, num_classes = len(examples.labels), layer.kernel.shape[1]

  def visit(start, is_fresh, state):
    old_top, found, kept = state
    tile = cut_columns(layer, start, loss.blocks.classes)
    logits = product(examples.features, tile.kernel, dtype=logits_type)
    biased = _biased(logits, tile)
    label, other = _mark(examples, start, is_fresh, logits)
    scores = _scores(loss, constants.score, tile.log_prior, biased, other)
    top = jnp.maximum(old_top, jnp.max(scores, axis=-1))
    found = _lower(found, old_top, top)
    targets = _targets(examples, start, is_fresh, loss.blocks.classes)
    sums = _sums(scores, _finite(top), examples, tile.class_weights, targets)
    sums = sums._replace(label_logits=jnp.sum(jnp.where(label, biased, 0), axis=-1))
    kept = None if kept is None else _put_columns(kept, logits, start)
    return top, jax.tree.map(jnp.add, found, sums), kept

  zeros = jnp.zeros(num_examples, wide_type(layer.kernel))
  smoothed = None if examples.label_smoothing is None else zeros
  weighted = None if layer.class_weights is None else smoothed
  expected = None if examples.targets is None else zeros
  found = Statistics(zeros, None, zeros, smoothed, smoothed, weighted, expected, expected)
  kept = None if logits_type is None else jnp.zeros((num_examples, num_classes), logits_type)
  state = vary((zeros - jnp.inf, found, kept), varying_axes(layer, constants, examples))
  top, found, kept = over_classes(loss.blocks.classes, num_classes, visit, state)
  if loss.axis_name is not None:
    # Two messages of a few numbers an example: the largest, then all sums together.
    own_top, top = top, jax.lax.pmax(top, loss.axis_name)
    found = jax.lax.psum(_lower(found, own_top, top), loss.axis_name)
  return found._replace(top=_finite(top), log_others=jnp.log(found.log_others)), kept


def _lower(found: Statistics, old_top, top) -> Statistics:
  """Return sums over the scores less a new top."""
  change = _finite(old_top) - _finite(top)
  found = found._replace(log_others=found.log_others * jnp.exp(old_top - _finite(top)))
  if found.expected is not None:
    found = found._replace(expected=found.expected + found.total_target * change)
  if found.sum_others is not None:
    weights = found.num_others if found.weight_others is None else found.weight_others
    found = found._replace(sum_others=found.sum_others + weights * change)
  return found


def _example_losses(loss, statistics, constants, examples) -> jax.Array:
  """Return losses by their statistics, `[N]`; cheap, so that JAX may differentiate it."""
  if loss.normaliser_alone:
    return statistics.top + statistics.log_others
  label_scores = statistics.label_logits
  if loss.label_score is not None:
    lengths = examples.feature_norms, examples.label_kernel_norms
    lengths = [jnp.zeros_like(label_scores) if one is None else one for one in lengths]
    label_scores = loss.label_score(constants.label_score, label_scores, *lengths)
  if examples.label_log_prior is not None:
    label_scores = label_scores + examples.label_log_prior
  label_scores = label_scores - statistics.top
  if statistics.expected is not None:
    label_scores = jnp.full_like(label_scores, -jnp.inf)  # All classes are others.
  scores = jnp.stack([statistics.log_others, label_scores], axis=-1)
  values = -log_normalise(scores)[..., 1]
  if loss.link is not None:
    values = loss.link(constants.link, values)
  label_weight = examples.label_weight
  if statistics.expected is not None:
    values = statistics.total_target * _finite(statistics.log_others) - statistics.expected
  if label_weight is not None:
    values = weigh(values, label_weight)
  log_total = _finite(log_normaliser(scores))
  if examples.label_smoothing is not None:
    possible = label_scores != -jnp.inf
    one = jnp.ones_like(label_scores) if label_weight is None else label_weight
    number = statistics.num_others + jnp.where(possible, 1, 0)
    total = statistics.sum_others + one * jnp.where(possible, label_scores, 0)
    others = statistics.weight_others
    others = statistics.num_others if others is None else others
    total_weight = others + jnp.where(possible, one, 0)
    uniform = (total_weight * log_total - total) / jnp.maximum(number, 1)
    weight = examples.label_smoothing
    # All of the label may be spread, and nothing of it be left: 0 times infinity would be NaN.
    rest = jnp.where((values == jnp.inf) & (weight == 1), 0, values)
    values = (1 - weight) * rest + weight * uniform
  if examples.z_loss is not None:
    penalty = examples.z_loss * (statistics.top + log_total) ** 2
    label_weight = statistics.total_target if loss.weighs_targets else label_weight
    values += penalty if label_weight is None else weigh(penalty, label_weight)
  return jnp.where(examples.known, values, 0)


def _gradients(loss, layer, constants, examples, statistics, cotangent, sums, logits=None):
  """Sweep over the classes; return gradients in what the examples own, and add to the sums."""
  _, pull = jax.vjp(
    functools.partial(_example_losses, loss),
    statistics,
    constants,
    examples._replace(features=None, class_mask=None, targets=None),
  )
  of_statistics, new_constants, of_examples = pull(cotangent)
  axes = varying_axes(layer, constants, examples, cotangent)
  of_log_others = of_statistics.log_others * jnp.exp(-_finite(statistics.log_others))
  of_sums = of_statistics._replace(label_logits=None, top=None, log_others=of_log_others)
  of_sums, base, features = vary(of_sums, axes), statistics.top, examples.features

  def visit(start, is_fresh, state):
    of_features, of_layer, of_constants = state
    tile = cut_columns(layer, start, loss.blocks.classes)
    if logits is None:
      biased = _biased(product(features, tile.kernel, dtype=loss.blocks.logits_type), tile)
    else:
      biased = _biased(cut_columns(logits, start, loss.blocks.classes), tile)
    label, other = _mark(examples, start, is_fresh, biased)

    targets = _targets(examples, start, is_fresh, loss.blocks.classes)

    def sums_of_others(constants, log_prior, class_weights, biased):
      scores = _scores(loss, constants, log_prior, biased, other)
      return _sums(scores, base, examples, class_weights, targets)

    given = constants.score, tile.log_prior, tile.class_weights, biased
    _, pull = jax.vjp(sums_of_others, *given)
    new_constants, of_log_prior, of_class_weights, slopes = pull(of_sums)
    slopes = jnp.where(label, of_statistics.label_logits[:, None], slopes)
    of_bias = None if layer.bias is None else jnp.sum(slopes, axis=0)
    slopes, unit = _narrow(slopes, tile.kernel.dtype)
    of_tile = Layer(unit * product(features.T, slopes), of_bias, of_log_prior, of_class_weights)
    return (
      of_features + unit * product(slopes, tile.kernel.T),
      jax.tree.map(functools.partial(_add_columns, start=start), of_layer, of_tile),
      add_gradients(of_constants, new_constants),
    )

  of_layer, of_constants = sums
  of_constants = add_gradients(of_constants, new_constants)
  state = vary(jnp.zeros(features.shape, wide_type(features)), axes), of_layer, of_constants.score
  state = over_classes(loss.blocks.classes, layer.kernel.shape[1], visit, state)
  of_features, of_layer, of_score = state
  if loss.axis_name is not None:
    of_features = jax.lax.psum(of_features, loss.axis_name)
  of_examples = of_examples._replace(features=of_features, **_WITHOUT_GRADIENT)
  return of_examples, (of_layer, of_constants._replace(score=of_score))


def _narrow(slopes: jax.Array, dtype: jnp.dtype) -> tuple[jax.Array, jax.typing.ArrayLike]:
  """Return the slopes in the type of the inputs, and the unit that they are in.

  Products of bfloat16 are several times as fast where hardware has them, and are still summed in
  float32. The slopes of a mean over many examples are too small for float16, those of a loss that
  is scaled up too large.
  """
  if dtype != jnp.float16:
    return slopes.astype(dtype), 1
  unit = jnp.max(jnp.abs(slopes), initial=jnp.finfo(slopes.dtype).tiny)
  return (slopes / unit).astype(dtype), unit


def _biased(logits, tile):
  logits = logits.astype(wide_type(logits))
  return logits if tile.bias is None else logits + tile.bias[None]


def _mark(examples, start, is_fresh, logits) -> tuple[jax.Array, jax.Array]:
  """Mark in a tile of logits the labels, and the other classes that count."""
  label = is_label(examples.labels - start, logits)
  other = ~label
  if examples.class_mask is not None:
    other &= cut_columns(examples.class_mask, start, logits.shape[-1])
  if is_fresh is not None:
    label, other = label & is_fresh, other & is_fresh
  return label, other


def _scores(loss, constants, log_prior, logits, other) -> jax.Array:
  """Return the scores of a tile's other classes, -inf for the label and for what is excluded."""
  scores = logits if loss.score is None else loss.score(constants, logits)
  if log_prior is not None:
    scores = scores + log_prior[None]
  return jnp.where(other, scores, -jnp.inf)


def _targets(examples, start, is_fresh, size: int) -> jax.Array | None:
  """Return the targets of a tile's classes, 0 for classes that were seen before."""
  if examples.targets is None:
    return None
  targets = cut_columns(examples.targets, start, size).astype(wide_type(examples.targets))
  return targets if is_fresh is None else jnp.where(is_fresh, targets, 0)


def _sums(scores, base, examples, class_weights, targets) -> Statistics:
  """Sum over a tile's classes what the statistics need, of scores less the base."""
  possible, scores = scores != -jnp.inf, scores - base[:, None]
  sums = Statistics(None, None, jnp.sum(jnp.exp(scores), axis=-1))
  if targets is not None:
    targets = targets if class_weights is None else targets * class_weights[None]
    finite = jnp.where((targets == 0) & ~possible, 0, scores)  # 0 times infinity would be NaN
    expected = jnp.sum(targets * finite, axis=-1)
    sums = sums._replace(expected=expected, total_target=jnp.sum(targets, axis=-1))
  if examples.label_smoothing is not None:
    finite = jnp.where(possible, scores, 0)
    count = jnp.sum(possible, axis=-1, dtype=scores.dtype)
    sums = sums._replace(sum_others=jnp.sum(finite, axis=-1), num_others=count)
    if class_weights is not None:
      weights = jnp.where(possible, class_weights[None], 0)
      total = jnp.sum(weights * finite, axis=-1)
      sums = sums._replace(sum_others=total, weight_others=jnp.sum(weights, axis=-1))
  return sums


def _finite(values):
  return jnp.where(values == -jnp.inf, 0, values)


def _zero_sums(layer, constants, examples, loss) -> tuple[Layer, Constants]:
  """Return zeros to which gradients are added; where one block makes all, in the kernel's type.

  Not in float16, which sums for a cotangent of one may overflow.
  """

  wide = wide_type(layer.kernel)
  of_layer = zero_gradients(layer, wide, varying_axes(layer, constants, examples))
  if len(examples.labels) <= loss.blocks.examples and layer.kernel.dtype != jnp.float16:
    of_layer = of_layer._replace(kernel=of_layer.kernel.astype(layer.kernel.dtype))
  return of_layer, zero_gradients(constants, wide)


def zero_gradients(values: Any, dtype: jnp.dtype, axes: frozenset[str] | None = None) -> Any:
  """Return zeros to which gradients of values are added, and which vary over the axes.

  By default over those of each value: JAX itself sums the gradients of constants over devices.
  """

  def zeros(value):
    return vary(jnp.zeros(value.shape, dtype), varying_axes(value) if axes is None else axes)

  return jax.tree.map(zeros, values)


def typed_gradients(gradients, values):
  """Return gradients in the types of values; integers have none."""

  def typed(gradient, value):
    return gradient.astype(value.dtype) if jnp.issubdtype(value.dtype, jnp.floating) else None

  return jax.tree.map(typed, gradients, values)


def add_gradients(sums, gradients):
  """Add gradients; integers have none."""
  has_none = jax.dtypes.float0
  return jax.tree.map(lambda a, b: a if b.dtype == has_none else a + b, sums, gradients)


def over_classes(size: int, num_classes: int, visit: Callable[..., Any], state: Any) -> Any:
  """Fold `visit(start, is_fresh, state)` over the classes, so many at a time.

  Where the tiles do not divide the classes the last begins before the end of the one before it;
  to pad the kernel would be to copy it. So `is_fresh` marks the classes that were not yet seen, and
  is None where all are.
  """
  if size >= num_classes:
    return visit(0, None, state)

  def body(i, state):
    start = jnp.minimum(i * size, num_classes - size)
    is_fresh = (jnp.arange(size) + start >= i * size)[None] if num_classes % size else None
    return _typed_as(visit(start, is_fresh, state), state)

  return jax.lax.fori_loop(0, -(-num_classes // size), body, state)


def cut_columns(tree, start, size: int):
  """Cut so many classes, from a first one on, out of arrays whose last axis is of classes."""

  def cut(array):
    if size >= array.shape[-1]:
      return array
    return jax.lax.dynamic_slice_in_dim(array, start, size, axis=-1)

  return jax.tree.map(cut, tree)


def _put_columns(array, columns, start):
  if columns.shape == array.shape:
    return columns
  return jax.lax.dynamic_update_slice_in_dim(array, columns, start, axis=-1)


def _add_columns(array, columns, start):
  columns = cut_columns(array, start, columns.shape[-1]) + columns.astype(array.dtype)
  return _put_columns(array, columns, start)


def _typed_as(new, old):
  """Return arrays that vary over the mesh axes of others, as a loop's state must."""
  return jax.tree.map(lambda one, other: vary(one, varying_axes(other)), new, old)


def _num_blocks(loss, examples):
  """Return how many blocks are to be visited."""
  if not loss.known_first:
    return -(-len(examples.known) // loss.blocks.examples)
  return -(-jnp.sum(examples.known) // loss.blocks.examples)


def _in_blocks(loss, tree):
  """Cut arrays `[N, ...]` into blocks `[N / B, B, ...]`, the last of them padded with zeros.

  A block takes every so manieth example, so that examples sharded over devices are so in a block,
  unless blocks may be skipped.
  """
  size = loss.blocks.examples

  def cut(array):
    padded = jnp.pad(array, [(0, -len(array) % size)] + [(0, 0)] * (array.ndim - 1))
    num_blocks = len(padded) // size
    if loss.known_first:
      return padded.reshape(num_blocks, size, *array.shape[1:])
    return jnp.swapaxes(padded.reshape(size, num_blocks, *array.shape[1:]), 0, 1)

  return jax.tree.map(cut, tree)


def _example_blocks(loss, examples) -> tuple[Examples, Callable[[Examples], Examples]]:
  """Return the examples in blocks, and what completes a block.

  Targets are looked up row by row, a block's when it is visited: cut into blocks they would be a
  copy of as many numbers as there are logits.
  """
  targets = examples.targets
  if targets is None:
    return _in_blocks(loss, examples), lambda block: block
  # The row numbers travel in place of the targets.
  rows = _in_blocks(loss, jnp.arange(len(targets)))
  blocks = _in_blocks(loss, examples._replace(targets=None))

  def complete(block):
    found = targets.at[block.targets].get(mode="promise_in_bounds")
    # What fills the last block up has no targets.
    return block._replace(targets=jnp.where(block.known[:, None], found, 0))

  return blocks._replace(targets=rows), complete


def _out_of_blocks(loss, tree, num_examples: int):
  """Put blocks back into arrays `[N, ...]`."""

  def join(array):
    array = array if loss.known_first else jnp.swapaxes(array, 0, 1)
    return array.reshape(array.shape[0] * array.shape[1], *array.shape[2:])[:num_examples]

  return jax.tree.map(join, tree)


def _over_blocks(loss, visit: Callable[..., Any], state: Any, blocks: Any, num_blocks):
  """Fold `visit(state, block) -> state, outputs` over the first blocks; others put out zeros."""
  first = jax.tree.map(lambda leaf: leaf[0], blocks)
  if isinstance(num_blocks, int) and num_blocks == 1:
    state, outputs = visit(state, first)
    return state, jax.tree.map(lambda leaf: leaf[None], outputs)
  total = len(jax.tree.leaves(blocks)[0])
  _, types = jax.eval_shape(visit, state, first)
  outputs = jax.tree.map(
    lambda leaf: vary(jnp.zeros((total, *leaf.shape), leaf.dtype), varying_axes(leaf)), types
  )

  def body(i, carry):
    state, outputs = carry
    block = jax.tree.map(lambda leaf: leaf[i], blocks)
    new, output = visit(state, block)
    put = functools.partial(jax.lax.dynamic_update_index_in_dim, index=i, axis=0)
    return _typed_as(new, state), jax.tree.map(put, outputs, output)

  return jax.lax.fori_loop(0, num_blocks, body, (state, outputs))


# --- functions that close over tracers ---


class Hoisted(NamedTuple):
  """Hold an elementwise function whose closed-over tracers have become its first argument."""

  call: Callable[..., jax.Array]  # (constants, *arguments of any one shape) -> result
  constants: tuple[jax.Array, ...]
  uses: list[bool]  # for each argument, whether the result depends on it


def hoist(
  function: Callable[..., jax.Array],
  dtype: jnp.dtype,
  *,
  num_arguments: int = 1,
  axes: frozenset[str] = frozenset(),
) -> Hoisted:
  """Make what an elementwise function `(*numbers) -> number` closes over explicit.

  A custom rule of differentiation must not close over tracers: it runs after they are gone, and
  knows of no gradient that they should get. So a learned temperature in a score, or the step of
  training in a margin, has to come in by the front door. The arguments have the type and vary over
  the mesh axes.
  """
  scalars = [vary(jnp.zeros((), dtype), axes)] * num_arguments
  closed = jax.make_jaxpr(function)(*scalars)
  read = {id(var) for var in closed.jaxpr.outvars}
  for eqn in reversed(closed.jaxpr.eqns):
    if any(id(var) in read for var in eqn.outvars):
      read |= {id(var) for var in eqn.invars}

  traced = [i for i, value in enumerate(closed.consts) if isinstance(value, jax.core.Tracer)]

  def on_scalars(constants: Sequence[jax.Array], *values: jax.Array) -> jax.Array:
    if not traced:
      return function(*values)
    consts = list(closed.consts)
    for i, constant in zip(traced, constants, strict=True):
      consts[i] = constant
    (result,) = core.jaxpr_as_fun(core.ClosedJaxpr(closed.jaxpr, consts))(*values)
    return result

  def call(constants: Sequence[jax.Array], *values: jax.Array) -> jax.Array:
    batched = on_scalars
    for _ in range(values[0].ndim):
      batched = jax.vmap(batched, in_axes=(None, *[0] * num_arguments))
    return batched(constants, *vary(values, axes))

  return Hoisted(
    call,
    # Under differentiation outside of `jax.jit` a tracer may stand for a Python number.
    tuple(jnp.asarray(closed.consts[i]) for i in traced),
    [id(var) in read for var in closed.jaxpr.invars],
  )


def check_elementwise(name: str, function: Any, dtype: jnp.dtype, remedy: str) -> None:
  """Raise a ValueError for a function that makes of a number what depends on other numbers.

  Blocks show it some of the numbers at a time, and `hoist` one: it would be another function there.
  """
  if not callable(function):
    raise ValueError(
      f"Got {name}={function!r}; it must be a function of numbers, as functional.taylor_score, or "
      "None."
    )
  message = (
    f"Got a {name} that is not elementwise: what it makes of a number must not depend on others, "
    f"nor have another shape. {remedy}"
  )
  probe = np.array([[-0.5, 0.25, 1.5], [0.75, -1.0, 2.0]], dtype)
  traced = [jax.make_jaxpr(function)(probe)]  # Its own errors, of an option say, are its user's.
  try:
    traced.append(jax.make_jaxpr(jax.vmap(jax.vmap(function)))(probe))
  except (IndexError, TypeError, ValueError) as error:
    raise ValueError(message) from error
  if any([out.shape for out in one.out_avals] != [probe.shape] for one in traced):
    raise ValueError(message)
  if varying_axes([one.consts for one in traced]):
    return  # In `jax.shard_map` no number can stand for what differs between devices.

  def known(const):
    """Put any number for what is not known yet."""
    if not isinstance(const, jax.core.Tracer):
      return const
    return np.full(
      const.shape, 0.75 if jnp.issubdtype(const.dtype, jnp.floating) else 1, const.dtype
    )

  closed = [core.ClosedJaxpr(one.jaxpr, [*map(known, one.consts)]) for one in traced]
  found = evaluate(lambda probe: [core.jaxpr_as_fun(one)(probe)[0] for one in closed], probe)
  if not np.allclose(*found, rtol=1e-4, atol=1e-6, equal_nan=True):
    raise ValueError(message)
