"""Attention: sums of values with weights that any normaliser makes of any score, over keys.

With an elementwise score the weights stream: of one block of queries and one of keys at a time they
are computed, and computed again for the gradients, so that no array of queries by keys is in
memory. `_attend` is that rule for one head; heads are gone through, or stand side by side. A
normaliser that needs all scores of a query at once, as sparsemax, has blocks of queries alone.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from softmax_research.functional.arrays import (
  broadcasts_to,
  check_at_least,
  has_explicit_mesh,
  is_integer,
  vary,
  varying_axes,
  wide_type,
)
from softmax_research.functional.entmax import entmax, sparsemax
from softmax_research.functional.linear_cross_entropy import hoist
from softmax_research.functional.normalise import log_normaliser
from softmax_research.functional.streaming import even_size

Normaliser = Callable[..., jax.Array]

#: Normalisers that stream, and those that need all scores of a query.
STREAMED = ("softmax", "softpick", "sigmoid", "relu")
SPARSE = {"sparsemax": sparsemax, "entmax": entmax}

SOFTPICK_EPSILON = 1e-6

# CPU. A block's weights, a megabyte, stay in a core's cache between the operations on them.
_CPU_BLOCK = (512, 512)
# Heads whose weights are fewer than these stand side by side: the turns of a loop cost more then.
_CPU_LEAST_TURN = 2**14
_CPU_SIDE_BY_SIDE = 2**20
# Elsewhere all heads stand side by side: so many weights of them, in blocks of a power of two.
_WEIGHTS = 2**26
_SIDES = (128, 1024)
# How many weights of a normaliser that does not stream are in memory at a time.
_SPARSE_WEIGHTS = 2**22


def attention(
  query: jax.typing.ArrayLike,
  key: jax.typing.ArrayLike,
  value: jax.typing.ArrayLike,
  *,
  score: Callable[[jax.Array], jax.Array] | None = None,
  normaliser: str | Normaliser | None = None,
  bias: jax.typing.ArrayLike | None = None,
  where: jax.typing.ArrayLike | None = None,
  causal: bool = False,
  query_lengths: jax.typing.ArrayLike | None = None,
  key_lengths: jax.typing.ArrayLike | None = None,
  scale: jax.typing.ArrayLike | None = None,
  length_scale: jax.typing.ArrayLike | None = None,
  sink: jax.typing.ArrayLike | None = None,
  block_size: tuple[int, int] | None = None,
  return_log_normaliser: bool = False,
) -> Any:
  r"""Compute attention with any elementwise score and any normaliser of the scores over keys.

  .. math::
    o_t = \sum_j w_{tj} v_j, \qquad s_{tj} = \mathrm{score}(a_t \, q_t \cdot k_j + b_{tj}), \qquad
    w_{tj} = \frac{e^{s_{tj}}}{e^{\mathrm{sink}} + \sum_i e^{s_{ti}}}

  The factor a is the scale, times c log n if a length scale c is given. n is here and below the
  number of keys that a query may attend to, by all masks, so that padding changes nothing. Other
  normalisers are

  .. math::
    \text{softpick: } w = \frac{[e^s - 1]_+}{\sum_i |e^{s_i} - 1| + \varepsilon}, \qquad
    \text{sigmoid: } w = \sigma(s - \log n), \qquad \text{relu: } w = \frac{[s]_+}{n}

  with eps = 1e-6, and any function of scores, as sparsemax. A query that may attend to no key has
  the output 0, and no gradient.

  Weights of these four are computed a block of queries and of keys at a time, and once more for the
  gradients; blocks of causal attention without any possible key are left out. Other normalisers
  see all keys for a block of queries. On a mesh with Explicit axes all weights are in memory.
  Reverse mode has gradients in query, key, value, bias, scales, sink and what the score closes
  over. Those that stream have no forward mode and no second derivatives.

  Args:
    query: q, `[..., T, H, D]`.
    key: k, `[..., S, H_k, D]`; H_k divides H, and consecutive queries' heads share a key's.
    value: v, `[..., S, H_k, E]`.
    score: logits to scores, elementwise, as `taylor_score` or a soft cap; the identity by default.
    normaliser: `"softmax"`, the default, `"softpick"`, `"sigmoid"`, `"relu"`, `"sparsemax"`,
      `"entmax"`, or a function `(scores [..., H, T, S], *, where) -> weights`, as
      `functools.partial(entmax, alpha=alpha)`; a number alpha a head is an array `[H, 1, 1]`.
    bias: b, added to the logits before the score; it broadcasts to `[..., H, T, S]`. -inf excludes
      a key.
    where: booleans that broadcast to `[..., H, T, S]`; false excludes a key for a query.
    causal: whether a query sees no later keys. The last query stands beside the last key, also
      where there are more keys than queries, as in decoding.
    query_lengths: integers `[...]`; later queries are padding, and have the output 0.
    key_lengths: integers `[...]`; later keys are padding.
    scale: a number, or `[H]`; 1 / sqrt(D) by default.
    length_scale: c, a number or `[H]`: Scalable-Softmax, whose logits grow with log n.
    sink: a number, or `[H]`, of softmax alone: the score of one key more, whose value is 0. 0 is
      "softmax off by one".
    block_size: how many queries and how many keys are computed together. Neither need divide
      anything.
    return_log_normaliser: whether log(e^sink + sum e^s) is returned too; softpick has it likewise.

  Returns:
    Outputs `[..., T, H, E]` in the type of the query, summed in float32 or wider. Log-normalisers,
    if asked for, are `[..., T, H]`, in nats, in float32 or wider; -inf where there is no key.

  Raises:
    ValueError: shapes do not fit, heads do not divide, there are fewer keys than queries in causal
      attention, the score is not elementwise, or an option does not suit the normaliser.
    NotImplementedError: it is differentiated twice where it streams.

  Example:
    >>> import jax
    >>> query, key, value = jax.random.normal(jax.random.key(0), (3, 1, 5, 2, 4))
    >>> attention(query, key, value, causal=True, sink=0.0).shape
    (1, 5, 2, 4)

  Reference:
    Dao 2023, "FlashAttention-2" (arXiv 2307.08691), for the blocks; Nakanishi 2025,
    "Scalable-Softmax Is Superior for Attention" (arXiv 2501.19399); Zuhri et al. 2025, "Softpick"
    (arXiv 2504.20966); Ramapuram et al. 2024, "Theory, Analysis, and Best Practices for Sigmoid
    Self-Attention" (arXiv 2409.04431); Wortsman et al. 2023, "Replacing softmax with ReLU in
    Vision Transformers" (arXiv 2309.08586); Correia et al. 2019, "Adaptively Sparse Transformers"
    (arXiv 1909.00015).
  """
  query, key, value = check_heads(query, key, value)
  *batch, num_queries, num_heads, _ = query.shape
  num_keys = key.shape[-3]
  if causal and num_keys < num_queries:
    raise ValueError(
      f"Got {num_keys} keys for {num_queries} queries of causal attention; the first queries would "
      "have no key. The last query stands beside the last key: pass at least as many keys."
    )
  name = _name_of(normaliser)
  if sink is not None and name != "softmax":
    raise ValueError(f"Got a sink for the normaliser {normaliser!r}; softmax alone has one.")
  if return_log_normaliser and name not in ("softmax", "softpick"):
    raise ValueError(
      f"Got return_log_normaliser=True for the normaliser {normaliser!r}; softmax and softpick "
      "alone have one."
    )
  if block_size is not None:
    _check_block_size(block_size)
  weights_shape = (*batch, num_heads, num_queries, num_keys)
  given = _Given(
    query,
    key,
    value,
    None if bias is None else jnp.asarray(bias).astype(wide_type(query, key, value)),
    _masks(where, query_lengths, key_lengths, weights_shape),
    score,
    normaliser,
    causal,
  )
  if bias is not None:
    _check_broadcast("bias", given.bias, weights_shape)
  factors = _factors(given, scale, length_scale)
  sink = None if sink is None else _a_head("sink", sink, num_heads, given.wide)
  if score is not None:
    _check_elementwise(score)
  explicit = any(has_explicit_mesh(array) for array in (query, key, value))
  if explicit or 0 in query.shape or 0 in key.shape or 0 in value.shape:
    # No blocks can be cut out of axes whose sharding is part of the type.
    outputs, log_total = _plain(given, factors)
  elif name is None:
    outputs, log_total = _by_queries(given, factors, block_size), None
  else:
    outputs, log_total = _streamed(given, factors, name, block_size)
  if sink is not None:
    # One more key of value 0 divides all weights by one number.
    sink = jnp.broadcast_to(_expand(sink, log_total), log_total.shape)
    outputs = outputs * jax.nn.sigmoid(log_total - sink)[..., None]
    log_total = jnp.logaddexp(log_total, sink)
  outputs = outputs.astype(query.dtype)
  return (outputs, log_total) if return_log_normaliser else outputs


def reference(
  query: jax.typing.ArrayLike,
  key: jax.typing.ArrayLike,
  value: jax.typing.ArrayLike,
  *,
  score: Callable[[jax.Array], jax.Array] | None = None,
  normaliser: str | Normaliser | None = None,
  bias: jax.typing.ArrayLike | None = None,
  where: jax.typing.ArrayLike | None = None,
  causal: bool = False,
  sink: jax.typing.ArrayLike | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Compute what `attention` computes with all weights in memory, and return them too.

  It has derivatives of every kind.

  Returns:
    Outputs `[..., T, H, E]`, weights `[..., H, T, S]` and scores of that shape, -inf where a key is
    excluded.
  """
  query, key, value = check_heads(query, key, value)
  shape = (*query.shape[:-3], query.shape[-2], query.shape[-3], key.shape[-3])
  bias = None if bias is None else jnp.asarray(bias).astype(wide_type(query, key, value))
  given = _Given(
    query, key, value, bias, _masks(where, None, None, shape), score, normaliser, causal
  )
  scores, possible = _scores(given, _factors(given, None, None))
  weights, log_total = _weights(given, scores, possible)
  if sink is not None:
    sink = _a_head("sink", sink, query.shape[-2], given.wide)[:, None, None]
    weights = weights * jax.nn.sigmoid(log_total - sink)
  return _combine(weights, value).astype(query.dtype), weights, scores


