"""CNN: stages of convolutions given as data, then dense layers."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from softmax_research.functional.arrays import check_at_least, check_integer
from softmax_research.nn.convolution import in_fastest_layout
from softmax_research.nn.layer import (
  KERNEL_INITIALISERS,
  Layer,
  check_floating,
  check_sizes,
  dense_layers,
  flatten,
)
from softmax_research.nn.whitening import Whitening


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
    pool_first: pool right after a stage's first convolution, before norm and activation, in place
      of at its end: whatever follows has less to do.
    whitening: size of the patches of a first convolution that is not trained and makes them white,
      with a bias and the activation after it; 0 for none. See `Whitening`.
    examples: images as the network takes them, for `whitening`; without them it is random.
    padding: `"same"` or `"valid"`.
    activation: `relu`, `tanh`, `sigmoid`, `leaky_relu`, `elu`, `gelu` or `prelu`.
    batch_norm: False, `"before"` (or True) or `"after"` the activation; of every layer.
    dropout: the fraction of a stage's outputs set to zero in training.
    dense_dropout: the same for every dense layer.
    linear_features: leave the last dense layer linear, without norm or dropout, as in the papers
      that draw features in the plane.
    global_average_pool: average the last stage's maps over positions rather than flatten them.
    global_max_pool: take their largest values likewise.
    feature_scale: multiplies the features, and so the logits of any head without a bias.
    kernel_init: `he_normal`, `he_uniform`, `glorot_normal`, and so on, or `identity`.
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
    pool_first: bool = False,
    whitening: int = 0,
    examples: Any = None,
    padding: str = "same",
    activation: str = "relu",
    batch_norm: bool | str = False,
    dropout: float | Sequence[float] = 0.0,
    dense_dropout: float = 0.0,
    linear_features: bool = False,
    global_average_pool: bool = False,
    global_max_pool: bool = False,
    feature_scale: float = 1.0,
    kernel_init: str = "he_normal",
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
    if global_average_pool and global_max_pool:
      raise ValueError(
        "Got global_average_pool=True and global_max_pool=True; maps are pooled in one way."
      )
    remedy = "It is the side of patches, as 2; pass 0 for none."
    check_integer("whitening", whitening, 0, min(input_shape[:2]), remedy)
    check_at_least("feature_scale", feature_scale, 0, "Pass 1 for none.", strict=True)
    initialiser = KERNEL_INITIALISERS.make(kernel_init)
    height, width, channels = input_shape
    self.whitening = nnx.List([])
    if whitening:
      filters = Whitening(whitening, channels, images=examples, rngs=rngs)
      channels = filters.kernel[...].shape[-1]
      height, width = height - whitening + 1, width - whitening + 1
      self.whitening.append(Layer(filters, channels, activation=activation))
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
        options = {"activation": activation, "batch_norm": batch_norm}
        options |= {"dropout": rate} if index == len(filters) - 1 else {}
        pools = index == (0 if pool_first else len(filters) - 1)
        if pools:
          options |= {"pool": window, "pool_first": pool_first}
        self.convolutions.append(Layer(convolution, features, **options))
        channels = features
        shrink = size - 1 if padding == "valid" else 0
        height, width = ((s - shrink) // (window if pools else 1) for s in (height, width))
      if min(height, width) < 1:
        raise ValueError(
          f"Got images of {input_shape[0]} by {input_shape[1]}, too small for stages={stages} with "
          f"kernel={kernel}, pool={pool} and padding={padding!r}; take away a stage or its pooling."
        )
    pool_all = {(True, False): jnp.mean, (False, True): jnp.max}
    self.pool_all = pool_all.get((global_average_pool, global_max_pool))
    self.feature_scale = feature_scale
    self.dense = dense_layers(
      channels if self.pool_all else height * width * channels,
      check_sizes("dense", dense) if dense else (),
      activation=activation,
      batch_norm=batch_norm,
      dropout=dense_dropout,
      kernel_init=kernel_init,
      linear_last=linear_features,
      rngs=rngs,
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
    layers = (*self.whitening, *self.convolutions)
    return in_fastest_layout(layers, images, train=train, rngs=rngs)

  def __call__(self, images: jax.Array, *, train: bool, rngs: nnx.Rngs | None = None) -> jax.Array:
    maps = self.maps(images, train=train, rngs=rngs)
    if self.pool_all:
      features = self.pool_all(maps, axis=(1, 2))
    else:
      features = flatten(maps.transpose(0, 3, 1, 2))
    for layer in self.dense:
      features = layer(features, train=train, rngs=rngs)
    return features if self.feature_scale == 1 else features * self.feature_scale


def _per_stage(name: str, value: Any, num_stages: int) -> tuple[Any, ...]:
  if not isinstance(value, Sequence) or isinstance(value, str):
    return (value,) * num_stages
  if len(value) != num_stages:
    raise ValueError(
      f"Got {len(value)} values in {name}={value!r} for {num_stages} stages; pass one value for "
      "all stages or one for each."
    )
  return tuple(value)
