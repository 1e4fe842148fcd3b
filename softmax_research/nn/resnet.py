"""ResNet: stages of residual blocks for small images."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from softmax_research.nn.convolution import in_fastest_layout
from softmax_research.nn.layer import (
  ACTIVATIONS,
  KERNEL_INITIALISERS,
  Layer,
  activate,
  check_floating,
  check_sizes,
)


class ResNet(nnx.Module):
  r"""Stack a convolution and stages of residual blocks, and average the last maps over positions.

  .. math:: x_{l+1} = \sigma\big(\mathrm{shortcut}(x_l)
    + \mathrm{norm}(k_2 * \sigma(\mathrm{norm}(k_1 * x_l)))\big)

  Every stage has n blocks of two 3 by 3 convolutions; each stage but the first begins with strides
  of 2. With ten classes behind it, depth 20 has 0.27 million parameters, 32 has 0.46, 44 has 0.66,
  56 has 0.85 and 110 has 1.7.

  Args:
    input_shape: `(H, W, C)` of one image.
    depth: the convolutions, and the head behind them: 6n + 2 for three stages.
    widths: filters of each stage's convolutions.
    norm: `"batch"`, or `"none"` for a bias in its place.
    shortcut: where the maps change their shape: `"identity"`, the maps at every second position and
      zeros for what filters they lack, which has no parameters (option A of the paper), or
      `"projection"`, a 1 by 1 convolution with a norm of its own (option B).
    activation: a key of `ACTIVATIONS`, or your own.
    kernel_init: `he_normal`, `he_uniform`, `glorot_normal`, and so on.
    rngs: keys for the parameters.

  Raises:
    ValueError: a name is unknown, a number out of range, or the depth not one of the above.

  Example:
    >>> net = ResNet((32, 32, 3), depth=8, widths=(4, 8, 16), rngs=nnx.Rngs(0))
    >>> jax.eval_shape(lambda images: net(images, train=False), jnp.ones((2, 32, 32, 3))).shape
    (2, 16)

  Reference:
    He et al. 2015, "Deep Residual Learning for Image Recognition", section 4.2 (arXiv 1512.03385).
  """

  def __init__(
    self,
    input_shape: Sequence[int],
    *,
    depth: int = 20,
    widths: int | Sequence[int] = (16, 32, 64),
    norm: str = "batch",
    shortcut: str = "identity",
    activation: str = "relu",
    kernel_init: str = "he_normal",
    rngs: nnx.Rngs,
  ):
    if len(input_shape) != 3:
      raise ValueError(
        f"Got inputs of shape {tuple(input_shape)}; a ResNet takes images (height, width, "
        "channels). Use the MLP for other inputs."
      )
    widths = check_sizes("widths", widths)
    num_blocks, rest = divmod(depth - 2, 2 * len(widths))
    if num_blocks < 1 or rest:
      raise ValueError(
        f"Got depth={depth} for {len(widths)} stages; it must be {2 * len(widths)}n + 2, as "
        f"{6 * len(widths) + 2}."
      )
    if norm not in ("batch", "none"):
      raise ValueError(f"Got norm={norm!r}; pass 'batch' or 'none'.")
    if shortcut not in ("identity", "projection"):
      raise ValueError(f"Got shortcut={shortcut!r}; pass 'identity' or 'projection'.")
    if shortcut == "identity" and sorted(widths) != list(widths):
      raise ValueError(
        f"Got widths={widths} with shortcut='identity', which cannot take filters away; pass "
        "shortcut='projection'."
      )
    channels = input_shape[-1]

    def layer(filters: int, *, kernel: int = 3, stride: int = 1, activation: str | None) -> Layer:
      """Return a layer on the maps so far."""
      convolution = nnx.Conv(
        channels,
        filters,
        (kernel, kernel),
        strides=(stride, stride),
        padding=((kernel // 2, kernel // 2),) * 2,  # Also with strides, as in the paper.
        use_bias=False,
        kernel_init=KERNEL_INITIALISERS.make(kernel_init),
        rngs=rngs,
      )
      return Layer(convolution, filters, activation=activation, batch_norm=norm == "batch")

    self.first = layer(widths[0], activation=activation)
    self.blocks = nnx.List([])
    channels = widths[0]
    for stage, filters in enumerate(widths):
      for index in range(num_blocks):
        stride = 2 if stage > 0 and index == 0 else 1
        changes = stride > 1 or channels != filters
        projection = None
        if changes and shortcut == "projection":
          projection = layer(filters, kernel=1, stride=stride, activation=None)
        first = layer(filters, stride=stride, activation=activation)
        channels = filters
        second = layer(filters, activation=None)
        self.blocks.append(
          _Block(first, second, projection, ACTIVATIONS.make(activation, filters), stride, filters)
        )

  def __call__(self, images: jax.Array, *, train: bool, rngs: nnx.Rngs | None = None) -> jax.Array:
    check_floating(images)
    return in_fastest_layout((self.first, *self.blocks), images, train=train).mean(axis=(1, 2))


class _Block(nnx.Module):
  """Add what two layers make of maps to the maps, or to their projection."""

  def __init__(self, first, second, projection, activation, stride, filters):
    self.first, self.second, self.projection = first, second, projection
    self.activation, self.stride, self.filters = activation, stride, filters

  def __call__(self, maps: jax.Array, *, train: bool, batch_last: bool) -> jax.Array:
    layout = {"train": train, "batch_last": batch_last}
    residual = self.second(self.first(maps, **layout), **layout)
    if self.projection is not None:
      maps = self.projection(maps, **layout)
    else:
      maps = maps[:, :: self.stride, :: self.stride]
      axis = 0 if batch_last else 3
      lacking = [(0, self.filters - maps.shape[axis] if i == axis else 0) for i in range(4)]
      maps = jnp.pad(maps, lacking)
    return activate(self.activation, maps + residual, batch_last=batch_last)
