"""Taylor attention in linear time: the series of order 2 as a product of features."""

import functools

import jax
import jax.numpy as jnp

from softmax_research.functional.arrays import expand, vary, varying_axes, wide_type
from softmax_research.functional.attention import a_head, check_heads, within_lengths

# Within a chunk weights are computed, between chunks features: chunks about as long as there are
# features balance the two.
_CHUNKS = (128, 1024)
# Features cancel, which products of fewer digits, as a GPU's TF32, would not survive.
_einsum = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)


def taylor_attention(
  query: jax.typing.ArrayLike,
  key: jax.typing.ArrayLike,
  value: jax.typing.ArrayLike,
  *,
  order: int = 2,
  causal: bool = False,
  key_lengths: jax.typing.ArrayLike | None = None,
  scale: jax.typing.ArrayLike | None = None,
  state: jax.Array | None = None,
  return_state: bool = False,
) -> jax.Array | tuple[jax.Array, jax.Array]:
  r"""Compute attention with the Taylor score of order 2 at a cost linear in the length.

  .. math::
    o_t = \frac{\sum_j f(s_{tj}) v_j}{\sum_j f(s_{tj})}, \qquad f(s) = 1 + s + \frac{s^2}{2}
    = \phi(q) \cdot \phi(k), \qquad s_{tj} = a \, q_t \cdot k_j

  It equals `attention(query, key, value, score=taylor_score)` but for rounding. The features of x
  are 1, x, and the products of two of its entries, together 1 + D + D (D + 1) / 2, whose sums over
  keys are all that is kept of them. So few features a head pay, as 16; with 64 it is faster than
  softmax at great lengths alone.

  The products cancel in phi(q) . phi(k) where large q and k are nearly orthogonal. With b the
  largest product of a and the norms of q and k the outputs' error is up to about u b^2 of the
  largest value, u being 6e-8 in float32: 0.5 % at b = 300, and at 4,000 no digit need be right.
  Random q and k keep their digits at any size, since f then grows with b^2; quadratic attention
  always does. The sum of weights is never below n / 2 for n keys, as no f is below 1/2.

  Causal attention goes on from a state: that of the tokens so far, for one token at a time as for
  any number.

  Args:
    query: q, `[..., T, H, D]`.
    key: k, `[..., S, H_k, D]`; H_k divides H.
    value: v, `[..., S, H_k, E]`.
    order: 2; the features of a higher one are too many.
    causal: whether a query sees no later keys; S = T then.
    key_lengths: integers `[...]`; later keys are padding.
    scale: a, a number, or `[H]`; 1 / sqrt(D) by default.
    state: what was returned for the tokens before; None where these are the first.
    return_state: whether the state is returned too.

  Returns:
    Outputs `[..., T, H, E]` in the type of the query, and if asked for the state
    `[..., H_k, F, E + 1]`, in float32 or wider. All is computed in such a type.

  Raises:
    ValueError: shapes or types do not fit, the order is another, or a state is given where
      attention is not causal.

  Example:
    >>> query, key, value = jax.random.normal(jax.random.key(0), (3, 1, 6, 2, 4))
    >>> whole = taylor_attention(query, key, value, causal=True)
    >>> _, state = taylor_attention(
    ...   query[:, :5], key[:, :5], value[:, :5], causal=True, return_state=True
    ... )
    >>> last = taylor_attention(query[:, 5:], key[:, 5:], value[:, 5:], causal=True, state=state)
    >>> bool(jnp.allclose(whole[:, 5:], last, atol=1e-5))
    True

  Reference:
    Arora et al. 2024, "Simple Linear Attention Language Models Balance the Recall-Throughput
    Tradeoff" (arXiv 2402.18668); Keles et al. 2023, "On the Computational Complexity of
    Self-Attention" (arXiv 2209.04881).
  """
  if order != 2:
    raise ValueError(
      f"Got order={order!r}; it must be 2. For others use attention with the score taylor_score, "
      "whose cost grows with the square of the length."
    )
  query, key, value = check_heads(query, key, value)
  *batch, num_queries, num_heads, size = query.shape
  num_keys, num_key_heads = key.shape[-3:-1]
  if causal and num_keys != num_queries:
    raise ValueError(
      f"Got {num_keys} keys for {num_queries} queries of causal attention; there must be as many. "
      "What came before is in a state."
    )
  if not causal and (state is not None or return_state):
    raise ValueError("Got a state for attention that is not causal; only causal attention has one.")
  wide = wide_type(query, key, value)
  num_features = 1 + size + size * (size + 1) // 2
  shape = (*batch, num_key_heads, num_features, value.shape[-1] + 1)
  if state is not None:
    state = jnp.asarray(state)
    if state.shape != shape or state.dtype != wide:
      raise ValueError(
        f"Got a state of shape {state.shape} and type {state.dtype}; for these keys and values it "
        f"is {shape} in {wide}. Pass what return_state=True gave for the tokens before."
      )
  factor = a_head("scale", max(size, 1) ** -0.5 if scale is None else scale, num_heads, wide)
  # A column of ones sums the weights along with the values.
  ones = jnp.ones((*value.shape[:-1], 1), wide)
  value = jnp.concatenate([value.astype(wide), ones], axis=-1)
  if key_lengths is not None:
    inside = within_lengths("key_lengths", key_lengths, batch, num_keys)[..., None, None]
    # Zeros take a key out of both sums; in the key too, as a NaN times 0 is one.
    key, value = (jnp.where(expand(inside, array), array, 0) for array in (key, value))
  group = num_heads // num_key_heads
  grouped = query.astype(wide) * expand(factor[:, None], query)
  grouped = grouped.reshape(*batch, num_queries, num_key_heads, group, size)
  grouped = jnp.moveaxis(grouped, -4, -2)  # [..., H_k, G, T, D]
  key = jnp.swapaxes(key.astype(wide), -3, -2)  # [..., H_k, S, D]
  value = jnp.swapaxes(value, -3, -2)
  state = jnp.zeros(shape, wide) if state is None else state
  state = vary(state, varying_axes(grouped, key, value))
  chunk = min(max(_CHUNKS[0], 1 << (num_features.bit_length() - 1)), _CHUNKS[1])
  # The product of the features 1 and the ones counts the keys.
  if causal:
    counts = state[..., 0, -1:] + jnp.cumsum(value[..., -1], axis=-1)
    sums, state = _causal(grouped, key, value, state, chunk)
  else:
    state = _sum_keys(key, value, state, chunk)
    counts = state[..., 0, -1:]
    sums = _apply_in_chunks(grouped, state, chunk)
  total, least = sums[..., -1:], counts[..., None, :, None] / 2
  total += jax.lax.stop_gradient(jnp.maximum(least - total, 0))
  outputs = sums[..., :-1] / jnp.where(total == 0, 1, total)
  outputs = jnp.moveaxis(outputs, -2, -4)
  outputs = outputs.reshape(*batch, num_queries, num_heads, outputs.shape[-1])
  outputs = outputs.astype(query.dtype)
  return (outputs, state) if return_state else outputs


