"""Batch norm: standardise every channel by its mean and variance over the batch."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

_MOMENTUM, _EPSILON = 0.9, 1e-5


class BatchNorm(nnx.Module):
  r"""Standardise channels, by the batch's statistics in training and by running ones after.

  .. math:: y_c = \gamma_c \frac{x_c - \mu_c}{\sqrt{\sigma^2_c + 10^{-5}}} + \beta_c

  Running statistics move as `running = 0.9 * running + 0.1 * batch`: Flax's momentum 0.9,
  PyTorch's 0.1. The running variance is the biased one, as in Flax; PyTorch's is unbiased.

  Args:
    features: the number of channels.
    axis: the channels' axis.
    axis_name: the mapped axis of `jax.pmap` over which the statistics are averaged.

  Example:
    >>> norm = BatchNorm(1)
    >>> norm(jnp.array([[1.0], [3.0]]), train=True).round(3).tolist()
    [[-1.0], [1.0]]
    >>> norm.mean[...]
    Array([0.2], dtype=float32)

  Reference:
    Ioffe and Szegedy 2015, "Batch Normalization", algorithms 1 and 2.
  """

  def __init__(self, features: int, *, axis: int = -1, axis_name: str | None = None):
    self.scale = nnx.Param(jnp.ones((features,)))
    self.bias = nnx.Param(jnp.zeros((features,)))
    self.mean = nnx.BatchStat(jnp.zeros((features,)))
    self.var = nnx.BatchStat(jnp.ones((features,)))
    self.axis = axis
    self.axis_name = axis_name

  def __call__(self, inputs: jax.Array, *, train: bool) -> jax.Array:
    axis = self.axis % inputs.ndim
    shape = [-1 if i == axis else 1 for i in range(inputs.ndim)]
    if not train:
      mean, var = self.mean[...], self.var[...]
      centred = inputs - mean.reshape(shape)
    else:
      axes = [i for i in range(inputs.ndim) if i != axis]
      # The mean first, then the squares about it: the mean of squares less the square of the mean
      # loses all digits where the mean is large.
      mean = self._average(jnp.mean(inputs, axes, dtype=jnp.float32))
      centred = inputs - mean.reshape(shape)
      var = self._average(jnp.mean(centred**2, axes, dtype=jnp.float32))
      for running, batch in ((self.mean, mean), (self.var, var)):
        moved = _MOMENTUM * running[...] + (1 - _MOMENTUM) * lax.stop_gradient(batch)
        running[...] = moved
    scale = self.scale[...] * lax.rsqrt(var + _EPSILON)
    return (centred * scale.reshape(shape) + self.bias[...].reshape(shape)).astype(inputs.dtype)

  def _average(self, statistics: jax.Array) -> jax.Array:
    return statistics if self.axis_name is None else lax.pmean(statistics, self.axis_name)
