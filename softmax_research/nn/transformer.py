"""Transformer: blocks of self-attention and dense layers, for patches of images and for tokens."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from softmax_research.functional.arrays import check_fraction, check_integer
from softmax_research.nn.layer import Dropout, check_floating
from softmax_research.nn.self_attention import SelfAttention

POSITIONS = ("learnt", "rotary", "none")


class LayerNorm(nnx.LayerNorm):
  """Normalise features in float32 or wider, also where nothing may be promoted by itself."""

  def __call__(self, inputs: jax.Array) -> jax.Array:
    # Flax leaves the widening to promotion, and returns the type of the inputs.
    with jax.numpy_dtype_promotion("standard"):
      return super().__call__(inputs)


class Block(nnx.Module):
  r"""Add to a sequence what attention makes of it, then what two dense layers do.

  .. math::
    x' = x + \mathrm{attention}(\mathrm{norm}(x)), \qquad y = x' + \mathrm{MLP}(\mathrm{norm}(x'))

  Xiong et al. 2020, "On Layer Normalization in the Transformer Architecture" (arXiv 2002.04745),
  for the norms' place.
  """

  def __init__(
    self,
    width: int,
    *,
    heads: int = 4,
    expansion: int = 4,
    attention: str = "softmax",
    causal: bool,
    rotary: bool,
    dropout: float = 0.0,
    rngs: nnx.Rngs,
  ):
    self.first_norm = LayerNorm(width, rngs=rngs)
    self.attention = SelfAttention(
      width, num_heads=heads, attention=attention, causal=causal, rotary=rotary, rngs=rngs
    )
    check_integer("expansion", expansion)
    self.second_norm = LayerNorm(width, rngs=rngs)
    self.widen = nnx.Linear(width, expansion * width, rngs=rngs)
    self.narrow = nnx.Linear(expansion * width, width, rngs=rngs)
    self.dropout = Dropout(dropout) if dropout > 0 else None

  def __call__(
    self, sequence: jax.Array, *, train: bool, rngs: nnx.Rngs | None = None
  ) -> jax.Array:
    """Return the sequence `[B, T, width]` after the block."""

    def drop(values):
      if self.dropout is None:
        return values
      return self.dropout(values, deterministic=not train, rngs=rngs)

    sequence = sequence + drop(self.attention(self.first_norm(sequence)))
    hidden = jax.nn.gelu(self.widen(self.second_norm(sequence)))
    return sequence + drop(self.narrow(hidden))


class _Stack(nnx.Module):
  """Hold the blocks, the positions and the last norm that both networks have."""

  def __init__(self, length, *, width, depth, positions, dropout=0.0, rngs, **options):
    check_integer("depth", depth)
    check_fraction("dropout", dropout)
    if positions not in POSITIONS:
      raise ValueError(f"Got positions={positions!r}; pass one of {', '.join(POSITIONS)}.")
    self.positions = nnx.data(None)
    if positions == "learnt":
      table = 0.02 * jax.random.normal(rngs.params(), (length, width), jnp.float32)
      self.positions = nnx.Param(table)
    make = functools.partial(
      Block, width, rotary=positions == "rotary", dropout=dropout, rngs=rngs, **options
    )
    self.blocks = nnx.List([make() for _ in range(depth)])
    self.norm = LayerNorm(width, rngs=rngs)

  def begin(self, sequence):
    """Return the sequence with its positions."""
    if self.positions is not None:
      length, most = sequence.shape[1], self.positions.shape[0]
      if length > most:
        raise ValueError(
          f"Got a sequence of {length} positions, of which {most} are learnt; pass a shorter one, "
          "or positions='rotary'."
        )
      sequence = sequence + self.positions[...][None, :length].astype(sequence.dtype)
    return sequence

  def __call__(self, sequence, *, train, rngs=None):
    for block in self.blocks:
      sequence = block(sequence, train=train, rngs=rngs)
    return self.norm(sequence)


class Transformer(nnx.Module):
  r"""Classify images as sequences of patches: a vision transformer.

  Patches go through a linear map, positions are added, then come the blocks; the features are the
  mean over the patches.

  Args:
    input_shape: `(height, width, channels)`, or `(length, features)` of a sequence.
    patch: side of a patch, which divides height and width; not used for sequences.
    width: the number of features of a patch.
    depth: the number of blocks.
    heads: the number of heads, which divides the width.
    expansion: how many times wider the dense layers are within.
    attention: a text that `ATTENTIONS` reads, as `softmax`, `(taylor:order=2)` or `sparsemax`.
    positions: `learnt`, `rotary` or `none`.
    dropout: the fraction of each branch's outputs set to zero in training.
    rngs: keys for the parameters.

  Raises:
    ValueError: a name is unknown, or sizes do not fit.

  Example:
    >>> net = Transformer((8, 8, 1), patch=4, width=8, depth=1, heads=2, rngs=nnx.Rngs(0))
    >>> net(jnp.ones((2, 8, 8, 1)), train=False).shape
    (2, 8)

  Reference:
    Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words" (arXiv 2010.11929).
  """

  def __init__(
    self,
    input_shape: Sequence[int],
    *,
    patch: int = 4,
    width: int = 64,
    depth: int = 4,
    heads: int = 4,
    expansion: int = 4,
    attention: str = "softmax",
    positions: str = "learnt",
    dropout: float = 0.0,
    rngs: nnx.Rngs,
  ):
    if len(input_shape) not in (2, 3):
      raise ValueError(
        f"Got inputs of shape {tuple(input_shape)}; a transformer takes images (height, width, "
        "channels) or sequences (length, features)."
      )
    check_integer("patch", patch)
    check_integer("width", width)
    length, size = input_shape[0], input_shape[-1]
    if len(input_shape) == 3:
      height, across, channels = input_shape
      if height % patch or across % patch:
        raise ValueError(
          f"Got patches of side {patch} for images of {height} by {across}, which it must divide."
        )
      length, size = height // patch * (across // patch), patch**2 * channels
    self.input_shape, self.patch = tuple(input_shape), patch
    self.embed = nnx.Linear(size, width, rngs=rngs)
    self.stack = _Stack(
      length,
      width=width,
      depth=depth,
      heads=heads,
      expansion=expansion,
      attention=attention,
      causal=False,
      positions=positions,
      dropout=dropout,
      rngs=rngs,
    )

  def begin(self, images: jax.Array) -> jax.Array:
    """Return the sequence `[B, T, width]` that the first block is given."""
    check_floating(images)
    of_images = len(self.input_shape) == 3
    if images.shape[1:] != (
      self.input_shape if of_images else (*images.shape[1:2], self.input_shape[1])
    ):
      raise ValueError(
        f"Got a batch of shape {images.shape} for a network of inputs {self.input_shape}, of which "
        "sequences alone may have another length. Make a network for these inputs."
      )
    images = cut_patches(images, self.patch) if of_images else images
    return self.stack.begin(self.embed(images))

  def __call__(self, images: jax.Array, *, train: bool, rngs: nnx.Rngs | None = None) -> jax.Array:
    return jnp.mean(self.stack(self.begin(images), train=train, rngs=rngs), axis=1)


def cut_patches(images: jax.Array, side: int) -> jax.Array:
  """Cut images `[B, H, W, C]` into patches `[B, H W / side^2, side^2 C]`, row by row.

  Example:
    >>> cut_patches(jnp.arange(4.0).reshape(1, 2, 2, 1), 1)[0, :, 0]
    Array([0., 1., 2., 3.], dtype=float32)
  """
  count, height, width, channels = images.shape
  patches = images.reshape(count, height // side, side, width // side, side, channels)
  length = height // side * (width // side)
  return patches.swapaxes(2, 3).reshape(count, length, side * side * channels)


class Decoder(nnx.Module):
  r"""Make features of every position of a text from the tokens up to it.

  Any head on the features predicts the next token. Flattened over positions they are examples as
  others are; `heads.Head.loss` takes `[B, T, width]` as well.

  Args:
    num_tokens: size of the vocabulary; tokens out of range count as the nearest in it.
    length: the most positions, where these are learnt.
    width, depth, positions, rngs: those of `Transformer`.
    **options: `heads`, `expansion`, `attention` and `dropout` of `Transformer`.

  Raises:
    ValueError: a name is unknown, or sizes do not fit.

  Example:
    >>> net = Decoder(10, width=8, depth=1, heads=2, rngs=nnx.Rngs(0))
    >>> net(jnp.zeros((2, 5), int), train=False).shape
    (2, 5, 8)
  """

  def __init__(
    self,
    num_tokens: int,
    *,
    length: int = 256,
    width: int = 64,
    depth: int = 2,
    positions: str = "rotary",
    rngs: nnx.Rngs,
    **options: Any,
  ):
    for name, size in (("num_tokens", num_tokens), ("length", length), ("width", width)):
      check_integer(name, size)
    self.table = nnx.Param(jax.random.normal(rngs.params(), (num_tokens, width), jnp.float32))
    self.stack = _Stack(
      length, width=width, depth=depth, positions=positions, causal=True, rngs=rngs, **options
    )

  def begin(self, tokens: jax.Array) -> jax.Array:
    """Return the sequence `[B, T, width]` that the first block is given."""
    if tokens.ndim != 2 or not jnp.issubdtype(tokens.dtype, jnp.integer):
      raise ValueError(
        f"Got tokens of shape {tokens.shape} and type {tokens.dtype}; they must be integers [B, T]."
      )
    sequence = self.table[...].at[tokens].get(mode="clip", wrap_negative_indices=False)
    return self.stack.begin(sequence)

  def __call__(self, tokens: jax.Array, *, train: bool, rngs: nnx.Rngs | None = None) -> jax.Array:
    return self.stack(self.begin(tokens), train=train, rngs=rngs)
