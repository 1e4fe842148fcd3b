"""Backbone: a network that turns images into features, as a pair of pure functions."""

from collections.abc import Callable
from typing import Any, NamedTuple


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
    >>> import jax
    >>> import jax.numpy as jnp
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
