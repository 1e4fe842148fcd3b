"""Blocks of attention: weights of a block of queries and one of keys at a time, for one head.

They are computed once for the outputs, and once more for the gradients, so that no array of queries
by keys is in memory. `_sweep` and `_head_gradients` are that rule for one head, `_attend` is it for
all: they are gone through, or stand side by side.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from softmax_research.functional.arrays import vary, varying_axes, wide_type
from softmax_research.functional.streaming import (
  add_gradients,
  even_size,
  hoist,
  typed_gradients,
  zero_gradients,
)

_SOFTPICK_EPSILON = 1e-6

# CPU. A block's weights, a megabyte, stay in a core's cache between the operations on them.
_CPU_BLOCK = (512, 512)
# Heads whose weights are fewer than these stand side by side: the turns of a loop cost more then.
_CPU_LEAST_TURN = 2**14
_CPU_SIDE_BY_SIDE = 2**20
# In turns, heads go in pairs, so that each operation is large enough for two cores: one by one they
# take up to 1.1 times as long, by fours about as long, in blocks of 256 at least 1.7 times. Blocks
# that causality cuts, visited by their halves, take 8 % less of the processor and no less time.
_CPU_TOGETHER = 2
# Gradients of queries have so many columns more than they need, as rows of a power of two bytes all
# fall into one set of a core's cache, where to transpose them takes three times as long.
_SPARE_COLUMNS = 16
# Elsewhere all heads stand side by side: so many weights of them, in blocks of a power of two.
_WEIGHTS = 2**26
_SIDES = (128, 1024)


class Given(NamedTuple):
  """Hold checked arguments of attention, in the layout of the caller."""

  query: jax.Array  # [..., T, H, D]
  key: jax.Array  # [..., S, H_k, D]
  value: jax.Array  # [..., S, H_k, E]
  bias: jax.Array | None  # broadcasts to [..., H, T, S], of as many axes
  masks: tuple[jax.Array, ...]  # booleans, likewise
  score: Callable[[jax.Array], jax.Array] | None  # elementwise
  normaliser: str | Callable[..., jax.Array]  # a name if it streams
  causal: bool
  sink: jax.Array | None = None  # [1] or [H]
  factors: jax.Array | None = None  # of logits, [..., H, T] with 1 for what it does not depend on
  offset: int | jax.Array | None = None  # of the first query among the keys

  @property
  def wide(self) -> jnp.dtype:
    """Return the type of sums."""
    return wide_type(self.query, self.key, self.value)


class _Form(NamedTuple):
  """Hold what is fixed when attention is traced; sizes are those of blocks."""

  normaliser: str
  score: Callable[..., jax.Array] | None
  causal: bool
  offset: int
  queries: int
  keys: int
  turn: tuple[int, int, int]  # how many examples, heads of keys and of queries for each go together
  counts: tuple[int, int, int]  # of turns


class _Heads(NamedTuple):
  """Hold heads' arrays, padded to blocks; 1 stands for a number of heads, queries or keys too.

  Of one head they have the axes of queries, keys and features alone, `[T, D]` or `[T, S]`. Where G
  is 1 queries lack its axis: XLA would copy them to another layout, which differs by that alone.
  """

  query: jax.Array  # [B, T, H_k, G, D]
  key: jax.Array  # [B, S, H_k, D]
  value: jax.Array  # [B, S, H_k, E]
  factors: jax.Array | None  # [B, H_k, G, T, 1]
  bias: jax.Array | None  # [B, H_k, G, T, S]
  masks: tuple[jax.Array, ...]  # [B, H_k, G, T, S] each
  log_counts: jax.Array | None  # [B, H_k, G, T, 1]


# Where arrays have their axes of examples, of heads of keys, and of heads of queries for each.
_HEADS_FIRST, _NO_HEADS = (0, 1, 2), (None,) * 3


def _rows_first(array):
  return (0, 2, 3) if array.ndim == 5 else (0, 2, None)


def _places(heads: _Heads):
  """Return where heads' arrays have their axes of heads, in the order of a tree's leaves."""
  num_others = len(jax.tree.leaves(heads)) - 3
  return [_rows_first(heads.query), *[_rows_first(heads.key)] * 2, *[_HEADS_FIRST] * num_others]


def attend(
  given: Given, *, log_counts: jax.Array | None, block_size: tuple[int, int] | None
) -> tuple[jax.Array, jax.Array]:
  """Compute attention by blocks of so many queries and keys; None for a choice by the backend.

  `log_counts` are log n, as sigmoid and relu need it, `[..., H, T, 1]` like the factors. Returned
  are outputs `[..., T, H, E]` and log-normalisers `[..., T, H]`, in a wide type; in place of the
  latter sigmoid and relu have log n.
  """
  query, key, value, bias, masks, score = given[:6]
  *batch, num_queries, num_heads, _ = query.shape
  num_keys, num_key_heads = key.shape[-3:-1]
  lead = (math.prod(batch), num_key_heads, num_heads // num_key_heads)
  on_cpu = jax.default_backend() == "cpu"
  most = block_size or _choose_blocks(math.prod(lead), on_cpu=on_cpu)
  sizes = even_size(num_queries, most[0]), even_size(num_keys, most[1])
  padded = [-(-total // of) * of for total, of in zip((num_queries, num_keys), sizes, strict=True)]

  def heads_first(array, axes=("rows", "columns")):
    """Return an array as `[B, H_k, G, T, S]`, padded."""
    array = array.reshape((1,) * (len(batch) + 3 - array.ndim) + array.shape)
    heads = array.shape[len(batch)]
    own = array.shape[: len(batch)]
    if 1 in own and set(own) != {1}:
      array = jnp.broadcast_to(array, (*batch, *array.shape[len(batch) :]))
      own = batch
    grouped = lead[1:] if heads == num_heads > 1 else (heads, 1)
    array = array.reshape(math.prod(own), *grouped, *array.shape[-2:])
    missing = [
      padded[i] - total if axis and array.shape[-2 + i] == total != 1 else 0
      for i, (axis, total) in enumerate(zip(axes, (num_queries, num_keys), strict=True))
    ]
    return jnp.pad(array, [(0, 0)] * 3 + [(0, n) for n in missing])

  def rows_first(array, total, *heads):
    array = array.reshape(lead[0], array.shape[-3], *heads, array.shape[-1])
    return jnp.pad(array, [(0, 0), (0, total - array.shape[1])] + [(0, 0)] * (array.ndim - 2))

  if padded[1] > num_keys:
    masks += ((jnp.arange(padded[1]) < num_keys)[None],)
  heads = _Heads(
    rows_first(query, padded[0], *lead[1 : 3 if lead[2] > 1 else 2]),
    rows_first(key, padded[1], num_key_heads),
    rows_first(value, padded[1], num_key_heads),
    heads_first(given.factors[..., None], ("rows", None)),
    None if bias is None else heads_first(bias),
    tuple(heads_first(mask) for mask in masks),
    None if log_counts is None else heads_first(log_counts, ("rows", None)),
  )
  axes = varying_axes(heads)
  hoisted = None if score is None else hoist(score, given.wide, axes=axes)
  turn = _choose_turn(lead, sizes[0] * sizes[1]) if on_cpu else lead
  counts = tuple(total // of for total, of in zip(lead, turn, strict=True))
  offset = num_keys - num_queries
  call = hoisted and hoisted.call
  form = _Form(given.normaliser, call, given.causal, offset, *sizes, turn, counts)
  constants = () if hoisted is None else hoisted.constants
  # For eager callers, for whom the loops would be compiled anew in every call. A function of their
  # own would be kept with all that it closes over.
  run = jax.jit(_attend, static_argnums=0) if score is None else _attend
  outputs, top, log_mass = run(form, constants, vary(heads, axes))
  log_total = jax.lax.stop_gradient(top) + log_mass
  whole = (*batch, num_queries, num_heads)
  outputs, log_total = outputs[:, :num_queries], log_total[:, :num_queries]
  return outputs.reshape(*whole, value.shape[-1]), log_total.reshape(whole)


def _choose_blocks(num_heads: int, *, on_cpu: bool) -> tuple[int, int]:
  """Return how many queries and keys make a block, of so many heads in all."""
  if on_cpu:
    return _CPU_BLOCK
  side = 1 << int(math.log2(_WEIGHTS / num_heads) / 2)
  return (min(max(side, _SIDES[0]), _SIDES[1]),) * 2


def _choose_turn(lead: tuple[int, int, int], size: int) -> tuple[int, int, int]:
  """Return how many heads of each kind go together on CPU, with blocks of so many weights."""
  if math.prod(lead) * size <= _CPU_SIDE_BY_SIDE or size < _CPU_LEAST_TURN:
    return lead
  turn = [1, 1, 1]
  axis = next((axis for axis in (1, 2, 0) if lead[axis] % _CPU_TOGETHER == 0), None)
  if axis is not None:
    turn[axis] = _CPU_TOGETHER
  return tuple(turn)


def _over_heads(form: _Form, function, arrays, places, sums, sum_places):
  """Add to sums what a function of one head's arrays returns, for all heads, one turn at a time.

  Places are those of heads' axes in the leaves of the arrays and the sums. An axis that is not
  there or of size 1 serves all heads, so that there the sum is one over them. Turns are cut out of
  the arrays as they are: to bring heads to the front first is to copy all, a tenth of the time.
  """
  leaves, tree = jax.tree.flatten(arrays)
  sums, sum_tree = jax.tree.flatten(sums)

  def starts(shape, at, n):
    first = [0] * len(shape)
    for axis, of, count in reversed(list(zip(at, form.turn, form.counts, strict=True))):
      if axis is not None and shape[axis] > 1 and count > 1:
        first[axis] = n % count * of
      n //= count
    return first

  def cut(leaf, at, n):
    sizes = list(leaf.shape)
    for axis, of in zip(at, form.turn, strict=True):
      if axis is not None:
        sizes[axis] = min(of, sizes[axis])
    if tuple(sizes) != leaf.shape:
      leaf = jax.lax.dynamic_slice(leaf, _integers(starts(leaf.shape, at, n)), sizes)
    found = [axis for axis in at if axis is not None]
    leaf = jnp.moveaxis(leaf, found, range(len(found)))
    return jnp.expand_dims(leaf, [i for i, axis in enumerate(at) if axis is None])

  def add(total, at, part, n):
    serves = [i for i, axis in enumerate(at) if axis is None or total.shape[axis] == 1]
    part = jnp.sum(part, axis=tuple(serves), keepdims=True)
    part = jnp.squeeze(part, [i for i, axis in enumerate(at) if axis is None])
    found = [axis for axis in at if axis is not None]
    part = jnp.moveaxis(part, range(len(found)), found)
    if part.shape == total.shape:
      return total + part
    first = starts(total.shape, at, n)
    if all(form.counts[i] == 1 for i in serves):  # No other turn adds to this part.
      return jax.lax.dynamic_update_slice(total, part, _integers(first))
    return _add_at(total, part, first)

  for _ in range(3):
    function = _side_by_side(function)

  def visit(n, sums):
    turn = [cut(leaf, at, n) for leaf, at in zip(leaves, places, strict=True)]
    found = sum_tree.flatten_up_to(function(tree.unflatten(turn)))
    parts = zip(sums, sum_places, found, strict=True)
    return [add(total, at, part, n) for total, at, part in parts]

  return sum_tree.unflatten(_loop(0, math.prod(form.counts), visit, sums))


def _side_by_side(function):
  """Apply a function along the first axes of its arrays, of which those of size 1 serve all."""

  def apply(arrays):
    if all(leaf.shape[0] == 1 for leaf in jax.tree.leaves(arrays)):
      found = function(jax.tree.map(lambda leaf: leaf[0], arrays))
      return jax.tree.map(lambda leaf: leaf[None], found)
    own = jax.tree.map(lambda leaf: leaf[0] if leaf.shape[0] == 1 else leaf, arrays)
    axes = jax.tree.map(lambda leaf: None if leaf.shape[0] == 1 else 0, arrays)
    return jax.vmap(function, in_axes=(axes,))(own)

  return apply


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(form: _Form, constants, heads: _Heads) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Return outputs `[B, T, H_k, G, E]`, and two parts of log-normalisers `[B, T, H_k, G, 1]`.

  All are in a wide type. The parts are the largest score, which has no gradient, and the rest: if
  the former is -1e9, as where all biases are, their sum has no digit of the latter. Normalisers
  without any have log n and 0 in their place.
  """
  wide = wide_type(heads.query, heads.key, heads.value)
  sums = tuple(
    jnp.zeros((*heads.query.shape[:-1], size), wide) for size in (heads.value.shape[-1], 1, 1)
  )
  return _over_heads(
    form,
    functools.partial(_sweep, form, constants),
    heads,
    _places(heads),
    vary(sums, varying_axes(constants, heads)),
    [_rows_first(heads.query)] * 3,
  )


