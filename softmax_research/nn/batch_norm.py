"""Batch norm: standardise every channel by its mean and variance over the batch."""

import functools

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

  `axis_name` is a mapped axis of `jax.pmap`, over which the statistics are averaged. Ioffe and
  Szegedy 2015, "Batch Normalization", algorithms 1 and 2.
  """

  def __init__(self, features: int, *, axis_name: str | None = None):
    ones, zeros = jnp.ones((features,), jnp.float32), jnp.zeros((features,), jnp.float32)
    self.scale, self.bias = nnx.Param(ones), nnx.Param(zeros)
    self.mean, self.var = nnx.BatchStat(zeros), nnx.BatchStat(ones)
    self.axis_name = axis_name

  def __call__(self, inputs: jax.Array, *, train: bool, axis: int = -1) -> jax.Array:
    """Return the outputs; the channels lie along the axis."""
    scale, bias = self.scale[...], self.bias[...]
    if not train:
      return _affine(inputs, self.mean[...], self.var[...], scale, bias, axis)
    outputs, mean, var = _normalise(inputs, scale, bias, axis, self.axis_name)
    for running, batch in ((self.mean, mean), (self.var, var)):
      moved = _MOMENTUM * running[...] + (1 - _MOMENTUM) * lax.stop_gradient(batch)
      running[...] = moved.astype(running[...].dtype)
    return outputs


# The gradient is hand-written: the one that JAX derives keeps the centred inputs in memory, and
# norm and activation together take a fifth more time on CPU. It treats the mean and the variance
# that are returned as constants, so whoever takes them stops their gradient.
@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _normalise(inputs, scale, bias, axis, axis_name):
  """Return the outputs and the statistics `mean, var` of the batch."""
  return _forward(inputs, scale, bias, axis, axis_name)[0]


def _forward(inputs, scale, bias, axis, axis_name):
  # About a value of each channel, both means come from one pass over the inputs. About zero, the
  # mean of squares less the squared mean would lose all digits where the mean is large.
  centre = lax.stop_gradient(_first(inputs, axis))
  shifted = _centre(inputs, centre, axis)
  shift = _average(shifted, axis)
  mean, var = centre + shift, jnp.maximum(_average(shifted**2, axis) - shift**2, 0)
  if axis_name is not None:
    share, mean = mean, lax.pmean(mean, axis_name)
    var = lax.pmean(var + (share - mean) ** 2, axis_name)
  outputs = _affine(inputs, mean, var, scale, bias, axis)
  return (outputs, mean, var), (inputs, mean, var, scale, bias)


def _backward(axis, axis_name, residuals, cotangents):
  inputs, mean, var, scale, bias = residuals
  cotangents = cotangents[0]
  count = inputs.size // inputs.shape[axis]
  inverse = lax.rsqrt(var + _EPSILON)
  level = _average(cotangents, axis)
  slope = _average(cotangents * _centre(inputs, mean, axis), axis) * inverse
  d_scale, d_bias = count * slope, count * level
  if axis_name is not None:
    level, slope = lax.pmean((level, slope), axis_name)
  standardised = _centre(inputs, mean, axis) * along(inverse, inputs, axis)
  d_inputs = along(scale * inverse, inputs, axis) * (
    _centre(cotangents, level, axis) - standardised * along(slope, inputs, axis)
  )
  return d_inputs.astype(inputs.dtype), d_scale.astype(scale.dtype), d_bias.astype(bias.dtype)


_normalise.defvjp(_forward, _backward)


def _affine(inputs, mean, var, scale, bias, axis):
  factor = along(scale * lax.rsqrt(var + _EPSILON), inputs, axis)
  return (_centre(inputs, mean, axis) * factor + along(bias, inputs, axis)).astype(inputs.dtype)


def _average(arrays, axis):
  """Return the channels' means, in float32 at least."""
  axes = [i for i in range(arrays.ndim) if i != axis % arrays.ndim]
  return jnp.mean(arrays, axes, dtype=_wide(arrays))


def _first(arrays, axis):
  """Return a value of each channel, in float32 at least."""
  place = tuple(slice(None) if i == axis % arrays.ndim else 0 for i in range(arrays.ndim))
  return arrays[place].astype(_wide(arrays))


def _wide(arrays):
  return jnp.promote_types(arrays.dtype, jnp.float32)


def _centre(arrays, mean, axis):
  return arrays - along(mean, arrays, axis)


def along(vector, arrays, axis):
  """Return a vector of one value a channel in the shape that meets the arrays' axis."""
  shape = [1] * arrays.ndim
  shape[axis] = -1
  return vector.reshape(shape)
