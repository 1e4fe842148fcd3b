"""Attention: sums of values with weights that any normaliser makes of any score, over keys.

With an elementwise score the weights stream, see `attention_blocks`. A normaliser that needs all
scores of a query at once, as sparsemax, has blocks of queries alone. The plain form that both are
compared with is here too.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from softmax_research.functional.arrays import (
  broadcasts_to,
  check_at_least,
  check_sizes,
  expand,
  has_explicit_mesh,
  wide_type,
)
from softmax_research.functional.attention_blocks import Given, attend, parts, totals
from softmax_research.functional.entmax import entmax, sparsemax
from softmax_research.functional.streaming import check_elementwise, even_size

Normaliser = Callable[..., jax.Array]

#: Normalisers that stream, and those that need all scores of a query.
STREAMED = ("softmax", "softpick", "sigmoid", "relu")
SPARSE = {"sparsemax": sparsemax, "entmax": entmax}

# How many weights, or masks, of a block of queries and all keys are in memory at a time.
_WEIGHTS = 2**22


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
  number of keys that a query may attend to, by all masks, so that padding changes nothing. Padding
  by lengths, or by a mask of keys alone, may hold anything, also NaN; what other masks exclude must
  be finite. Other normalisers are

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
    where: booleans that broadcast to `[..., H, T, S]`; false excludes a key for a query. Masks of
      floats, which are added, are a bias.
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
    if asked for, are `[..., T, H]`, in nats, in float32 or wider; where there is no key, they are
    -inf, and log eps of softpick.

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
  if block_size is not None:
    form = "(queries, keys), as (512, 512), or None for a choice by the backend"
    check_sizes("block_size", block_size, form)
  given = _prepare(
    query,
    key,
    value,
    score=score,
    normaliser=normaliser,
    bias=bias,
    where=where,
    causal=causal,
    query_lengths=query_lengths,
    key_lengths=key_lengths,
    scale=scale,
    length_scale=length_scale,
    sink=sink,
  )
  if return_log_normaliser and given.normaliser not in ("softmax", "softpick"):
    raise ValueError(
      f"Got return_log_normaliser=True for the normaliser {normaliser!r}; softmax and softpick "
      "alone have one."
    )
  if _is_explicit(given) or any(0 in array.shape for array in given[:3]):
    # No blocks can be cut out of axes whose sharding is part of the type.
    outputs, log_total = _plain(given)
  elif callable(given.normaliser):
    outputs, log_total = _by_queries(given, block_size), None
  else:
    counts = _log_counts(given)[..., None] if given.normaliser in ("sigmoid", "relu") else None
    outputs, log_total = attend(given, log_counts=counts, block_size=block_size)
  if given.sink is not None:
    # One more key of value 0 divides all weights by one number.
    sink = jnp.broadcast_to(expand(given.sink, log_total), log_total.shape)
    outputs = outputs * _share(log_total, sink)[..., None]
    is_empty = jnp.maximum(log_total, sink) == -jnp.inf
    log_total = jnp.logaddexp(jnp.where(is_empty, 0, log_total), sink)
    log_total = jnp.where(is_empty, -jnp.inf, log_total)
  outputs = outputs.astype(given.query.dtype)
  return (outputs, log_total) if return_log_normaliser else outputs


def reference(
  query: jax.typing.ArrayLike,
  key: jax.typing.ArrayLike,
  value: jax.typing.ArrayLike,
  **options: Any,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Compute what `attention` computes with all weights in memory, and return them too.

  It has derivatives of every kind. Its options are those of `attention`, but for `block_size` and
  `return_log_normaliser`.

  Returns:
    Outputs `[..., T, H, E]`, weights `[..., H, T, S]` and scores of that shape, -inf where a key is
    excluded.

  Example:
    >>> import jax
    >>> from softmax_research.functional.attention import reference
    >>> query, key, value = jax.random.normal(jax.random.key(0), (3, 1, 5, 2, 4))
    >>> outputs, weights, scores = reference(query, key, value, causal=True)
    >>> weights.shape
    (1, 2, 5, 5)
  """
  given = _prepare(query, key, value, **options)
  scores, possible = _scores(given)
  weights, log_total = _weights(given, scores, possible)
  if given.sink is not None:
    weights = weights * _share(log_total, expand(given.sink[:, None, None], log_total))
  return _combine(weights, given.value).astype(given.query.dtype), weights, scores