class _Given(NamedTuple):
  """Hold checked arguments, in the layout of the caller."""

  query: jax.Array
  key: jax.Array
  value: jax.Array
  bias: jax.Array | None
  masks: tuple[jax.Array, ...]  # booleans, each of which broadcasts to [..., H, T, S]
  score: Callable[[jax.Array], jax.Array] | None
  normaliser: Any
  causal: bool
  offset: int | jax.Array | None = None  # of the first query among the keys

  @property
  def wide(self) -> jnp.dtype:
    """Return the type of sums."""
    return wide_type(self.query, self.key, self.value)


# --- what is asked of arguments ---


def check_heads(query, key, value) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Return queries, keys and values as arrays of one floating type after checking their shapes."""
  arrays = [jnp.asarray(array) for array in (query, key, value)]
  shapes = tuple(array.shape for array in arrays)
  for name, array in zip(("query", "key", "value"), arrays, strict=True):
    if array.ndim < 3 or not jnp.issubdtype(array.dtype, jnp.floating):
      raise ValueError(
        f"Got a {name} of shape {array.shape} and type {array.dtype}; it must hold floats of shape "
        "[..., length, heads, features]."
      )
  of_query, of_key, of_value = shapes
  batch_fits = of_query[:-3] == of_key[:-3] == of_value[:-3]
  if not batch_fits or of_key[-3:-1] != of_value[-3:-1] or of_query[-1] != of_key[-1]:
    raise ValueError(
      f"Got query, key and value of shapes {', '.join(map(str, shapes))}; they must be "
      "[..., T, H, D], [..., S, H_k, D] and [..., S, H_k, E]."
    )
  if not of_key[-2] or of_query[-2] % of_key[-2]:
    raise ValueError(
      f"Got {of_query[-2]} heads of queries for {of_key[-2]} of keys; the latter must divide the "
      "former."
    )
  types = {array.dtype for array in arrays}
  if len(types) > 1:
    raise ValueError(
      f"Got query, key and value of types {', '.join(sorted(map(str, types)))}; give all of them "
      "one type."
    )
  return tuple(arrays)


def _name_of(normaliser) -> str | None:
  """Return the name of a normaliser that streams, or None for another."""
  if normaliser is None:
    return "softmax"
  if callable(normaliser) or normaliser in SPARSE:
    return None
  if normaliser not in STREAMED:
    raise ValueError(
      f"Got normaliser={normaliser!r}; it must be one of {', '.join((*STREAMED, *SPARSE))}, or a "
      "function of scores, as functional.sparsemax."
    )
  return normaliser


def _check_block_size(block_size) -> None:
  pair = isinstance(block_size, tuple) and len(block_size) == 2
  if not pair or not all(is_integer(size) and size > 0 for size in block_size):
    raise ValueError(
      f"Got block_size={block_size!r}; it must be (queries, keys), as (512, 512), or None for a "
      "choice by the backend."
    )


def _check_broadcast(name: str, array: jax.Array, shape: tuple[int, ...]) -> None:
  if not broadcasts_to(array.shape, shape):
    raise ValueError(
      f"Got {name} of shape {array.shape}; it must broadcast to [..., H, T, S], here {shape}."
    )


def _check_elementwise(score) -> None:
  """Raise a ValueError for a score whose values depend on more than one number."""
  message = (
    "Got a score that is not elementwise: a number's score must not depend on others, nor have "
    "another shape. What couples the keys is a normaliser."
  )
  probe = np.array([[-0.5, 0.25, 1.5], [0.75, -1.0, 2.0]], np.float32)
  together = jax.make_jaxpr(score)(probe)
  try:
    apart = jax.make_jaxpr(jax.vmap(jax.vmap(score)))(probe)
  except (IndexError, TypeError, ValueError) as error:
    raise ValueError(message) from error
  if [out.shape for out in together.out_avals] != [probe.shape]:
    raise ValueError(message)
  if any(isinstance(const, jax.core.Tracer) for const in together.consts):
    return  # Its values are not known yet.
  with jax.ensure_compile_time_eval():
    found = [np.asarray(core.jaxpr_as_fun(one)(probe)[0]) for one in (together, apart)]
  if not np.allclose(*found, rtol=1e-4, atol=1e-6, equal_nan=True):
    raise ValueError(message)


def _a_head(name: str, value, num_heads: int, dtype) -> jax.Array:
  """Return a number, or one a head, as `[1]` or `[H]`."""
  value = jnp.atleast_1d(jnp.asarray(value).astype(dtype))
  if value.shape not in ((1,), (num_heads,)):
    raise ValueError(
      f"Got {name} of shape {value.shape} for {num_heads} heads; pass a number, or one a head."
    )
  return value


def _masks(where, query_lengths, key_lengths, shape: tuple[int, ...]) -> tuple[jax.Array, ...]:
  """Return the masks that arguments are, none larger than what was given."""
  found = []
  if where is not None:
    where = jnp.asarray(where, bool)
    _check_broadcast("where", where, shape)
    found.append(where)
  batch = shape[:-3]
  for name, lengths, axis in (
    ("query_lengths", query_lengths, -2),
    ("key_lengths", key_lengths, -1),
  ):
    if lengths is None:
      continue
    lengths = jnp.asarray(lengths)
    if not jnp.issubdtype(lengths.dtype, jnp.integer) or not broadcasts_to(lengths.shape, batch):
      raise ValueError(
        f"Got {name} of shape {lengths.shape} and type {lengths.dtype}; they must be integers "
        f"of shape {batch}."
      )
    positions = jnp.arange(shape[axis], dtype=jnp.int32)
    positions = positions[None, :, None] if axis == -2 else positions[None, None]
    lengths = lengths.astype(jnp.int32)[..., None, None, None]
    found.append(positions.reshape((1,) * (lengths.ndim - 3) + positions.shape) < lengths)
  return tuple(found)


def _factors(given: _Given, scale, length_scale) -> jax.Array:
  """Return what logits are multiplied by, `[..., H, T]` with 1 for what it does not depend on."""
  num_heads, size = given.query.shape[-2:]
  if scale is None:
    scale = max(size, 1) ** -0.5
  factors = _a_head("scale", scale, num_heads, given.wide)[:, None]
  if length_scale is not None:
    check_at_least("length_scale", length_scale, 0, "Pass None for none.")
    length_scale = _a_head("length_scale", length_scale, num_heads, given.wide)[:, None]
    log_counts = _log_counts(given)
    factors = _expand(factors * length_scale, log_counts) * log_counts
  return factors


def _log_counts(given: _Given) -> jax.Array:
  """Return log n, `[..., H, T]` with 1 for what it does not depend on; 0 where there is no key."""
  num_queries, num_keys = given.query.shape[-3], given.key.shape[-3]
  masks = _all_masks(given)
  if not masks:
    return jnp.full((1, 1), math.log(max(num_keys, 1)), given.wide)
  possible = _all(masks)
  rows = (*possible.shape[:-2], min(possible.shape[-2], num_queries), num_keys)
  counts = jnp.sum(jnp.broadcast_to(possible, rows), axis=-1, dtype=jnp.int32)
  return jnp.log(jnp.maximum(counts, 1).astype(given.wide))


def _expand(array: jax.Array, other: jax.Array) -> jax.Array:
  """Return an array with as many axes as another, as strict promotion asks for."""
  return array.reshape((1,) * (other.ndim - array.ndim) + array.shape)


def _all(masks: Sequence[jax.Array]) -> jax.Array:
  rank = max(mask.ndim for mask in masks)
  masks = [mask.reshape((1,) * (rank - mask.ndim) + mask.shape) for mask in masks]
  return functools.reduce(jnp.logical_and, masks)


def _all_masks(given: _Given) -> tuple[jax.Array, ...]:
  """Return all that excludes keys: a bias of -inf and causality too."""
  masks = given.masks
  if given.causal:
    masks += (_causal_mask(given)[None],)
  return masks if given.bias is None else (*masks, given.bias != -jnp.inf)


def _causal_mask(given: _Given) -> jax.Array:
  num_queries, num_keys = given.query.shape[-3], given.key.shape[-3]
  offset = num_keys - num_queries if given.offset is None else given.offset
  rows = jnp.arange(num_queries, dtype=jnp.int32) + offset
  return jnp.arange(num_keys, dtype=jnp.int32)[None] <= rows[:, None]


# --- all weights in memory ---


def _plain(given: _Given, factors: jax.Array) -> tuple[jax.Array, jax.Array | None]:
  """Return outputs `[..., T, H, E]` and log-normalisers `[..., T, H]`, in a wide type."""
  scores, possible = _scores(given, factors)
  weights, log_total = _weights(given, scores, possible)
  if log_total is not None:
    log_total = jnp.swapaxes(log_total[..., 0], -1, -2)
  return _combine(weights, given.value), log_total


def _scores(given: _Given, factors: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Return scores `[..., H, T, S]`, -inf where a key is impossible, and where one is possible."""
  query, key = given.query, given.key
  num_heads, num_key_heads = query.shape[-2], key.shape[-2]
  sums = {"preferred_element_type": given.wide}
  if num_heads == num_key_heads:
    logits = jnp.einsum("...thd,...shd->...hts", query, key, **sums)
  else:
    group = num_heads // num_key_heads
    grouped = query.reshape(*query.shape[:-2], num_key_heads, group, query.shape[-1])
    logits = jnp.einsum("...tkgd,...skd->...kgts", grouped, key, **sums)
    logits = logits.reshape(*logits.shape[:-4], num_heads, *logits.shape[-2:])
  logits = logits * _expand(factors[..., None], logits)
  if given.bias is not None:
    logits = logits + _expand(given.bias, logits)
  masks = _all_masks(given)
  possible = jnp.ones((1,) * logits.ndim, bool) if not masks else _expand(_all(masks), logits)
  logits = jnp.where(possible, logits, 0)
  scores = logits if given.score is None else given.score(logits)
  return jnp.where(possible, scores, -jnp.inf), jnp.broadcast_to(possible, scores.shape)


