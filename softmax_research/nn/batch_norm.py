"""Batch norm: standardise every channel by its mean and variance over the batch."""

import functools

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from softmax_research.functional.arrays import along, match_gradient, wide_type

_MOMENTUM, _EPSILON = 0.9, 1e-5


def mapped_axis() -> str | None:
  """Name the mapped axis that divides the batch: `"data"`, where there is one of that name."""
  try:
    lax.axis_size("data")
  except NameError:
    return None
  return "data"


class BatchNorm(nnx.Module):
  r"""Standardise channels, by the batch's statistics in training and by running ones after.

  .. math:: y_c = \gamma_c \frac{x_c - \mu_c}{\sqrt{\sigma^2_c + 10^{-5}}} + \beta_c

  Running statistics move as `running = 0.9 * running + 0.1 * batch`: Flax's momentum 0.9,
  PyTorch's 0.1. The running variance is the biased one, as in Flax; PyTorch's is unbiased.
  Statistics are averaged over the axis that divides the batch; see `mapped_axis`. Ioffe and Szegedy
  2015, "Batch Normalization", algorithms 1 and 2.
  """

  def __init__(self, features: int):
    ones, zeros = jnp.ones((features,), jnp.float32), jnp.zeros((features,), jnp.float32)
    self.scale, self.bias = nnx.Param(ones), nnx.Param(zeros)
    self.mean, self.var = nnx.BatchStat(zeros), nnx.BatchStat(ones)

  def __call__(self, inputs: jax.Array, *, train: bool, axis: int = -1) -> jax.Array:
    """Return the outputs; the channels lie along the axis."""
    mean, var, scale, bias = (
      along(variable[...], inputs, axis)
      for variable in (self.mean, self.var, self.scale, self.bias)
    )
    if not train:
      return _affine(inputs, mean, var, scale, bias)
    outputs, mean, var = _normalise(inputs, scale, bias, mapped_axis())
    for running, batch in ((self.mean, mean), (self.var, var)):
      batch = lax.stop_gradient(batch.reshape(-1)).astype(running[...].dtype)
      running[...] = _MOMENTUM * running[...] + (1 - _MOMENTUM) * batch
    return outputs


# The gradient is hand-written: the one that JAX derives keeps the centred inputs in memory, and
# norm and activation together take a fifth more time on CPU. It treats the mean and the variance
# that are returned as constants, so whoever takes them stops their gradient.
@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _normalise(inputs, scale, bias, axis_name):
  """Return the outputs and the statistics `mean, var` of the batch, in the shape of the scale."""
  return _forward(inputs, scale, bias, axis_name)[0]


def _forward(inputs, scale, bias, axis_name):
  # About a value of each channel, both means come from one pass over the inputs. About zero, the
  # mean of squares less the squared mean would lose all digits where the mean is large.
  wide = inputs.astype(wide_type(inputs))
  centre = lax.stop_gradient(wide[tuple(slice(0, size) for size in scale.shape)])
  shifted = wide - centre
  shift = _average(shifted, scale)
  mean, var = centre + shift, jnp.maximum(_average(shifted**2, scale) - shift**2, 0)
  if axis_name is not None:
    share, mean = mean, lax.pmean(mean, axis_name)
    var = lax.pmean(var + (share - mean) ** 2, axis_name)
  return (_affine(inputs, mean, var, scale, bias), mean, var), (inputs, mean, var, scale, bias)


def _backward(axis_name, residuals, cotangents):
  inputs, mean, var, scale, bias = residuals
  cotangents, centred = cotangents[0].astype(mean.dtype), inputs.astype(mean.dtype) - mean
  count = inputs.size // scale.size
  inverse = lax.rsqrt(var + _EPSILON)
  level = _average(cotangents, scale)
  slope = _average(cotangents * centred, scale) * inverse
  d_scale, d_bias = count * slope, count * level
  if axis_name is not None:
    level, slope = lax.pmean((level, slope), axis_name)
  d_inputs = (scale.astype(mean.dtype) * inverse) * (cotangents - level - centred * inverse * slope)
  gradients = zip((d_inputs, d_scale, d_bias), (inputs, scale, bias), strict=True)
  return tuple(match_gradient(found.astype(of.dtype), of) for found, of in gradients)


_normalise.defvjp(_forward, _backward)


def _affine(inputs, mean, var, scale, bias):
  wide, dtype = wide_type(inputs, mean), inputs.dtype
  inputs, mean, var, scale, bias = (of.astype(wide) for of in (inputs, mean, var, scale, bias))
  return ((inputs - mean) * (scale * lax.rsqrt(var + _EPSILON)) + bias).astype(dtype)


def _average(arrays, scale):
  """Return the channels' means in the shape of the scale."""
  axes = tuple(axis for axis, size in enumerate(scale.shape) if size == 1)
  return jnp.mean(arrays, axes, keepdims=True)
