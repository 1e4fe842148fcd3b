"""CNN: stages of convolutions given as data, then dense layers."""

from collections.abc import Sequence
from typing import Any

import jax
from flax import nnx

from softmax_research.nn.convolution import in_fastest_layout
from softmax_research.nn.layer import (
  KERNEL_INITIALISERS,
  Layer,
  check_floating,
  check_sizes,
  dense_layers,
)


class CNN(nnx.Module):
  r"""Stack stages of convolutions, each ended by max pooling and dropout, then dense layers.

  A stage is a tuple of its convolutions' numbers of filters. `kernel`, `pool` and `dropout` hold
  for all stages, or are sequences with one value a stage. So the papers' VGG-like nets are plain
  data: ten convolutions of 64 filters for MNIST are `stages=((64,) * 4, (64,) * 3, (64,) * 3),
  dense=(256,)`.

  Args:
    input_shape: `(H, W, C)` of one image.
    stages: for each stage, the filters of its convolutions; `((32, 32), (64, 64))`, say. A number
      is a stage of one.
    dense: sizes of the dense layers after the stages; may be empty.
    kernel: the kernels' size.
    pool: window of the max pooling at a stage's end, rows and columns left over are dropped; 1
      for none.
    padding: `"same"` or `"valid"`.
    activation: `relu`, `tanh`, `sigmoid`, `leaky_relu`, `elu`, `gelu` or `prelu`.
    batch_norm: False, `"before"` (or True) or `"after"` the activation; of every layer.
    dropout: the fraction of a stage's outputs set to zero in training.
    dense_dropout: the same for every dense layer.
    linear_features: leave the last dense layer linear, without norm or dropout, as in the papers
      that draw features in the plane.
    global_average_pool: average the last stage's maps over positions rather than flatten them.
    kernel_init: `he_normal`, `he_uniform`, `glorot_normal`, and so on.
    axis_name: the mapped axis of `jax.pmap` that divides the batch; see `Layer`.
    rngs: keys for the parameters.

  Raises:
    ValueError: a name is unknown, a number out of range, or the images too small for the stages.

  Example:
    >>> net = CNN((28, 28, 1), stages=((32,), (64,)), dense=(256,), rngs=nnx.Rngs(0))
    >>> net(jax.numpy.ones((2, 28, 28, 1)), train=False).shape
    (2, 256)
    >>> net.maps(jax.numpy.ones((2, 28, 28, 1)), train=False).shape
    (2, 7, 7, 64)
  """

  def __init__(
    self,
    input_shape: Sequence[int],
    *,
    stages: int | Sequence[int | Sequence[int]] = ((32,), (64,)),
    dense: int | Sequence[int] = (256,),
    kernel: int | Sequence[int] = 3,
    pool: int | Sequence[int] = 2,
    padding: str = "same",
    activation: str = "relu",
    batch_norm: bool | str = False,
    dropout: float | Sequence[float] = 0.0,
    dense_dropout: float = 0.0,
    linear_features: bool = False,
    global_average_pool: bool = False,
    kernel_init: str = "he_normal",
    axis_name: str | None = None,
    rngs: nnx.Rngs,
  ):
    if len(input_shape) != 3:
      raise ValueError(
        f"Got inputs of shape {tuple(input_shape)}; a CNN takes images (height, width, channels). "
        "Use the MLP for other inputs."
      )
    if padding not in ("same", "valid"):
      raise ValueError(f"Got padding={padding!r}; pass 'same' or 'valid'.")
    stages = (stages,) if isinstance(stages, int) else stages
    if isinstance(stages, str) or not isinstance(stages, Sequence) or not stages:
      raise ValueError(f"Got stages={stages!r}; pass at least one stage, as ((32, 32), (64, 64)).")
    initialiser = KERNEL_INITIALISERS.find(kernel_init)
    common = {"batch_norm": batch_norm, "axis_name": axis_name}
    height, width, channels = input_shape
    self.convolutions = nnx.List([])
    for filters, size, window, rate in zip(
      [check_sizes("stages", stage) for stage in stages],
      _per_stage("kernel", kernel, len(stages)),
      _per_stage("pool", pool, len(stages)),
      _per_stage("dropout", dropout, len(stages)),
      strict=True,
    ):
      check_sizes("kernel", (size,))
      check_sizes("pool", (window,))
      for index, features in enumerate(filters):
        convolution = nnx.Conv(
          channels,
          features,
          (size, size),
          strides=(1, 1),
          padding=padding.upper(),
          use_bias=False,
          kernel_init=initialiser,
          rngs=rngs,
        )
        end = {"pool": window, "dropout": rate} if index == len(filters) - 1 else {}
        self.convolutions.append(
          Layer(convolution, features, activation=activation, **end, **common)
        )
        channels = features
      shrink = len(filters) * (size - 1) if padding == "valid" else 0
      height, width = (height - shrink) // window, (width - shrink) // window
      if min(height, width) < 1:
        raise ValueError(
          f"Got images of {input_shape[0]} by {input_shape[1]}, too small for stages={stages} with "
          f"kernel={kernel}, pool={pool} and padding={padding!r}; take away a stage or its pooling."
        )
    self.global_average_pool = global_average_pool
    self.dense = dense_layers(
      channels if global_average_pool else height * width * channels,
      check_sizes("dense", dense) if dense else (),
      activation=activation,
      dropout=dense_dropout,
      kernel_init=kernel_init,
      linear_last=linear_features,
      rngs=rngs,
      **common,
    )

  def maps(self, images: jax.Array, *, train: bool, rngs: nnx.Rngs | None = None) -> jax.Array:
    """Return the last stage's maps.

    Args:
      images: `[B, H, W, C]`.
      train: use the batch's statistics and dropout.
      rngs: keys for dropout.

    Returns:
      Maps `[B, H', W', F]`.
    """
    check_floating(images)

    def compute(maps, batch_last):
      for layer in self.convolutions:
        maps = layer(maps, train=train, rngs=rngs, batch_last=batch_last)
      return maps

    return in_fastest_layout(images, compute)

  def __call__(self, images: jax.Array, *, train: bool, rngs: nnx.Rngs | None = None) -> jax.Array:
    maps = self.maps(images, train=train, rngs=rngs)
    if self.global_average_pool:
      features = maps.mean(axis=(1, 2))
    else:
      features = maps.transpose(0, 3, 1, 2).reshape(maps.shape[0], -1)
    for layer in self.dense:
      features = layer(features, train=train, rngs=rngs)
    return features


def _per_stage(name: str, value: Any, num_stages: int) -> tuple[Any, ...]:
  if not isinstance(value, Sequence) or isinstance(value, str):
    return (value,) * num_stages
  if len(value) != num_stages:
    raise ValueError(
      f"Got {len(value)} values in {name}={value!r} for {num_stages} stages; pass one value for "
      "all stages or one for each."
    )
  return tuple(value)
