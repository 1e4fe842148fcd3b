"""Sweeps over blocks of classes: the normaliser of some examples, and the gradients through it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from softmax_research.functional.closures import Constants
from softmax_research.functional.labels import is_label
from softmax_research.functional.layer import product
from softmax_research.functional.varying import vary, varying_axes

# How many logits stand in memory at a time, and the least number of examples for which more may:
# every block of examples reads and writes the kernel's gradient once, which costs as much as the
# products of some tens of examples.
_LOGITS = 2**24
_EXAMPLES = 256
_LOGITS_AT_MOST = 3 * 2**24
# Of the kernel's gradient so many columns are made at a time: enough for a product at full speed,
# few enough that product, logits and exponentials of a tile are still in a cache when added.
_CLASSES = 8192


class Layer(NamedTuple):
  """Hold an output layer's arrays; None for what it lacks.

  Attributes:
    kernel: `[D, K]`.
    bias: `[K]`.
    log_prior: `[K]`.
    mask: booleans `[1, K]`, or `[N, K]` for N examples; false excludes a class.
  """

  kernel: jax.Array
  bias: jax.Array | None
  log_prior: jax.Array | None
  mask: jax.Array | None


class Total(NamedTuple):
  """Hold what a sweep over the classes found for N examples.

  Attributes:
    logits: `[N, K]`, of all examples that are swept together; None unless they are to be kept.
    label_logit: the label's logit, `[N]`; 0 where the label is none of the classes.
    log_others: log of the sum of exponentials of the scores of all classes but the label, `[N]`.
    others: the sum of those scores, `[N]`; None unless asked for.
  """

  logits: jax.Array | None
  label_logit: jax.Array
  log_others: jax.Array
  others: jax.Array | None


def block_sizes(num_examples: int, num_classes: int) -> tuple[int, int]:
  """Choose how many examples and classes are computed together.

  All logits of a block of examples stand in memory at once, because the gradients need the
  normaliser first: that is the price of computing no product twice. So the block of examples is
  chosen by the number of classes; the classes are visited in blocks of their own within it.

  Args:
    num_examples: N, at least 1.
    num_classes: K.

  Returns:
    The block's examples and classes. The blocks are about equal.

  Example:
    >>> block_sizes(2048, 32000), block_sizes(8192, 2**18)
    ((512, 8000), (191, 8192))
  """
  examples = max(_LOGITS // num_classes, min(_EXAMPLES, _LOGITS_AT_MOST // num_classes), 1)
  return even_size(num_examples, examples), even_size(num_classes, _CLASSES)


def even_size(total: int, most: int) -> int:
  """Return the size of blocks that are about equal, of so many at most.

  Example:
    >>> even_size(32000, 8192)
    8000
  """
  num_blocks = -(-total // most)
  return -(-total // num_blocks)


def total(
  layer: Layer,
  score: Callable[..., jax.Array] | None,
  constants: Constants,
  features: jax.Array,
  labels: jax.Array,
  size: int,
  *,
  sum_scores: bool,
  keep_logits: bool = False,
) -> Total:
  """Sweep over the classes for the normaliser of N examples.

  Args:
    layer: the layer.
    score: `(constants, logits) -> scores`, elementwise; None for the identity.
    constants: of the score.
    features: `[N, D]`.
    labels: integers `[N]`; those out of range are none of the classes.
    size: how many classes make a block.
    sum_scores: find the sum of the scores too.
    keep_logits: keep the logits, for the gradients.

  Returns:
    What was found.

  Example:
    >>> import jax.numpy as jnp
    >>> layer = Layer(jnp.ones((2, 3)), None, None, None)
    >>> features, labels, constants = jnp.ones((1, 2)), jnp.array([0]), Constants([], [])
    >>> found = total(layer, None, constants, features, labels, 2, sum_scores=False)
    >>> found.label_logit, jnp.exp(found.log_others - 2).round(4)
    (Array([2.], dtype=float32), Array([2.], dtype=float32))
  """

  def visit(start, fresh, state):
    logits = product(features, _columns(layer.kernel, start, size))
    if layer.bias is not None:
      logits = logits + _columns(layer.bias, start, size)
    is_label, is_other = _split(layer, labels, start, fresh, logits)
    scores = logits if score is None else score(constants, logits)
    if layer.log_prior is not None:
      scores = scores + _columns(layer.log_prior, start, size)
    top, scaled = state["top"], jnp.where(is_other, scores, -jnp.inf)
    new_top = jnp.maximum(top, jnp.max(scaled, axis=-1))
    base = jnp.where(new_top == -jnp.inf, 0, new_top)
    added = jnp.sum(jnp.exp(scaled - base[:, None]), axis=-1)
    label_logit = jnp.sum(jnp.where(is_label, logits, 0), axis=-1)
    new = {
      "label_logit": state["label_logit"] + label_logit,
      "top": new_top,
      "total": state["total"] * jnp.exp(top - base) + added,
    }
    if keep_logits:
      new["logits"] = _put(state["logits"], logits, start)
    if sum_scores:
      new["others"] = state["others"] + jnp.sum(jnp.where(is_other, scores, 0), axis=-1)
    return new

  num_classes, axes = layer.kernel.shape[1], varying_axes(layer, features, labels)
  wide = jnp.promote_types(jnp.result_type(features, layer.kernel), jnp.float32)
  state = {
    "label_logit": jnp.zeros(len(features), wide),
    "top": jnp.full(len(features), -jnp.inf, wide),
    "total": jnp.zeros(len(features), wide),
  }
  if keep_logits:
    state["logits"] = jnp.zeros((len(features), num_classes), wide)
  if sum_scores:
    state["others"] = jnp.zeros(len(features), wide)
  state = _for_blocks(num_classes, size, visit, vary(state, axes))
  log_others = state["top"] + jnp.log(state["total"])
  return Total(state.get("logits"), state["label_logit"], log_others, state.get("others"))


class Slopes(NamedTuple):
  """Hold the gradients of N examples' losses in what a sweep found, each `[N]`.

  Attributes:
    label_logit: that in the label's logit.
    log_others: that in the log of the others' sum of exponentials.
    others: that in the sum of the others' scores; None if it was not asked for.
  """

  label_logit: jax.Array
  log_others: jax.Array
  others: jax.Array | None


class Sums(NamedTuple):
  """Hold gradients that are summed over examples; None for what the layer lacks.

  Attributes:
    kernel: `[D, K]`.
    bias: `[K]`.
    log_prior: `[K]`, that through the scores of all classes but the label.
    score: those in the floats among the score's constants, through the same.
  """

  kernel: jax.Array
  bias: jax.Array | None
  log_prior: jax.Array | None
  score: list[jax.Array]


def gradients(
  layer: Layer,
  score: Callable[..., jax.Array] | None,
  constants: Constants,
  features: jax.Array,
  labels: jax.Array,
  size: int,
  found: Total,
  slopes: Slopes,
  sums: Sums,
) -> tuple[jax.Array, Sums]:
  """Sweep over the classes again for the gradients of N examples' losses.

  Args:
    layer: the layer.
    score: `(constants, logits) -> scores`, elementwise; None for the identity.
    constants: of the score.
    features: `[N, D]`.
    labels: integers `[N]`.
    size: how many classes make a block.
    found: what the first sweep found, with the logits.
    slopes: the losses' gradients in that.
    sums: what the gradients are added to.

  Returns:
    The gradients in the features, `[N, D]`, and the sums with those of these examples.

  Example:
    >>> import jax.numpy as jnp
    >>> layer = Layer(jnp.ones((2, 3)), None, None, None)
    >>> features, labels, constants = jnp.ones((1, 2)), jnp.array([0]), Constants([], [])
    >>> options = {"sum_scores": False, "keep_logits": True}
    >>> found = total(layer, None, constants, features, labels, 2, **options)
    >>> slopes = Slopes(jnp.array([-1.0]), jnp.array([1.0]), None)
    >>> sums = Sums(jnp.zeros((2, 3)), None, None, [])
    >>> _, sums = gradients(layer, None, constants, features, labels, 2, found, slopes, sums)
    >>> sums.kernel[0].round(4)
    Array([-1. ,  0.5,  0.5], dtype=float32)
  """
  base = jnp.where(found.log_others == -jnp.inf, 0, found.log_others)[:, None]

  def visit(start, fresh, state):
    d_features, sums = state
    kernel, logits = _columns(layer.kernel, start, size), _columns(found.logits, start, size)
    is_label, is_other = _split(layer, labels, start, fresh, logits)
    pull = None
    if score is None:
      scores = logits
    else:
      scores, pull = jax.vjp(
        lambda floats, logits: score(constants._replace(floats=floats), logits),
        constants.floats,
        logits,
      )
    if layer.log_prior is not None:
      scores = scores + _columns(layer.log_prior, start, size)
    slope = jnp.exp(jnp.where(is_other, scores, -jnp.inf) - base) * slopes.log_others[:, None]
    if slopes.others is not None:
      slope += jnp.where(is_other & (scores != -jnp.inf), slopes.others[:, None], 0)
    if layer.log_prior is not None:
      sums = sums._replace(log_prior=_add(sums.log_prior, jnp.sum(slope, axis=0), start))
    if pull is not None:
      d_floats, slope = pull(slope)
      sums = sums._replace(score=[a + b for a, b in zip(sums.score, d_floats, strict=True)])
    slope = jnp.where(is_label, slopes.label_logit[:, None], slope)
    if layer.bias is not None:
      sums = sums._replace(bias=_add(sums.bias, jnp.sum(slope, axis=0), start))
    # In the type of the inputs: products of bfloat16 are several times as fast where hardware
    # has them, and are still summed in float32.
    slope = slope.astype(kernel.dtype)
    d_kernel = product(features.T, slope)
    sums = sums._replace(kernel=_add(sums.kernel, d_kernel, start))
    return d_features + product(slope, kernel.T), sums

  axes = varying_axes(layer, constants, features, labels, slopes, sums)
  d_features = jnp.zeros(features.shape, found.logits.dtype)
  return _for_blocks(layer.kernel.shape[1], size, visit, vary((d_features, sums), axes))


def _for_blocks(num_classes: int, size: int, visit: Callable[..., Any], state: Any) -> Any:
  """Fold `visit(start, fresh, state)` over the blocks, where `fresh` marks classes not yet seen.

  Where the size does not divide the number of classes the last block begins before the end of the
  one before it; to pad the kernel would be to copy it. None stands for classes that are all fresh.
  """
  if size >= num_classes:
    return visit(0, None, state)

  def body(i, state):
    start = jnp.minimum(i * size, num_classes - size)
    fresh = jnp.arange(size) + start >= i * size if num_classes % size else None
    return visit(start, fresh, state)

  return jax.lax.fori_loop(0, -(-num_classes // size), body, state)


def _columns(array: jax.Array, start: jax.typing.ArrayLike, size: int) -> jax.Array:
  if size >= array.shape[-1]:
    return array
  return jax.lax.dynamic_slice_in_dim(array, start, size, axis=-1)


def _put(array: jax.Array, columns: jax.Array, start: jax.typing.ArrayLike) -> jax.Array:
  if columns.shape == array.shape:
    return columns
  return jax.lax.dynamic_update_slice_in_dim(array, columns, start, axis=-1)


def _add(array: jax.Array, columns: jax.Array, start: jax.typing.ArrayLike) -> jax.Array:
  return _put(array, _columns(array, start, columns.shape[-1]) + columns, start)


def _split(layer, labels, start, fresh, logits) -> tuple[jax.Array, jax.Array]:
  """Mark in a block of logits the labels, and the other classes that count."""
  label = is_label(labels - start, logits)
  other = ~label
  if layer.mask is not None:
    other &= _columns(layer.mask, start, logits.shape[-1])
  if fresh is not None:
    label, other = label & fresh, other & fresh
  return label, other