# --- what is asked of arguments ---


def _prepare(
  query,
  key,
  value,
  *,
  score=None,
  normaliser=None,
  bias=None,
  where=None,
  causal=False,
  query_lengths=None,
  key_lengths=None,
  scale=None,
  length_scale=None,
  sink=None,
) -> Given:
  """Return the arguments of `attention` after checking them."""
  query, key, value = check_heads(query, key, value)
  *batch, num_queries, num_heads, _ = query.shape
  num_keys = key.shape[-3]
  if causal and num_keys < num_queries:
    raise ValueError(
      f"Got {num_keys} keys for {num_queries} queries of causal attention; the first queries would "
      "have no key. The last query stands beside the last key: pass at least as many keys."
    )
  found = _find_normaliser(normaliser)
  if sink is not None and found != "softmax":
    raise ValueError(f"Got a sink for the normaliser {normaliser!r}; softmax alone has one.")
  shape = (*batch, num_heads, num_queries, num_keys)
  masks = [expand(mask, query) for mask in _masks(where, query_lengths, key_lengths, shape)]
  wide = wide_type(query, key, value)
  if score is not None:
    check_elementwise("score", score, wide, "What couples the keys is a normaliser.")
  if bias is not None:
    bias = jnp.asarray(bias).astype(wide)
    _check_broadcast("bias", bias, shape)
    bias = expand(bias, query)
  for mask in masks:
    # No weight of 0 stands before a NaN of padding then, here and in the gradients.
    if mask.shape[-3:-1] == (1, 1):
      of_keys = jnp.moveaxis(mask, -1, -3)
      key, value = jnp.where(of_keys, key, 0), jnp.where(of_keys, value, 0)
    elif mask.shape[-3] == mask.shape[-1] == 1:
      query = jnp.where(jnp.moveaxis(mask, -2, -3), query, 0)
  sink = None if sink is None else a_head("sink", sink, num_heads, wide)
  given = Given(query, key, value, bias, tuple(masks), score, found, causal, sink)
  return given._replace(factors=_factors(given, scale, length_scale))


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


def _find_normaliser(normaliser) -> str | Normaliser:
  """Return the name of a normaliser that streams, or the function that another is."""
  if normaliser is None:
    return "softmax"
  if callable(normaliser):
    return normaliser
  if not isinstance(normaliser, str) or normaliser not in (*STREAMED, *SPARSE):
    raise ValueError(
      f"Got normaliser={normaliser!r}; it must be one of {', '.join((*STREAMED, *SPARSE))}, or a "
      "function of scores, as functional.sparsemax."
    )
  return SPARSE.get(normaliser, normaliser)


def _check_broadcast(name: str, array: jax.Array, shape: tuple[int, ...]) -> None:
  if not broadcasts_to(array.shape, shape):
    raise ValueError(
      f"Got {name} of shape {array.shape}; it must broadcast to [..., H, T, S], here {shape}."
    )


def a_head(name: str, value, num_heads: int, dtype) -> jax.Array:
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
    where = jnp.asarray(where)
    if not jnp.issubdtype(where.dtype, jnp.bool_) and not jnp.issubdtype(where.dtype, jnp.integer):
      raise ValueError(
        f"Got where of type {where.dtype}; it must hold booleans. Pass a mask that is added to the "
        "logits as bias=."
      )
    _check_broadcast("where", where, shape)
    found.append(where.astype(bool))
  for name, lengths, axis in (
    ("query_lengths", query_lengths, -2),
    ("key_lengths", key_lengths, -1),
  ):
    if lengths is not None:
      inside = within_lengths(name, lengths, shape[:-3], shape[axis])
      found.append(jnp.expand_dims(inside, (-3, -3 - axis)))
  return tuple(found)


def within_lengths(name: str, lengths, batch: tuple[int, ...], size: int) -> jax.Array:
  """Return which positions, `[..., size]`, are no padding."""
  lengths = jnp.asarray(lengths)
  if not jnp.issubdtype(lengths.dtype, jnp.integer) or not broadcasts_to(lengths.shape, batch):
    raise ValueError(
      f"Got {name} of shape {lengths.shape} and type {lengths.dtype}; they must be integers of "
      f"shape {tuple(batch)}."
    )
  positions = jnp.arange(size, dtype=jnp.int32)
  lengths = lengths.astype(jnp.int32)[..., None]
  return expand(positions, lengths) < lengths


