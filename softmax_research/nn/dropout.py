"""Dropout: Flax's, which under `jax.pmap` also draws as if one device held the whole batch."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax


class Dropout(nnx.Dropout):
  """Set a fraction of the inputs to zero in training, and scale the others up.

  Args:
    rate: the fraction.
    axis_name: the mapped axis of `jax.pmap` whose devices hold equal shares of a batch. Each draws
      for the whole batch and keeps its share, so that no two share a mask and the outcome is that
      of one device.

  Example:
    >>> Dropout(0.5)(jnp.ones((2, 3)), deterministic=True).sum()
    Array(6., dtype=float32)

  Reference:
    Srivastava et al. 2014, "Dropout: A Simple Way to Prevent Neural Networks from Overfitting".
  """

  def __init__(self, rate: float, *, axis_name: str | None = None):
    super().__init__(rate)
    self.axis_name = axis_name

  def __call__(
    self,
    inputs: jax.Array,
    *,
    deterministic: bool,
    rngs: nnx.Rngs | None = None,
    batch_axis: int = 0,
  ) -> jax.Array:
    """Return the outputs; the examples lie along the batch axis."""
    if self.axis_name is None or deterministic:
      return super().__call__(inputs, deterministic=deterministic, rngs=rngs)
    axis, own = batch_axis % inputs.ndim, inputs.shape[batch_axis]
    shape = list(inputs.shape)
    shape[axis] = own * lax.axis_size(self.axis_name)
    factors = super().__call__(jnp.ones(shape, inputs.dtype), deterministic=False, rngs=rngs)
    start = lax.axis_index(self.axis_name) * own
    return inputs * lax.dynamic_slice_in_dim(factors, start, own, axis)