def _weights(given: _Given, scores, possible) -> tuple[jax.Array, jax.Array | None]:
  """Return weights, and the log-normalisers of queries `[..., H, T, 1]` where there is one."""
  name = _name_of(given.normaliser)
  if name is None:
    normalise = SPARSE.get(given.normaliser) if isinstance(given.normaliser, str) else None
    weights = (normalise or given.normaliser)(scores, where=possible)
    if jnp.shape(weights) != scores.shape:
      raise ValueError(
        f"Got a normaliser that makes weights of shape {jnp.shape(weights)} of scores of shape "
        f"{scores.shape}; they must be the same."
      )
    return weights, None
  some = jnp.any(possible, axis=-1, keepdims=True)
  inner = jnp.where(possible, scores, 0)
  if name in ("sigmoid", "relu"):
    log_count = _expand(_log_counts(given)[..., None], scores)
    weights = (
      jax.nn.sigmoid(inner - log_count)
      if name == "sigmoid"
      else jax.nn.relu(inner) * jnp.exp(-log_count)
    )
    return jnp.where(possible, weights, 0), None
  if name == "softmax":
    log_total = log_normaliser(scores)[..., None]
    weights = jnp.exp(inner - jnp.where(some, log_total, 0))
  else:
    top = jnp.maximum(jnp.max(jax.lax.stop_gradient(inner), -1, keepdims=True, initial=0), 0)
    excess = jnp.where(possible, _shifted_expm1(inner, top), 0)
    total = jnp.sum(jnp.abs(excess), axis=-1, keepdims=True) + SOFTPICK_EPSILON * jnp.exp(-top)
    weights, log_total = jax.nn.relu(excess) / total, top + jnp.log(total)
  return jnp.where(possible, weights, 0), log_total