def _factors(given: Given, scale, length_scale) -> jax.Array:
  """Return what logits are multiplied by, `[..., H, T]` with 1 for what it does not depend on."""
  num_heads, size = given.query.shape[-2:]
  if scale is None:
    scale = max(size, 1) ** -0.5
  factors = a_head("scale", scale, num_heads, given.wide)[:, None]
  if length_scale is not None:
    check_at_least("length_scale", length_scale, 0, "Pass None for none.")
    length_scale = a_head("length_scale", length_scale, num_heads, given.wide)[:, None]
    log_counts = _log_counts(given)
    factors = expand(factors * length_scale, log_counts) * log_counts
  return factors


def _log_counts(given: Given) -> jax.Array:
  """Return log n, `[..., H, T]` with 1 for what it does not depend on; 0 where there is no key."""
  num_queries, num_keys = given.query.shape[-3], given.key.shape[-3]
  masks = _all_masks(given._replace(causal=False))
  if any(1 not in mask.shape[-2:] for mask in masks):
    counts = _count_by_queries(given)
  else:
    # The last query sees as many as there are, the one before it those but the last.
    of_keys = [mask for mask in masks if mask.shape[-2] == 1]
    possible = jnp.ones((*[1] * (given.query.ndim - 1), num_keys), bool)
    possible = functools.reduce(jnp.logical_and, of_keys, possible)
    if given.causal:
      counts = jnp.cumsum(possible, axis=-1, dtype=jnp.int32)[..., 0, num_keys - num_queries :]
    else:
      counts = jnp.sum(possible, axis=-1, dtype=jnp.int32)
    for mask in masks:
      if mask.shape[-2] != 1:
        counts = jnp.where(mask[..., 0], counts, 0)
  return jnp.log(jnp.maximum(counts, 1).astype(given.wide))