def _forward(form, constants, heads):
  found = _attend(form, constants, heads)
  return found, (constants, heads, *found)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _gradients(form, residuals, cotangents):
  constants, heads, *found = residuals
  of_outputs, _, of_log_total = cotangents
  wide = wide_type(heads.query, heads.key, heads.value)
  axes = varying_axes(residuals, cotangents)
  floating = heads._replace(masks=(), log_counts=None)
  gradients = _over_heads(
    form,
    lambda of_one: _head_gradients(form, constants, *of_one),
    (heads, *found, of_outputs, of_log_total),
    _places(heads) + [_rows_first(heads.query)] * 5,
    (zero_gradients(constants, wide), zero_gradients(floating, wide, axes)),
    [_NO_HEADS] * len(jax.tree.leaves(constants)) + _places(floating),
  )

  of_constants, of_heads = typed_gradients(gradients, (constants, floating))
  return of_constants, of_heads._replace(
    masks=tuple(None for _ in heads.masks),
    log_counts=None if heads.log_counts is None else jnp.zeros_like(heads.log_counts),
  )


@_gradients.defjvp
def _refuse(form, primals, tangents):
  raise NotImplementedError(
    "attention has no second derivatives where it streams: it keeps no weights to differentiate. "
    "Use `from softmax_research.functional.attention import reference` for them."
  )


