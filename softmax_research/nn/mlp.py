"""MLP: dense layers on flattened inputs."""

import math
from collections.abc import Sequence

import jax
from flax import nnx

from softmax_research.nn.layer import check_sizes, dense_layers, flatten


class MLP(nnx.Module):
  r"""Stack dense layers on flattened inputs.

  .. math:: x_{l+1} = \mathrm{dropout}(\sigma(\mathrm{norm}(x_l W_l + b_l)))

  Args:
    input_shape: shape of one input; a sequence of any length, flattened.
    widths: the layers' sizes; the last is the number of features.
    activation: `relu`, `tanh`, `sigmoid`, `leaky_relu`, `elu`, `gelu` or `prelu`.
    dropout: the fraction of every layer's outputs set to zero in training.
    batch_norm: False, `"before"` (or True) or `"after"` the activation.
    kernel_init: `he_normal`, `he_uniform`, `glorot_normal`, and so on.
    rngs: keys for the parameters.

  Raises:
    ValueError: a name is unknown or a number out of range.

  Example:
    >>> net = MLP((28, 28, 1), widths=(512, 256), rngs=nnx.Rngs(0))
    >>> net(jax.numpy.ones((2, 28, 28, 1)), train=False).shape
    (2, 256)
  """

  def __init__(
    self,
    input_shape: Sequence[int],
    *,
    widths: int | Sequence[int] = (512, 512),
    activation: str = "relu",
    dropout: float = 0.0,
    batch_norm: bool | str = False,
    kernel_init: str = "he_normal",
    rngs: nnx.Rngs,
  ):
    self.layers = dense_layers(
      math.prod(input_shape),
      check_sizes("widths", widths),
      activation=activation,
      dropout=dropout,
      batch_norm=batch_norm,
      kernel_init=kernel_init,
      rngs=rngs,
    )

  def __call__(self, images: jax.Array, *, train: bool, rngs: nnx.Rngs | None = None) -> jax.Array:
    features = flatten(images)
    for layer in self.layers:
      features = layer(features, train=train, rngs=rngs)
    return features
