"""Backbone: a network from images to features as a pair of pure functions."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Backbone(NamedTuple):
  r"""Hold the pure functions of a network.

  A backbone knows no framework: its parameters and its state are pytrees, its functions take and
  return arrays. `from_nnx` and `from_linen` make one from a Flax module; a network in bare JAX
  needs no adapter, only this constructor.

  Attributes:
    init: `(key, input_shape) -> (params, state)`; `input_shape` excludes the batch axis. `state`
      holds what training changes but does not differentiate, as batch statistics; it may be
      empty.
    apply: `(params, state, images, *, train, key=None) -> (features, state)` for images
      `[B, *input_shape]` of floats and features `[B, D]`. `train` is static; `key` a random key,
      for networks with dropout, used in training alone.

  Example:
    >>> def init(key, input_shape):
    ...   return {"kernel": jax.random.normal(key, (*input_shape, 3))}, {}
    >>> def apply(params, state, images, *, train, key=None):
    ...   return jnp.tanh(images @ params["kernel"]), state
    >>> backbone = Backbone(init, apply)
    >>> params, state = backbone.init(jax.random.key(0), (4,))
    >>> features, state = backbone.apply(params, state, jnp.ones((2, 4)), train=False)
    >>> features.shape
    (2, 3)
  """

  init: Callable[..., tuple[Any, Any]]
  apply: Callable[..., tuple[Any, Any]]


def in_bfloat16(backbone: Backbone) -> Backbone:
  """Compute a backbone in bfloat16; its parameters, its state and its features stay in float32.

  So does whatever comes after: the head, its loss, and the optimiser. Products of bfloat16 are
  summed in float32.

  Args:
    backbone: any backbone.

  Returns:
    A backbone of the same parameters.

  Example:
    >>> from softmax_research import nn
    >>> backbone = in_bfloat16(nn.make("mlp", widths=(4,)))
    >>> params, state = backbone.init(jax.random.key(0), (3,))
    >>> features, _ = backbone.apply(params, state, jnp.ones((2, 3)), train=False)
    >>> features.dtype.name, {leaf.dtype.name for leaf in jax.tree.leaves(params)}
    ('float32', {'float32'})

  Reference:
    Micikevicius et al. 2018, "Mixed Precision Training", section 3.1: a master copy of the weights.
  """

  def apply(params: Any, state: Any, images: jax.Array, **options: Any):
    narrow = jax.tree.map(_in_bfloat16, params)
    features, new_state = backbone.apply(narrow, state, _in_bfloat16(images), **options)
    new_state = jax.tree.map(lambda new, old: new.astype(old.dtype), new_state, state)
    return features.astype(jnp.float32), new_state

  return Backbone(backbone.init, apply)


def _in_bfloat16(values: jax.Array) -> jax.Array:
  return values.astype(jnp.bfloat16) if jnp.issubdtype(values.dtype, jnp.floating) else values