def _count_by_queries(given: Given) -> jax.Array:
  """Return n where masks are of queries and keys, with a block of queries' masks in memory."""
  num_queries, num_keys = given.query.shape[-3], given.key.shape[-3]
  whole = (None if given.bias is None else jax.lax.stop_gradient(given.bias), *given.masks)

  def count(start, size):
    def cut(array):
      if array is None or array.shape[-2] == 1:
        return array
      return jax.lax.dynamic_slice_in_dim(array, start, size, axis=-2)

    bias, *masks = map(cut, whole)
    part = given._replace(query=given.query[..., :size, :, :], bias=bias, masks=tuple(masks))
    masks = _all_masks(part._replace(offset=start + num_keys - num_queries))
    return jnp.sum(functools.reduce(jnp.logical_and, masks), axis=-1, dtype=jnp.int32)

  lead = np.broadcast_shapes(*(array.shape[:-2] for array in whole if array is not None))
  most = max(_WEIGHTS // max(math.prod(lead) * num_keys, 1), 1)
  if num_queries <= most or _is_explicit(given):
    return count(0, num_queries)
  size = even_size(num_queries, most)
  # The last block begins before the end of the one before it.
  before = (num_queries - 1) // size * size
  starts = jnp.minimum(jnp.arange(0, num_queries, size, dtype=jnp.int32), num_queries - size)
  counts = jnp.moveaxis(jax.lax.map(lambda start: count(start, size), starts), 0, -2)
  counts = counts.reshape(*lead, -1)
  return jnp.concatenate([counts[..., :before], counts[..., before - num_queries :]], axis=-1)


def _is_explicit(given: Given) -> bool:
  return any(has_explicit_mesh(array) for array in given[:3])


def _share(log_total: jax.Array, sink: jax.Array) -> jax.Array:
  """Return what a sink leaves to the keys; any number where there are none."""
  return jax.nn.sigmoid(jnp.where(log_total == -jnp.inf, 0, log_total) - sink)


def _all_masks(given: Given) -> tuple[jax.Array, ...]:
  """Return all that excludes keys: a bias of -inf and causality too."""
  masks = given.masks
  if given.causal:
    masks += (expand(_causal_mask(given), given.query),)
  return masks if given.bias is None else (*masks, given.bias != -jnp.inf)


def _causal_mask(given: Given) -> jax.Array:
  num_queries, num_keys = given.query.shape[-3], given.key.shape[-3]
  offset = num_keys - num_queries if given.offset is None else given.offset
  rows = jnp.arange(num_queries, dtype=jnp.int32) + offset
  return jnp.arange(num_keys, dtype=jnp.int32)[None] <= rows[:, None]


# --- all weights in memory ---


def _plain(given: Given) -> tuple[jax.Array, jax.Array | None]:
  """Return outputs `[..., T, H, E]` and log-normalisers `[..., T, H]`, in a wide type."""
  weights, log_total = _weights(given, *_scores(given))
  if log_total is not None:
    log_total = jnp.swapaxes(log_total[..., 0], -1, -2)
  return _combine(weights, given.value), log_total


def _scores(given: Given) -> tuple[jax.Array, jax.Array]:
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
  logits = logits * expand(given.factors[..., None], logits)
  if given.bias is not None:
    logits = logits + given.bias
  masks = _all_masks(given)
  possible = functools.reduce(jnp.logical_and, masks, jnp.ones((1,) * logits.ndim, bool))
  logits = jnp.where(possible, logits, 0)
  scores = logits if given.score is None else given.score(logits)
  return jnp.where(possible, scores, -jnp.inf), jnp.broadcast_to(possible, scores.shape)


def _weights(given: Given, scores, possible) -> tuple[jax.Array, jax.Array | None]:
  """Return weights, and the log-normalisers of queries `[..., H, T, 1]` where there is one."""
  name = given.normaliser
  if callable(name):
    weights = name(scores, where=possible)
    if np.shape(weights) != scores.shape:
      raise ValueError(
        f"Got a normaliser that makes weights of shape {np.shape(weights)} of scores of shape "
        f"{scores.shape}; they must be the same."
      )
    return weights, None
  if name in ("sigmoid", "relu"):
    return parts(name, scores, expand(_log_counts(given)[..., None], scores))[0], None
  lowest = 0 if name == "softpick" else jnp.finfo(scores.dtype).min
  top = jnp.max(jax.lax.stop_gradient(scores), axis=-1, keepdims=True, initial=lowest)
  weights, mass = parts(name, scores, top)
  total, log_mass = totals(name, top, jnp.sum(mass, axis=-1, keepdims=True))
  return weights / total, top + log_mass


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


def _by_queries(given: Given, block_size) -> jax.Array:
  """Return outputs of a normaliser that needs all scores of a query at once."""
  *batch, num_queries, num_heads, _ = given.query.shape
  num_keys = given.key.shape[-3]
  most = max(_WEIGHTS // (math.prod(batch) * num_heads * num_keys), 1)
  size = even_size(num_queries, block_size[0] if block_size else most)
  if size >= num_queries:
    return _plain(given)[0]
  num_blocks = -(-num_queries // size)

  def in_blocks(array, axis):
    """Put blocks first, the last padded; what is the same for all queries stays as it is."""
    if array is None or array.shape[axis] == 1:
      return None
    array = jnp.moveaxis(array, axis, 0)
    array = jnp.pad(array, [(0, num_blocks * size - num_queries)] + [(0, 0)] * (array.ndim - 1))
    array = array.reshape(num_blocks, size, *array.shape[1:])
    return jnp.moveaxis(array, 1, axis)

  whole = (given.query, given.factors, given.bias, *given.masks)
  axes = (-3, -1, *[-2] * (1 + len(given.masks)))
  blocks = tuple(in_blocks(array, axis) for array, axis in zip(whole, axes, strict=True))

  @jax.checkpoint
  def visit(block):
    first, *parts = block
    parts = [old if new is None else new for old, new in zip(whole, parts, strict=True)]
    query, factors, bias, *masks = parts
    of_queries = {"query": query, "factors": factors, "bias": bias, "masks": tuple(masks)}
    # Nothing of a normaliser is known, so a padded query has every key.
    return _plain(given._replace(offset=first * size + num_keys - num_queries, **of_queries))[0]

  outputs = jax.lax.map(visit, (jnp.arange(num_blocks, dtype=jnp.int32), *blocks))
  outputs = jnp.moveaxis(outputs, 0, -4)
  outputs = outputs.reshape(*batch, num_blocks * size, *outputs.shape[-2:])
  return outputs[..., :num_queries, :, :]
