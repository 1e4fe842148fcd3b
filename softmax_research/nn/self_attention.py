"""Self-attention: the layer of a transformer, its weights made by what a text names."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from softmax_research import functional
from softmax_research.functional import scores
from softmax_research.functional.arrays import check_integer, wide_type
from softmax_research.registry import Registry

#: Scores by name, of logits elementwise; one of your own is `(logits, **options) -> scores`.
SCORES = Registry(
  "score",
  scores.SCORES,
  example="taylor:order=2",
  given=("logits", "z", "s"),
  build=lambda function, options: functools.partial(function, **options),
)


class Weighing(nnx.Module):
  """Attend with weights of a score and a normaliser, and learn their parameters, one a head.

  Args:
    num_heads: of the queries.
    score: logits to scores, elementwise; None for the identity.
    normaliser: as of `functional.attention`.
    sink: False for none, True for a learnt one that begins at 0, or a number that stays.
    length_scale: the same of c, whose logits are multiplied by c log n; it begins at 1.
    learns_alpha: weigh by entmax in place of the normaliser, with an alpha that is learnt, begins
      at 1.5 and stays between 1 and 2.
  """

  def __init__(
    self,
    num_heads: int,
    *,
    score: Callable[[jax.Array], jax.Array] | None = None,
    normaliser: Any = None,
    sink: Any = False,
    length_scale: Any = False,
    learns_alpha: bool = False,
  ):
    self.score, self.normaliser = score, normaliser
    # A plain 0 or 1 is a number of that value, True and False are not.
    self.sink = _learnt_or_fixed(sink, num_heads, 0.0)
    self.length_scale = _learnt_or_fixed(length_scale, num_heads, 1.0)
    self.alpha = nnx.Param(jnp.zeros((num_heads,), jnp.float32)) if learns_alpha else None

  def __call__(self, query: jax.Array, key: jax.Array, value: jax.Array, *, causal: bool):
    normaliser = self.normaliser
    if self.alpha is not None:
      alpha = 1 + jax.nn.sigmoid(self.alpha[...])[:, None, None]
      normaliser = functools.partial(functional.entmax, alpha=alpha)
    return functional.attention(
      query,
      key,
      value,
      causal=causal,
      score=self.score,
      normaliser=normaliser,
      sink=_value(self.sink),
      length_scale=_value(self.length_scale),
    )


class LinearTaylor(nnx.Module):
  """Attend with the Taylor score of order 2 in linear time; keys have few features."""

  def __init__(self, num_heads: int, *, key_features: int = 16):
    check_integer("key_features", key_features)
    self.key_features = key_features

  def __call__(self, query: jax.Array, key: jax.Array, value: jax.Array, *, causal: bool):
    return functional.taylor_attention(query, key, value, causal=causal)


def _learnt_or_fixed(given: Any, num_heads: int, first: float) -> Any:
  if given is False:
    return None
  return nnx.Param(jnp.full((num_heads,), first, jnp.float32)) if given is True else float(given)


def _value(given: Any) -> Any:
  return given[...] if isinstance(given, nnx.Param) else given


def softmax(
  num_heads: int, *, sink: bool | float = False, length_scale: bool | float = False
) -> Weighing:
  """Attend with softmax; with a sink 0 it is softmax off by one, with a length scale SSMax."""
  return Weighing(num_heads, sink=sink, length_scale=length_scale)


def scored(
  num_heads: int,
  *,
  score: str,
  sink: bool | float = False,
  length_scale: bool | float = False,
) -> Weighing:
  """Attend with a score by name, as `scored:score=(my_module.my_score:power=2)`."""
  return Weighing(num_heads, score=SCORES.make(score), sink=sink, length_scale=length_scale)


def taylor(num_heads: int, *, order: int = 2, sink: bool | float = False) -> Weighing:
  """Attend with the Taylor score."""
  score = functools.partial(functional.taylor_score, order=order)
  score(0.0)  # Refuses an order that is none.
  return Weighing(num_heads, score=score, sink=sink)


def stablemax(num_heads: int) -> Weighing:
  """Attend with StableMax."""
  return Weighing(num_heads, score=functional.stablemax_score)


def soft_cap(num_heads: int, *, cap: float = 50.0) -> Weighing:
  """Attend with softmax of c tanh(z / c)."""
  return Weighing(num_heads, score=functools.partial(functional.soft_cap_score, cap=cap))


def entmax(num_heads: int, *, alpha: float | str = 1.5) -> Weighing:
  """Attend with entmax; `alpha=learnt` learns one a head."""
  if alpha == "learnt":
    return Weighing(num_heads, learns_alpha=True)
  if isinstance(alpha, str):
    raise ValueError(f"Got alpha={alpha!r}; pass a number of at least 1, or 'learnt'.")
  functional.entmax(jnp.zeros(1), alpha=alpha)  # Refuses what is none.
  return Weighing(num_heads, normaliser=functools.partial(functional.entmax, alpha=alpha))


def _normalised_by(name: str, num_heads: int) -> Weighing:
  return Weighing(num_heads, normaliser=name)


#: Attention by name; one of your own is `(num_heads, **options)` and returns a function `(query,
#: key, value, *, causal) -> outputs` of arrays `[B, T, H, D]`, or a Flax module with parameters.
ATTENTIONS = Registry(
  "attention",
  {
    "softmax": softmax,
    "scored": scored,
    "taylor": taylor,
    "taylor_linear": LinearTaylor,
    "stablemax": stablemax,
    "soft_cap": soft_cap,
    "entmax": entmax,
    **{
      name: functools.partial(_normalised_by, name)
      for name in ("sparsemax", "sigmoid", "relu", "softpick")
    },
  },
  example="softmax:sink=True",
  given=("num_heads", "self"),
  contract="takes a number of heads and returns a function of query, key, value and causal",
  accepts=callable,
)


class SelfAttention(nnx.Module):
  r"""Let every position of a sequence attend to the sequence.

  Args:
    width: the number of features of a position.
    num_heads: divides the width.
    attention: a text that `ATTENTIONS` reads, as `sparsemax` or `softmax:sink=True`.
    causal: whether a position sees no later ones.
    rotary: whether queries and keys are turned by angles that grow with the position.
    rngs: keys for the parameters.

  Example:
    >>> layer = SelfAttention(8, num_heads=2, attention="sparsemax", rngs=nnx.Rngs(0))
    >>> layer(jnp.ones((1, 5, 8))).shape
    (1, 5, 8)
  """

  def __init__(
    self,
    width: int,
    *,
    num_heads: int,
    attention: str = "softmax",
    causal: bool = False,
    rotary: bool = False,
    rngs: nnx.Rngs,
  ):
    check_integer("width", width)
    check_integer("heads", num_heads)
    if width % num_heads:
      raise ValueError(f"Got {num_heads} heads for a width of {width}, which they must divide.")
    self.num_heads, self.causal, self.rotary = num_heads, causal, rotary
    self.attend = ATTENTIONS.make(attention, num_heads)
    key_size = num_heads * getattr(self.attend, "key_features", width // num_heads)
    if rotary and key_size // num_heads % 2:
      raise ValueError(
        f"Got keys of {key_size // num_heads} features; rotary positions turn pairs of them. Pass "
        "positions='learnt', or another width, number of heads or key_features."
      )
    self.query = nnx.Linear(width, key_size, use_bias=False, rngs=rngs)
    self.key = nnx.Linear(width, key_size, use_bias=False, rngs=rngs)
    self.value = nnx.Linear(width, width, use_bias=False, rngs=rngs)
    self.out = nnx.Linear(width, width, rngs=rngs)

  def _project(self, sequence: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return queries, keys and values `[B, T, H, D]`."""
    query, key, value = (
      linear(sequence).reshape(
        *sequence.shape[:2], self.num_heads, linear.out_features // self.num_heads
      )
      for linear in (self.query, self.key, self.value)
    )
    return (rotate(query), rotate(key), value) if self.rotary else (query, key, value)

  def __call__(self, sequence: jax.Array) -> jax.Array:
    """Return what positions `[B, T, width]` attend to."""
    query, key, value = self._project(sequence)
    outputs = self.attend(query, key, value, causal=self.causal)
    if outputs.shape != value.shape:
      raise ValueError(
        f"Got outputs of shape {outputs.shape} from the attention; those of values [B, T, H, D] of "
        f"shape {value.shape} have this shape."
      )
    return self.out(outputs.reshape(sequence.shape))

  def weights(self, sequence: jax.Array) -> jax.Array:
    """Return the weights `[B, H, T, T]` by which positions `[B, T, width]` attend to others.

    Outputs of attention of your own are taken to be sums of the values.
    """
    # Values that are one-hot make the outputs the weights; there are as many a time as a key has
    # features, since attention of one's own may rely on that.
    query, key, _ = self._project(sequence)
    length, size = key.shape[1], key.shape[-1]
    found = []
    for first in range(0, length, size):
      value = jnp.eye(length, size, -first, dtype=key.dtype)[None, :, None]
      value = jnp.broadcast_to(value, key.shape)
      found.append(self.attend(query, key, value, causal=self.causal))
    return jnp.swapaxes(jnp.concatenate(found, axis=-1)[..., :length], 1, 2)


def rotate(values: jax.Array, *, base: float = 10_000.0) -> jax.Array:
  r"""Turn pairs of features `[B, T, H, D]` by angles t base^(-2i / D), t being the position.

  The product of a query and a key then depends on the distance of their positions alone.

  Reference:
    Su et al. 2021, "RoFormer: Enhanced Transformer with Rotary Position Embedding"
    (arXiv 2104.09864).

  Example:
    >>> turned = rotate(jnp.ones((1, 2, 1, 2)), base=1.0)[0, 1, 0]
    >>> bool(jnp.allclose(turned, jnp.array([jnp.cos(1.0) - jnp.sin(1.0), 1.3818]), atol=1e-3))
    True
  """
  length, half, wide = values.shape[1], values.shape[-1] // 2, wide_type(values)
  rates = base ** (-jnp.arange(half, dtype=wide) / half)
  angles = jnp.arange(length, dtype=wide)[:, None] * rates[None]
  cos, sin = (wave(angles).astype(values.dtype)[None, :, None] for wave in (jnp.cos, jnp.sin))
  first, second = values[..., :half], values[..., half:]
  return jnp.concatenate([first * cos - second * sin, first * sin + second * cos], axis=-1)