def _shifted_expm1(scores, shift):
  """Return (e^s - 1) e^-m, which neither overflows nor cancels where s is small."""
  small = jnp.expm1(jnp.minimum(scores, 1)) * jnp.exp(-shift)
  return jnp.where(scores < 1, small, jnp.exp(scores - shift) - jnp.exp(-shift))


def _combine(weights: jax.Array, value: jax.Array) -> jax.Array:
  """Return sums of values `[..., T, H, E]`."""
  wide, num_key_heads = wide_type(value), value.shape[-2]
  weights = weights.astype(value.dtype)
  if weights.shape[-3] == num_key_heads:
    return jnp.einsum("...hts,...she->...the", weights, value, preferred_element_type=wide)
  *batch, num_heads, num_queries, num_keys = weights.shape
  group = num_heads // num_key_heads
  weights = weights.reshape(*batch, num_key_heads, group, num_queries, num_keys)
  outputs = jnp.einsum("...kgts,...ske->...tkge", weights, value, preferred_element_type=wide)
  return outputs.reshape(*batch, num_queries, num_heads, value.shape[-1])


# --- blocks of queries, each with all keys ---


def _by_queries(given: _Given, factors: jax.Array, block_size) -> jax.Array:
  """Return outputs of a normaliser that needs all scores of a query at once."""
  *batch, num_queries, num_heads, _ = given.query.shape
  num_keys = given.key.shape[-3]
  most = max(_SPARSE_WEIGHTS // (math.prod(batch) * num_heads * num_keys), 1)
  size = even_size(num_queries, block_size[0] if block_size else most)
  if size >= num_queries:
    return _plain(given, factors)[0]
  num_blocks = -(-num_queries // size)

  def in_blocks(array, axis):
    """Put blocks first, the last padded; what is the same for all queries stays as it is."""
    if array is None or array.ndim < -axis or array.shape[axis] == 1:
      return None
    array = jnp.moveaxis(array, axis, 0)
    array = jnp.pad(array, [(0, num_blocks * size - num_queries)] + [(0, 0)] * (array.ndim - 1))
    array = array.reshape(num_blocks, size, *array.shape[1:])
    return jnp.moveaxis(array, 1, axis)

  whole = (given.query, factors, given.bias, *given.masks)
  axes = (-3, -1, *[-2] * (1 + len(given.masks)))
  blocks = tuple(in_blocks(array, axis) for array, axis in zip(whole, axes, strict=True))

  @jax.checkpoint
  def visit(block):
    first, *parts = block
    parts = [old if new is None else new for old, new in zip(whole, parts, strict=True)]
    offset = first * size + num_keys - num_queries
    query, factors, bias, *masks = parts
    # Nothing of a normaliser is known, so a padded query has every key.
    return _plain(
      given._replace(query=query, bias=bias, masks=tuple(masks), offset=offset), factors
    )[0]

  outputs = jax.lax.map(visit, (jnp.arange(num_blocks, dtype=jnp.int32), *blocks))
  outputs = jnp.moveaxis(outputs, 0, -4)
  outputs = outputs.reshape(*batch, num_blocks * size, *outputs.shape[-2:])
  return outputs[..., :num_queries, :, :]


# --- blocks of queries and keys ---


class _Form(NamedTuple):
  """Hold what is fixed when one head's attention is traced; sizes are those of blocks."""

  normaliser: str
  score: Callable[..., jax.Array] | None
  causal: bool
  offset: int
  queries: int
  keys: int


class _Head(NamedTuple):
  """Hold one head's arrays, padded to blocks; 1 stands for a number of queries or keys too."""

  query: jax.Array  # [T, D]
  key: jax.Array  # [S, D]
  value: jax.Array  # [S, E]
  factors: jax.Array  # [T, 1]
  bias: jax.Array | None  # [T, S]
  masks: tuple[jax.Array, ...]  # [T, S] each
  log_counts: jax.Array | None  # [T, 1]


def _streamed(given: _Given, factors, name: str, block_size):
  """Return outputs `[..., T, H, E]` and log-normalisers `[..., T, H]`, by blocks."""
  *batch, num_queries, num_heads, _ = given.query.shape
  num_keys, num_key_heads = given.key.shape[-3:-1]
  num_examples, group = math.prod(batch), num_heads // num_key_heads
  on_cpu = jax.default_backend() == "cpu"
  most = block_size or _choose_blocks(num_examples * num_heads, on_cpu=on_cpu)
  sizes = even_size(num_queries, most[0]), even_size(num_keys, most[1])
  padded = [-(-total // of) * of for total, of in zip((num_queries, num_keys), sizes, strict=True)]

  def lay_out(array, axes=("rows", "columns")):
    """Return an array as `[B, H_k, G, T, S]`, padded."""
    array = array.reshape((1,) * (len(batch) + 3 - array.ndim) + array.shape)
    heads = array.shape[len(batch)]
    lead = array.shape[: len(batch)]
    if 1 in lead and set(lead) != {1}:
      array = jnp.broadcast_to(array, (*batch, *array.shape[len(batch) :]))
      lead = batch
    grouped = (num_key_heads, heads // num_key_heads) if heads == num_heads > 1 else (heads, 1)
    array = array.reshape(math.prod(lead), *grouped, *array.shape[-2:])
    missing = [
      padded[i] - total if axis and array.shape[-2 + i] == total != 1 else 0
      for i, (axis, total) in enumerate(zip(axes, (num_queries, num_keys), strict=True))
    ]
    return jnp.pad(array, [(0, 0)] * 3 + [(0, n) for n in missing])

  def heads_first(array, total, heads):
    array = jnp.swapaxes(array.reshape(num_examples, *array.shape[-3:]), 1, 2)
    array = jnp.pad(array, [(0, 0), (0, 0), (0, total - array.shape[2]), (0, 0)])
    return array.reshape(num_examples, *heads, *array.shape[2:])

  masks = given.masks
  if padded[1] > num_keys:
    masks += ((jnp.arange(padded[1]) < num_keys)[None],)
  head = _Head(
    heads_first(given.query, padded[0], (num_key_heads, group)),
    heads_first(given.key, padded[1], (num_key_heads, 1)),
    heads_first(given.value, padded[1], (num_key_heads, 1)),
    lay_out(factors[..., None], ("rows", None)),
    None if given.bias is None else lay_out(given.bias),
    tuple(lay_out(mask) for mask in masks),
    lay_out(_log_counts(given)[..., None], ("rows", None)) if name in ("sigmoid", "relu") else None,
  )
  axes = varying_axes(head)
  hoisted = None if given.score is None else hoist(given.score, given.wide, axes=axes)
  form = _Form(
    name, hoisted and hoisted.call, given.causal, num_keys - num_queries, sizes[0], sizes[1]
  )
  constants = () if hoisted is None else hoisted.constants
  turn = sizes[0] * sizes[1]
  many = num_examples * num_heads * turn > _CPU_SIDE_BY_SIDE and turn >= _CPU_LEAST_TURN
  attend = functools.partial(_attend, form, constants)
  for _ in range(3):
    attend = _over_heads(attend, in_turns=on_cpu and many)
  outputs, log_total = attend(vary(head, axes))

  def restore(array):
    """Undo the layout of the heads, `[B, H_k, G, T, E]` -> `[..., T, H, E]`."""
    array = array[..., :num_queries, :]
    array = jnp.swapaxes(array.reshape(num_examples, num_heads, *array.shape[-2:]), 1, 2)
    return array.reshape(*batch, num_queries, num_heads, array.shape[-1])

  return restore(outputs), restore(log_total)[..., 0]


def _choose_blocks(num_heads: int, *, on_cpu: bool) -> tuple[int, int]:
  """Return how many queries and keys make a block, of so many heads in all."""
  if on_cpu:
    return _CPU_BLOCK
  side = 1 << int(math.log2(_WEIGHTS / num_heads) / 2)
  return (min(max(side, _SIDES[0]), _SIDES[1]),) * 2


def _over_heads(function, *, in_turns: bool):
  """Apply a function of one head's arrays along their first axes, of which those of size 1 serve
  all."""

  def apply(head):
    leaves, tree = jax.tree.flatten(head)
    size = max(leaf.shape[0] for leaf in leaves)
    mapped = [leaf.shape[0] == size for leaf in leaves]
    once = [leaf if is_mapped else leaf[0] for leaf, is_mapped in zip(leaves, mapped, strict=True)]
    if size == 1:
      return jax.tree.map(
        lambda leaf: leaf[None], function(jax.tree.map(lambda leaf: leaf[0], head))
      )

    def on_leaves(*leaves):
      return function(tree.unflatten(leaves))

    if not in_turns:
      return jax.vmap(on_leaves, in_axes=tuple(0 if m else None for m in mapped))(*once)

    def turn(own):
      rest = iter(own)
      return on_leaves(*(next(rest) if m else leaf for m, leaf in zip(mapped, once, strict=True)))

    return jax.lax.map(turn, [leaf for m, leaf in zip(mapped, once, strict=True) if m])

  return apply


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(form: _Form, constants, head: _Head) -> tuple[jax.Array, jax.Array]:
  """Return outputs `[T, E]` and log-normalisers `[T, 1]` of one head, in a wide type.

  In their place a normaliser without any has log n.
  """
  return _sweep(form, constants, head)


def _sweep(form, constants, head):
  wide = wide_type(head.query)
  axes = varying_axes(constants, head)

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
      parts, mass = _parts(form.normaliser, scores, top)
      sums = sums + _product("ts,se->te", parts, value)
      if mass is not None:
        total = total + jnp.sum(mass, axis=-1, keepdims=True)
      return vary((top, total, sums), axes)

    full, some = _key_blocks(form, i, len(head.key))
    state = _loop(0, full, functools.partial(visit, is_cut=False), state)
    top, total, sums = _loop(full, some, functools.partial(visit, is_cut=form.causal), state)
    if not is_sum:
      return sums, top
    if form.normaliser == "softpick":
      total = total + SOFTPICK_EPSILON * jnp.exp(-top)
    is_empty = total == 0
    inner = jnp.where(is_empty, 1, total)
    return sums / inner, jnp.where(is_empty, -jnp.inf, top + jnp.log(inner))

  return _over_blocks(of_queries, len(head.query) // form.queries)


def _forward(form, constants, head):
  outputs, log_total = _sweep(form, constants, head)
  return (outputs, log_total), (constants, head, outputs, log_total)


def _backward(form, residuals, cotangents):
  return _gradients(form, residuals, cotangents)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _gradients(form, residuals, cotangents):
  """Go over blocks of keys, and for each over those of queries, with the weights transposed.

  So is the sum for the queries: on CPU a product that contracts the first axes of both of its
  arguments takes three times as long as one that contracts the last with the first.
  """
  constants, head, outputs, log_total = residuals
  of_outputs, of_log_total = cotangents
  wide = wide_type(head.query)
  axes = varying_axes(residuals, cotangents)
  slope = of_log_total - jnp.sum(of_outputs * outputs, axis=-1, keepdims=True)
  base = jnp.where(log_total == -jnp.inf, 0, log_total)
  of_outputs = of_outputs.astype(head.value.dtype)

  def zeros(array):
    return vary(jnp.zeros(array.shape, wide), axes)

  of_bias = None if head.bias is None else zeros(head.bias)
  # JAX itself sums the gradients of constants over devices, so that they vary as these do.
  of_constants = jax.tree.map(
    lambda constant: vary(jnp.zeros(constant.shape, wide), varying_axes(constant)), constants
  )
  state = zeros(head.query.T), of_bias, of_constants

  def of_keys(state, j):
    key, value = _cut(head.key, j, form.keys), _cut(head.value, j, form.keys)
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
      scaled = (own.query.astype(wide) * own.factors).astype(key.dtype)
      of_value = of_value + _product("st,te->se", weights, row_of_outputs)
      of_key = of_key + _product("st,td->sd", of_logits, scaled)
      unscaled = _product("ds,st->dt", key.T, of_logits)
      of_query = _add_at(of_query, unscaled, i * form.queries, axis=1)
      of_constants = _plus(of_constants, new_constants)
      of_query, of_bias, of_key, of_value = vary((of_query, of_bias, of_key, of_value), axes)
      return of_query, of_bias, of_constants, of_key, of_value

    some, full = _query_blocks(form, j, len(head.query))
    state = *state, zeros(key), zeros(value)
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
  unscaled, of_bias, of_constants = state
  unscaled = unscaled.T
  of_factors = jnp.sum(unscaled * head.query.astype(wide), axis=-1, keepdims=True)
  if len(head.factors) == 1:
    of_factors = jnp.sum(of_factors, axis=0, keepdims=True)
  of_head = _Head(
    (unscaled * head.factors).astype(head.query.dtype),
    of_key.astype(head.key.dtype),
    of_value.astype(head.value.dtype),
    of_factors,
    of_bias,
    tuple(None for _ in head.masks),
    None if head.log_counts is None else jnp.zeros_like(head.log_counts),
  )

  def finish(gradient, constant):
    floating = jnp.issubdtype(constant.dtype, jnp.floating)
    return gradient.astype(constant.dtype) if floating else None

  return jax.tree.map(finish, of_constants, constants), of_head


@_gradients.defjvp
def _refuse(form, primals, tangents):
  raise NotImplementedError(
    "attention has no second derivatives where it streams: it keeps no weights to differentiate. "
    "Use functional.attention.reference for them."
  )


_attend.defvjp(_forward, _backward)


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
  ) * turn(own.factors)
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


def _parts(normaliser: str, scores, shift):
  """Return weights times a factor a query, e^(L - m) where L is the log-normaliser and m the shift,
  and what the normaliser sums, as large."""
  if normaliser == "softmax":
    parts = jnp.exp(scores - shift)
    return parts, parts
  if normaliser == "sigmoid":
    return jax.nn.sigmoid(scores - shift), None
  if normaliser == "relu":
    return jax.nn.relu(scores) * jnp.exp(-shift), None
  excess = jnp.where(scores == -jnp.inf, 0, _shifted_expm1(scores, shift))
  return jax.nn.relu(excess), jnp.abs(excess)


def _slopes(normaliser: str, scores, base, of_weights, slope):
  """Return weights, and gradients in the scores.

  `base` is the log-normaliser, or log n, and `slope` the gradient in the former.
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


def _rows(head: _Head, i, size: int) -> _Head:
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


def _add_at(array, part, start, *, axis: int):
  if array.shape == part.shape:
    return array + part
  old = jax.lax.dynamic_slice_in_dim(array, start, part.shape[axis], axis=axis)
  return jax.lax.dynamic_update_slice_in_dim(array, old + part, start, axis=axis)


def _add_to_bias(form, of_bias, part, i, j):
  starts, sizes = [], []
  for axis, start in ((0, i * form.queries), (1, j * form.keys)):
    shared = of_bias.shape[axis] == 1
    part = jnp.sum(part, axis=axis, keepdims=True) if shared else part
    starts.append(jnp.asarray(0 if shared else start, jnp.int32))
    sizes.append(part.shape[axis])
  old = jax.lax.dynamic_slice(of_bias, starts, sizes)
  return jax.lax.dynamic_update_slice(of_bias, old + part, starts)


def _product(equation: str, left: jax.Array, right: jax.Array) -> jax.Array:
  """Multiply in the type of the narrower array, as hardware does fast, and sum in float32."""
  dtype = min(left.dtype, right.dtype, key=lambda dtype: dtype.itemsize)
  wide = wide_type(left, right)
  return jnp.einsum(equation, left.astype(dtype), right.astype(dtype), preferred_element_type=wide)


def _plus(sums, gradients):
  """Add gradients; integers have none."""
  has_none = jax.dtypes.float0
  return jax.tree.map(lambda a, b: a if b.dtype == has_none else a + b, sums, gradients)
