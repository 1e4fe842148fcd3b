"""Activations: the elementwise functions between layers, by name."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx


class PReLU(nnx.Module):
  r"""Scale negative inputs by a slope learned for each channel.

  .. math:: \mathrm{PReLU}(x)_c = \max(x_c, 0) + a_c \min(x_c, 0)

  Args:
    features: C, the number of channels. Every slope starts at 0.25.

  Example:
    >>> import jax.numpy as jnp
    >>> PReLU(2)(jnp.array([[-4.0, 4.0]]))
    Array([[-1.,  4.]], dtype=float32)

  Reference:
    He et al. 2015, "Delving Deep into Rectifiers", equation 1.
  """

  def __init__(self, features: int):
    # Without its type, a weak one, the step would be compiled once more after its first call.
    self.slope = nnx.Param(jnp.full((features,), 0.25, jnp.float32))

  def __call__(self, inputs: jax.Array, *, axis: int = -1) -> jax.Array:
    """Return the outputs; the channels lie along the axis."""
    shape = [1] * inputs.ndim
    shape[axis] = -1
    slope = self.slope[...].astype(inputs.dtype).reshape(shape)
    return jnp.where(inputs >= 0, inputs, slope * inputs)


def _leaky_relu(inputs: jax.Array) -> jax.Array:
  return jax.nn.leaky_relu(inputs, negative_slope=0.01)


#: Activations by name: functions, and modules for those that learn a parameter.
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array] | type[nnx.Module]] = {
  "relu": jax.nn.relu,
  "tanh": jnp.tanh,
  "sigmoid": jax.nn.sigmoid,
  "leaky_relu": _leaky_relu,
  "elu": jax.nn.elu,
  "gelu": jax.nn.gelu,
  "prelu": PReLU,
}

# These never decrease, so max(f(x), f(y)) = f(max(x, y)): pooling may go first, on more data, and
# leave the activation a quarter of it. A learned slope can turn negative; gelu falls below zero.
MONOTONE = frozenset({"relu", "tanh", "sigmoid", "leaky_relu", "elu"})


def make_activation(name: str, features: int) -> Callable[[jax.Array], jax.Array]:
  """Return an activation by its name.

  Args:
    name: a key of `ACTIVATIONS`.
    features: the number of channels, for activations that learn.

  Returns:
    A function of an array, or a module.

  Raises:
    ValueError: the name is unknown.

  Example:
    >>> make_activation("relu", 3)(-1.0).item()
    0.0
  """
  if name not in ACTIVATIONS:
    raise ValueError(f"Got activation={name!r}; the names are {', '.join(sorted(ACTIVATIONS))}.")
  activation = ACTIVATIONS[name]
  return activation(features) if isinstance(activation, type) else activation
