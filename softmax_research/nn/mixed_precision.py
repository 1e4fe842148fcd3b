"""Mixed precision: a backbone that computes in bfloat16 beside parameters in float32."""

from typing import Any

import jax
import jax.numpy as jnp

from softmax_research.nn.backbone import Backbone


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
