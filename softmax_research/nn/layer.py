"""Layer: a linear map and what follows it: bias or batch norm, activation, pooling, dropout."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from softmax_research.functional.arrays import along, check_fraction, evaluate, is_integer
from softmax_research.nn import cpu
from softmax_research.nn.batch_norm import BatchNorm, mapped_axis
from softmax_research.nn.convolution import convolve_batch_last
from softmax_research.registry import Registry


def _identity(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
  """Let as many filters as can copy a channel each; others are uniform, as PyTorch's are."""
  *window, channels, filters = shape
  bound, copied = (math.prod(window) * channels) ** -0.5, min(channels, filters)
  others = jax.random.uniform(key, (*window, channels, filters - copied), dtype, -bound, bound)
  centre = tuple(size // 2 for size in window)
  copies = jnp.zeros((*window, channels, copied), dtype)
  copies = copies.at[centre].set(jnp.eye(channels, copied, dtype=dtype))
  return jnp.concatenate([copies, others], axis=-1)


def _checked(initialise: Callable[..., Any], options: dict[str, Any]) -> Callable[..., jax.Array]:
  """Return an initialiser that makes sure of what it returns."""

  def checked(key, shape, dtype):
    kernel = initialise(key, shape, dtype, **options)
    if getattr(kernel, "shape", None) != tuple(shape):
      raise ValueError(
        f"Got a kernel_init that returned {getattr(kernel, 'shape', kernel)} for the shape "
        f"{tuple(shape)}; one of your own is `(key, shape, dtype) -> array`. Where yours makes "
        "such a function, name what it made."
      )
    return kernel

  return checked


#: Initialisers of kernels by name: `glorot`, `he` or `lecun`, then `_normal` or `_uniform`, or
#: `identity`, which copies channels; one of your own is `(key, shape, dtype) -> array`.
KERNEL_INITIALISERS = Registry(
  "kernel_init",
  {
    "identity": _identity,
    **{
      f"{scale}_{distribution}": getattr(jax.nn.initializers, f"{scale}_{distribution}")()
      for scale in ("glorot", "he", "lecun")
      for distribution in ("normal", "uniform")
    },
  },
  example="he_normal",
  given=("key", "shape", "dtype", "out_sharding"),
  build=_checked,
  contract="is a function of a key, a shape and a type",
)


class PReLU(nnx.Module):
  r"""Scale negative inputs by a slope learned for each channel, which starts at 0.25.

  .. math:: \mathrm{PReLU}(x)_c = \max(x_c, 0) + a_c \min(x_c, 0)

  He et al. 2015, "Delving Deep into Rectifiers", equation 1.
  """

  def __init__(self, features: int):
    # Without its type, a weak one, the step would be compiled once more after its first call.
    self.slope = nnx.Param(jnp.full((features,), 0.25, jnp.float32))

  def __call__(self, inputs: jax.Array, *, axis: int = -1) -> jax.Array:
    """Return the outputs; the channels lie along the axis."""
    return jnp.where(
      inputs >= 0, inputs, along(self.slope[...].astype(inputs.dtype), inputs, axis) * inputs
    )


def _activation(activation: Callable[..., Any], options: dict[str, Any], features: int):
  """Return a module for so many channels, or a function with its options."""
  if isinstance(activation, type):
    return activation(features, **options)
  return functools.partial(activation, **options) if options else activation


#: Activations by name: functions, and modules for those that learn a parameter; one of your own is
#: either, a module being made from the number of channels.
ACTIVATIONS = Registry(
  "activation",
  {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "leaky_relu": jax.nn.leaky_relu,
    "elu": jax.nn.elu,
    "gelu": jax.nn.gelu,
    "prelu": PReLU,
  },
  example="leaky_relu:negative_slope=0.1",
  given=("x", "features"),
  build=_activation,
)


class Dropout(nnx.Dropout):
  """Set a fraction of the inputs to zero in training, and scale the others up.

  Devices along the axis that divides the batch, see `mapped_axis`, hold equal shares of it. Each
  draws for the whole batch and keeps its share, so that no two share a mask and the outcome is that
  of one device.
  """

  def __call__(
    self,
    inputs: jax.Array,
    *,
    deterministic: bool,
    rngs: nnx.Rngs | None = None,
    batch_axis: int = 0,
  ) -> jax.Array:
    """Return the outputs; the examples lie along the batch axis."""
    if rngs is None and not deterministic:
      raise ValueError("Got no key for a network with dropout; pass key= to train.")
    axis_name = mapped_axis()
    if axis_name is None or deterministic:
      return super().__call__(inputs, deterministic=deterministic, rngs=rngs)
    axis, own = batch_axis % inputs.ndim, inputs.shape[batch_axis]
    shape = list(inputs.shape)
    shape[axis] = own * lax.axis_size(axis_name)
    factors = super().__call__(jnp.ones(shape, inputs.dtype), deterministic=False, rngs=rngs)
    start = lax.axis_index(axis_name) * own
    return inputs * lax.dynamic_slice_in_dim(factors, start, own, axis)


class Layer(nnx.Module):
  r"""Follow a linear map with bias or batch norm, activation, pooling and dropout.

  Args:
    linear: the linear map, without a bias.
    features: the number of channels of its output.
    activation: a key of `ACTIVATIONS`, or None to keep the layer linear.
    batch_norm: False, `"before"` (or True) or `"after"` the activation. Before it, the norm's own
      bias stands for the layer's.
    pool: window of the max pooling; 1 for none.
    pool_first: pool what the linear map returns, before any norm, in place of at the end.
    dropout: the fraction of outputs set to zero in training.
  """

  def __init__(
    self,
    linear: Callable[[jax.Array], jax.Array],
    features: int,
    *,
    activation: str | None = "relu",
    batch_norm: bool | str = False,
    pool: int = 1,
    pool_first: bool = False,
    dropout: float = 0.0,
  ):
    check_fraction("dropout", dropout)
    self.norm_order = _norm_order(batch_norm)
    self.linear = linear
    # Of a rising activation the largest output is that of the largest input, so that pooling could
    # go before it too; on CPU, where it writes its winners' places, that is slower.
    self.pool, self.pool_first = pool, pool_first
    zeros = jnp.zeros((features,), jnp.float32)
    self.bias = None if self.norm_order == "before" else nnx.Param(zeros)
    self.norm = BatchNorm(features) if self.norm_order else None
    self.activation = None if activation is None else ACTIVATIONS.make(activation, features)
    self.dropout = Dropout(dropout) if dropout > 0 else None

  def __call__(
    self,
    inputs: jax.Array,
    *,
    train: bool,
    rngs: nnx.Rngs | None = None,
    batch_last: bool = False,
  ) -> jax.Array:
    """Return the outputs; `batch_last` says that maps, of a convolution, are `[C, H, W, B]`."""
    outputs = convolve_batch_last(self.linear, inputs) if batch_last else self.linear(inputs)
    axis = 0 if batch_last else -1
    if self.pool > 1 and self.pool_first:
      outputs = cpu.max_pool(outputs, self.pool)
    if self.norm_order == "before":
      outputs = self.norm(outputs, train=train, axis=axis)
    if self.bias is not None:
      outputs = outputs + along(self.bias[...], outputs, axis)
    outputs = activate(self.activation, outputs, batch_last=batch_last)
    if self.norm_order == "after":
      outputs = self.norm(outputs, train=train, axis=axis)
    if self.pool > 1 and not self.pool_first:
      outputs = cpu.max_pool(outputs, self.pool)
    if self.dropout is not None:
      batch_axis = -1 if batch_last else 0
      outputs = self.dropout(outputs, deterministic=not train, rngs=rngs, batch_axis=batch_axis)
    return outputs


def activate(activation: Any, inputs: jax.Array, *, batch_last: bool) -> jax.Array:
  """Return what an activation, None for none, makes of inputs in either layout."""
  if activation is None:
    return inputs
  if isinstance(activation, PReLU):
    return activation(inputs, axis=0 if batch_last else -1)
  if batch_last and not _suits_any_layout(activation):
    return cpu.batch_last(activation(cpu.batch_first(inputs)))
  return activation(inputs)


@functools.lru_cache
def _suits_any_layout(activation: Any) -> bool:
  """Say whether a function makes of maps whose batch is last what it makes of others.

  One of the user's own may look at all channels of a position.
  """
  if isinstance(activation, nnx.Module):
    return False
  maps = np.array([-2, 0.5, 1, -1, 2, -0.5], np.float32).reshape(2, 1, 1, 3)
  try:
    found, other = evaluate(
      lambda *both: [activation(of) for of in both], maps, cpu.batch_last(maps)
    )
    return np.allclose(cpu.batch_last(found), other, equal_nan=True)
  except Exception:  # It may be made for one number of channels.
    return False


def dense_layers(
  fan_in: int,
  widths: Sequence[int],
  *,
  kernel_init: str,
  linear_last: bool = False,
  rngs: nnx.Rngs,
  **options: Any,
) -> nnx.List:
  """Return layers of so many features, the last of them without anything after it if asked for."""
  layers = nnx.List([])
  for index, width in enumerate(widths):
    linear = nnx.Linear(
      fan_in,
      width,
      use_bias=False,
      kernel_init=KERNEL_INITIALISERS.make(kernel_init),
      rngs=rngs,
    )
    last = linear_last and index == len(widths) - 1
    layers.append(Layer(linear, width, **({"activation": None} if last else options)))
    fan_in = width
  return layers


def _norm_order(batch_norm: Any) -> str:
  orders = {False: "", True: "before", "before": "before", "after": "after"}
  if not isinstance(batch_norm, bool | str) or batch_norm not in orders:
    raise ValueError(
      f"Got batch_norm={batch_norm!r}; pass False for none, 'before' (or True) to normalise before "
      "the activation, or 'after'."
    )
  return orders[batch_norm]


def check_sizes(name: str, sizes: int | Sequence[int]) -> tuple[int, ...]:
  """Return one size or several as a tuple, or raise a ValueError unless all are positive integers.

  Example:
    >>> check_sizes("widths", [512, 256]), check_sizes("widths", 512)
    ((512, 256), (512,))
  """
  sizes = (sizes,) if is_integer(sizes) else sizes
  if isinstance(sizes, str) or not isinstance(sizes, Sequence) or not sizes:
    raise ValueError(f"Got {name}={sizes!r}; pass at least one size, as (128,).")
  for size in sizes:
    if not is_integer(size) or size < 1:
      raise ValueError(f"Got {size!r} in {name}; it must be an integer of at least 1.")
  return tuple(sizes)


def flatten(images: jax.Array) -> jax.Array:
  """Return inputs `[B, ...]` as `[B, D]`, also of an empty batch.

  Example:
    >>> flatten(jnp.ones((0, 2, 3))).shape
    (0, 6)
  """
  check_floating(images)
  return images.reshape(len(images), math.prod(images.shape[1:]))


def check_floating(images: jax.Array) -> None:
  """Raise a TypeError unless the images are floats.

  Example:
    >>> check_floating(jnp.ones((2, 4)))
  """
  if not jnp.issubdtype(images.dtype, jnp.floating):
    raise TypeError(
      f"Got images of type {images.dtype}; a network takes floats. Scale them first, for instance "
      "with softmax_research.data.standardise."
    )
