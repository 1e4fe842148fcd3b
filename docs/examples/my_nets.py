"""Networks of one's own: a class of Flax NNX, one of Flax Linen, and functions of arrays.

python -m experiments.compare --workdir=runs/nets --config.heads=softmax --config.seeds=2 \
    --config.backbone=my_nets.Wide:width=512,my_nets.Small,my_nets.waves
"""

import math

import jax
import jax.numpy as jnp
from flax import linen, nnx

from softmax_research import nn


class Wide(nnx.Module):
  """NNX: made from the shape of one input; `train` reaches dropout and batch norm by itself."""

  def __init__(self, input_shape, *, width: int = 512, dropout: float = 0.1, rngs: nnx.Rngs):
    self.layer = nnx.Linear(math.prod(input_shape), width, rngs=rngs)
    self.dropout = nnx.Dropout(dropout, rngs=rngs)

  def __call__(self, images):
    return self.dropout(nnx.relu(self.layer(images.reshape(len(images), -1))))


class Small(linen.Module):
  """Linen: the fields are the options; `train` is given to a module that takes it."""

  width: int = 16

  @linen.compact
  def __call__(self, images, *, train):
    maps = linen.Conv(self.width, (3, 3))(images)
    maps = linen.relu(linen.BatchNorm(use_running_average=not train, momentum=0.9)(maps))
    return linen.avg_pool(maps, (2, 2), strides=(2, 2)).reshape(len(images), -1)


def waves(*, width: int = 256) -> nn.Backbone:
  """Bare JAX: cosines of random projections, which is one layer without learning."""

  def init(key, input_shape):
    kernel = jax.random.normal(key, (math.prod(input_shape), width)) / 8
    return {}, {"kernel": kernel}  # Parameters, and what the optimiser leaves alone.

  def apply(params, state, images, *, train, key=None):
    return jnp.cos(images.reshape(len(images), -1) @ state["kernel"]), state

  return nn.Backbone(init, apply)