def features(values: jax.Array) -> jax.Array:
  r"""Return phi(x), `[..., 1 + D + D (D + 1) / 2]`, with phi(x) . phi(y) = 1 + x.y + (x.y)^2 / 2.

  The products of entries i and i + r, modulo D, for r up to D / 2 are those of all pairs; slices
  make them, as a gather has a scatter for its gradient.

  Example:
    >>> features(jnp.array([1.0, 2.0])).round(3)
    Array([1.   , 1.   , 2.   , 0.707, 2.828, 2.   ], dtype=float32)
  """
  size = values.shape[-1]
  twice = jnp.concatenate([values, values], axis=-1)
  pairs = [values**2 * 0.5**0.5]
  for distance in range(1, size // 2 + 1):
    width = size // 2 if 2 * distance == size else size
    pairs.append(values[..., :width] * twice[..., distance : distance + width])
  ones = jnp.ones((*values.shape[:-1], 1), values.dtype)
  return jnp.concatenate([ones, values, *pairs], axis=-1)


def _apply(query: jax.Array, state: jax.Array) -> jax.Array:
  return _einsum("...gtf,...fe->...gte", features(query), state)


def _add_keys(state: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
  return state + _einsum("...sf,...se->...fe", features(key), value)


# The jits are for eager callers, for whom a loop would be compiled anew in every call.
@functools.partial(jax.jit, static_argnums=3)
def _sum_keys(key, value, state, chunk: int) -> jax.Array:
  def visit(state, part):
    return _add_keys(state, *part), None

  return jax.lax.scan(jax.checkpoint(visit), state, _cut((key, value), chunk))[0]


@functools.partial(jax.jit, static_argnums=2)
def _apply_in_chunks(query, state, chunk: int) -> jax.Array:
  found = jax.lax.map(jax.checkpoint(lambda part: _apply(part, state)), _cut(query, chunk))
  return _join(found, query.shape[-2])


@functools.partial(jax.jit, static_argnums=4)
def _causal(query, key, value, state, chunk: int) -> tuple[jax.Array, jax.Array]:
  """Return sums of values and of weights, and the state after the last key."""

  def visit(state, part):
    query, key, value = part
    scores = _einsum("...gtd,...sd->...gts", query, key)
    length = scores.shape[-1]
    seen = jnp.tril(jnp.ones((length, length), bool)).reshape(
      (1,) * (scores.ndim - 2) + (-1, length)
    )
    weights = jnp.where(seen, 1 + scores + scores**2 / 2, 0)
    sums = _einsum("...gts,...se->...gte", weights, value) + _apply(query, state)
    return _add_keys(state, key, value), sums

  state, sums = jax.lax.scan(jax.checkpoint(visit), state, _cut((query, key, value), chunk))
  return _join(sums, query.shape[-2]), state


def _cut(tree, chunk: int):
  """Cut arrays `[..., T, D]` into chunks `[N, ..., C, D]`, the last padded with zeros."""

  def cut(array):
    length = array.shape[-2]
    size = min(chunk, max(length, 1))
    pads = [(0, 0)] * (array.ndim - 2) + [(0, -length % size), (0, 0)]
    array = jnp.pad(array, pads)
    array = array.reshape(*array.shape[:-2], array.shape[-2] // size, size, array.shape[-1])
    return jnp.moveaxis(array, -3, 0)

  return jax.tree.map(cut, tree)


def _join(chunks: jax.Array, length: int) -> jax.Array:
  chunks = jnp.moveaxis(chunks, 0, -3)
  chunks = chunks.reshape(*chunks.shape[:-3], chunks.shape[-3] * chunks.shape[-2], chunks.shape[-1])
  return chunks[..., :length, :]