_attend.defvjp(_forward, _gradients)


def _fold_factors(head: _Heads) -> _Heads:
  """Put factors into the queries, a pass over all logits less, unless these are of few digits."""
  if not head.query.dtype == head.key.dtype == head.factors.dtype:
    return head
  return head._replace(query=head.query * head.factors, factors=None)


def _sweep(form, constants, head):
  """Return outputs `[T, E]` and the two parts of log-normalisers `[T, 1]` of one head."""
  wide = wide_type(head.query, head.key, head.value)
  axes = varying_axes(constants, head)
  head = _fold_factors(head)

  def of_queries(i):
    own = _rows(head, i, form.queries)
    zeros = jnp.zeros((form.queries, 1), wide)
    is_sum = form.normaliser in ("softmax", "softpick")
    top = zeros if form.normaliser == "softpick" else zeros + jnp.finfo(wide).min
    sums = jnp.zeros((form.queries, head.value.shape[1]), wide)
    if not is_sum:
      top = jnp.broadcast_to(own.log_counts, zeros.shape)
    state = vary((top, zeros, sums), axes)

    def visit(j, state, *, is_cut):
      top, total, sums = state
      scores = _block_scores(form, constants, own, i, j, is_cut)[0]
      value = _cut(head.value, j, form.keys)
      if is_sum:
        new_top = jnp.maximum(top, jnp.max(scores, axis=-1, keepdims=True))
        decay, top = jnp.exp(top - new_top), new_top
        total, sums = total * decay, sums * decay
      weights, mass = parts(form.normaliser, scores, top)
      sums = sums + _product("ts,se->te", weights, value)
      if mass is not None:
        total = total + jnp.sum(mass, axis=-1, keepdims=True)
      return vary((top, total, sums), axes)

    full, some = _key_blocks(form, i, len(head.key))
    state = _loop(0, full, functools.partial(visit, is_cut=False), state)
    top, total, sums = _loop(full, some, functools.partial(visit, is_cut=form.causal), state)
    if not is_sum:
      return sums, top, jnp.zeros_like(top)
    total, log_mass = totals(form.normaliser, top, total)
    return sums / total, top, log_mass

  return _over_blocks(of_queries, len(head.query) // form.queries)


def _head_gradients(form, constants, head, outputs, top, log_mass, of_outputs, of_log_total):
  """Return gradients in the constants and one head's arrays.

  They go over blocks of keys, and for each over those of queries, with the weights transposed. So
  is the sum for the queries: on CPU a product that contracts the first axes of both of its
  arguments takes three times as long as one that contracts the last with the first.
  """
  wide = wide_type(head.query, head.key, head.value)
  axes = varying_axes(constants, head, outputs, top, log_mass, of_outputs, of_log_total)
  unscaled, head = head, _fold_factors(head)
  slope = of_log_total - jnp.sum(of_outputs * outputs, axis=-1, keepdims=True)
  log_mass = jnp.where(log_mass == -jnp.inf, 0, log_mass)
  if head.value.dtype == jnp.float16:  # It would not hold a gradient over n.
    base = top + log_mass
  else:  # What all weights of a query are divided by costs nothing here.
    base, share = top, jnp.exp(-log_mass)
    slope, of_outputs = slope * share, of_outputs * share
  of_outputs = of_outputs.astype(head.value.dtype)
  if head.factors is not None:
    # The largest factor comes after the products: float16 would not hold it times a query.
    largest = jnp.max(jnp.abs(head.factors))
    largest = jnp.where(largest == 0, 1, largest)

  zeros = functools.partial(zero_gradients, dtype=wide, axes=axes)
  num_queries, num_features = head.query.shape
  of_query = vary(jnp.zeros((num_features, num_queries + _SPARE_COLUMNS), wide), axes)
  state = of_query, zeros(head.bias), zero_gradients(constants, wide)
  transposed_keys = head.key.T

  def of_keys(state, j):
    key, value = _cut(head.key, j, form.keys), _cut(head.value, j, form.keys)
    transposed_key = _columns(transposed_keys, j, form.keys)
    columns = head._replace(key=key, value=value)

    def visit(i, state, *, is_cut):
      of_query, of_bias, of_constants, of_key, of_value = state
      own = _rows(columns, i, form.queries)
      row = _cut((base, slope, of_outputs), i, form.queries)
      row_base, row_slope, row_of_outputs = row
      scores, pull = _block_scores(form, constants, own, i, j, is_cut, transposed=True)
      of_weights = _product("se,te->st", value, row_of_outputs)
      weights, of_scores = _slopes(form.normaliser, scores, row_base.T, of_weights, row_slope.T)
      of_logits, new_constants = pull(of_scores)
      if of_bias is not None:
        of_bias = _add_to_bias(form, of_bias, of_logits.T, i, j)
      scaled = own.query
      if own.factors is not None:
        scaled = (scaled.astype(wide) * (own.factors / largest)).astype(key.dtype)
      of_value = of_value + _product("st,te->se", weights, row_of_outputs)
      of_key = of_key + _product("st,td->sd", of_logits, scaled)
      part = _product("ds,st->dt", transposed_key, of_logits)
      of_query = _add_at(of_query, part, (0, i * form.queries))
      of_constants = add_gradients(of_constants, new_constants)
      of_query, of_bias, of_key, of_value = vary((of_query, of_bias, of_key, of_value), axes)
      return of_query, of_bias, of_constants, of_key, of_value

    some, full = _query_blocks(form, j, len(head.query))
    state = *state, *zeros((key, value))
    state = _loop(some, full, functools.partial(visit, is_cut=form.causal), state)
    *state, of_key, of_value = _loop(
      full, len(head.query) // form.queries, functools.partial(visit, is_cut=False), state
    )
    return tuple(state), (of_key, of_value)

  num_blocks = len(head.key) // form.keys
  if num_blocks == 1:
    state, (of_key, of_value) = of_keys(state, 0)
  else:
    state, of_columns = jax.lax.scan(of_keys, state, jnp.arange(num_blocks))
    of_key, of_value = (array.reshape(-1, array.shape[-1]) for array in of_columns)
  of_query, of_bias, of_constants = state
  of_query = of_query[:, :num_queries].T
  of_factors = jnp.sum(of_query * unscaled.query.astype(wide), axis=-1, keepdims=True)
  if len(unscaled.factors) == 1:
    of_factors = jnp.sum(of_factors, axis=0, keepdims=True)
  if head.factors is not None:
    of_key = of_key * largest
  return of_constants, _Heads(
    of_query * unscaled.factors, of_key, of_value, of_factors, of_bias, (), None
  )


def _block_scores(form, constants, own, i, j, is_cut, *, transposed=False):
  """Return the scores of block (i, j), -inf where a key is impossible, and their pull-back.

  `own` holds the rows of the queries' block, and the keys or those of the block. The pull-back goes
  to the logits and to what the score closes over.
  """
  key = own.key if len(own.key) == form.keys else _cut(own.key, j, form.keys)

  def turn(array):
    return array.T if transposed else array

  logits = _product(
    "sd,td->st" if transposed else "td,sd->ts",
    *((key, own.query) if transposed else (own.query, key)),
  )
  if own.factors is not None:
    logits = logits * turn(own.factors)
  masks = [turn(_columns(mask, j, form.keys)) for mask in own.masks]
  if own.bias is not None:
    bias = turn(_columns(own.bias, j, form.keys))
    logits = logits + bias
    masks.append(bias != -jnp.inf)
  if is_cut:
    rows = i * form.queries + form.offset + jnp.arange(form.queries, dtype=jnp.int32)
    columns = j * form.keys + jnp.arange(form.keys, dtype=jnp.int32)
    masks.append(turn(columns[None] <= rows[:, None]))
  possible = functools.reduce(jnp.logical_and, masks) if masks else None

  def score(constants, logits):
    if own.bias is not None:
      logits = jnp.where(possible, logits, 0)
    scores = logits if form.score is None else form.score(constants, logits)
    return scores if possible is None else jnp.where(possible, scores, -jnp.inf)

  if form.score is None:
    return score(constants, logits), lambda of_scores: (of_scores, ())
  if not transposed:
    return score(constants, logits), None
  scores, pull = jax.vjp(score, constants, logits)
  return scores, lambda of_scores: pull(of_scores)[::-1]


def _shifted_expm1(scores, shift):
  """Return (e^s - 1) e^-m, which neither overflows nor cancels where s is small."""
  small = jnp.expm1(jnp.minimum(scores, 1)) * jnp.exp(-shift)
  return jnp.where(scores < 1, small, jnp.exp(scores - shift) - jnp.exp(-shift))


def parts(normaliser: str, scores, shift):
  """Return weights times a factor a query, e^(L - m) where L is the log-normaliser and m the shift,
  and what the normaliser sums, as large."""
  if normaliser == "softmax":
    return (jnp.exp(scores - shift),) * 2
  if normaliser == "sigmoid":
    return jax.nn.sigmoid(scores - shift), None
  if normaliser == "relu":
    return jax.nn.relu(scores) * jnp.exp(-shift), None
  excess = jnp.where(scores == -jnp.inf, 0, _shifted_expm1(scores, shift))
  # At 0, as for a key of zeros, both have the slope from the left; jnp.abs has that from the right.
  return jax.nn.relu(excess), jnp.where(excess > 0, excess, -excess)


def totals(normaliser: str, shift, mass):
  """Return the sums of all weights' parts, 1 where there is no key, and their logarithms.

  With the shift the latter are the log-normalisers; they are -inf where there is no key.
  """
  total = mass + _SOFTPICK_EPSILON * jnp.exp(-shift) if normaliser == "softpick" else mass
  is_empty = total == 0
  total = jnp.where(is_empty, 1, total)
  return total, jnp.where(is_empty, -jnp.inf, jnp.log(total))


def _slopes(normaliser: str, scores, base, of_weights, slope):
  """Return weights, and gradients in the scores.

  `base` is the log-normaliser, or log n, and `slope` the gradient in the former. A factor of all
  weights may be in the slope and the gradient of weights in place of the base.
  """
  if normaliser == "softmax":
    weights = jnp.exp(scores - base)
    return weights, weights * (of_weights + slope)
  if normaliser == "sigmoid":
    weights = jax.nn.sigmoid(scores - base)
    return weights, weights * (1 - weights) * of_weights
  if normaliser == "relu":
    inverse = jnp.exp(-base)
    return jax.nn.relu(scores) * inverse, jnp.where(scores > 0, inverse, 0) * of_weights
  ratio = jnp.exp(scores - base)
  weights = jax.nn.relu(_shifted_expm1(scores, base))
  return weights, ratio * jnp.where(scores > 0, of_weights + slope, -slope)


def _key_blocks(form: _Form, i, num_keys: int):
  """Return how many blocks of keys all queries of a block see whole, and how many any sees."""
  num_blocks = num_keys // form.keys
  if not form.causal:
    return 0, num_blocks
  first = i * form.queries + form.offset + 1
  full = jnp.minimum(first // form.keys, num_blocks)
  return full, jnp.minimum(-(-(first + form.queries - 1) // form.keys), num_blocks)


def _query_blocks(form: _Form, j, num_queries: int):
  """Return the first block of queries that sees any key of a block, and the first that sees all."""
  num_blocks = num_queries // form.queries
  if not form.causal:
    return 0, 0
  some = jnp.maximum(j * form.keys - form.offset, 0) // form.queries
  full = -(-jnp.maximum((j + 1) * form.keys - 1 - form.offset, 0) // form.queries)
  full = jnp.clip(full, 0, num_blocks)
  return jnp.minimum(some, full), full


def _loop(start, stop, visit, state):
  if isinstance(start, int) and isinstance(stop, int) and stop - start <= 1:
    return visit(start, state) if stop > start else state
  return jax.lax.fori_loop(start, stop, visit, state)


def _over_blocks(function, num_blocks: int):
  """Return what a function of a block's number returns for all of them, one below the other."""
  if num_blocks == 1:
    return function(0)
  found = jax.lax.map(function, jnp.arange(num_blocks))
  return jax.tree.map(lambda array: array.reshape(-1, array.shape[-1]), found)


def _rows(head: _Heads, i, size: int) -> _Heads:
  """Return a head with the rows of one block of queries alone."""
  of_queries = head._replace(key=None, value=None)
  of_queries = jax.tree.map(lambda a: a if len(a) == 1 else _cut(a, i, size), of_queries)
  return of_queries._replace(key=head.key, value=head.value)


def _cut(tree, i, size: int):
  return jax.tree.map(
    lambda array: (
      array if len(array) == size else jax.lax.dynamic_slice_in_dim(array, i * size, size, axis=0)
    ),
    tree,
  )


def _columns(array, j, size: int):
  if array.shape[1] in (1, size):
    return array
  return jax.lax.dynamic_slice_in_dim(array, j * size, size, axis=1)


def _integers(starts):
  return [jnp.asarray(start, jnp.int32) for start in starts]


def _add_at(array, part, starts):
  starts = _integers(starts)
  old = jax.lax.dynamic_slice(array, starts, part.shape)
  return jax.lax.dynamic_update_slice(array, old + part, starts)


def _add_to_bias(form, of_bias, part, i, j):
  starts = [i * form.queries, j * form.keys]
  for axis, size in enumerate(of_bias.shape):
    if size == 1:  # The same for all queries, or all keys.
      part, starts[axis] = jnp.sum(part, axis=axis, keepdims=True), 0
  return _add_at(of_bias, part, starts)


def _product(equation: str, left: jax.Array, right: jax.Array) -> jax.Array:
  """Multiply in the type of the narrower array, as hardware does fast, and sum in float32."""
  dtype = min(left.dtype, right.dtype, key=lambda dtype: dtype.itemsize)
  wide = wide_type(left, right)
  return jnp.einsum(equation, left.astype(dtype), right.astype(dtype), preferred_element_type=wide)
