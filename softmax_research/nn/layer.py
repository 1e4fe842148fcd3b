"""Layer: a linear map and what follows it: bias or batch norm, activation, pooling, dropout."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from softmax_research.functional.arguments import check_fraction
from softmax_research.nn.activations import MONOTONE, make_activation
from softmax_research.nn.batch_norm import BatchNorm
from softmax_research.nn.dropout import Dropout
from softmax_research.nn.pooling import max_pool

#: Initialisers of kernels by name: `glorot`, `he` or `lecun`, then `_normal` or `_uniform`.
KERNEL_INITIALISERS: dict[str, Callable[..., jax.Array]] = {
  f"{scale}_{distribution}": getattr(jax.nn.initializers, f"{scale}_{distribution}")()
  for scale in ("glorot", "he", "lecun")
  for distribution in ("normal", "uniform")
}


def kernel_initialiser(name: str) -> Callable[..., jax.Array]:
  """Return an initialiser of kernels by its name.

  Args:
    name: a key of `KERNEL_INITIALISERS`.

  Returns:
    `(key, shape, dtype) -> array`.

  Raises:
    ValueError: the name is unknown.

  Example:
    >>> kernel_initialiser("he_normal")(jax.random.key(0), (3, 2)).shape
    (3, 2)
  """
  if name not in KERNEL_INITIALISERS:
    raise ValueError(
      f"Got kernel_init={name!r}; the names are {', '.join(sorted(KERNEL_INITIALISERS))}."
    )
  return KERNEL_INITIALISERS[name]


class Layer(nnx.Module):
  r"""Follow a linear map with bias or batch norm, activation, pooling and dropout.

  Args:
    linear: the linear map, without a bias.
    features: the number of channels of its output.
    axis: the channels' axis: -1, or 0 for maps with the batch last.
    activation: a key of `ACTIVATIONS`, or None to keep the layer linear.
    batch_norm: False, `"before"` (or True) or `"after"` the activation. Before it, the norm's own
      bias stands for the layer's.
    pool: window of the max pooling; 1 for none.
    dropout: the fraction of outputs set to zero in training.
    axis_name: the mapped axis of `jax.pmap` that divides the batch: statistics are averaged over
      it, and dropout draws for the whole batch.

  Example:
    >>> layer = Layer(nnx.Linear(2, 3, use_bias=False, rngs=nnx.Rngs(0)), 3)
    >>> layer(jax.numpy.ones((4, 2)), train=False).shape
    (4, 3)
  """

  def __init__(
    self,
    linear: Callable[[jax.Array], jax.Array],
    features: int,
    *,
    axis: int = -1,
    activation: str | None = "relu",
    batch_norm: bool | str = False,
    pool: int = 1,
    dropout: float = 0.0,
    axis_name: str | None = None,
  ):
    check_fraction("dropout", dropout)
    self.norm_order = _norm_order(batch_norm)
    self.linear = linear
    self.axis = axis
    self.pool = pool
    self.bias = None if self.norm_order == "before" else nnx.Param(jnp.zeros((features,)))
    self.norm = BatchNorm(features, axis=axis, axis_name=axis_name) if self.norm_order else None
    self.activation = (
      None if activation is None else make_activation(activation, features, axis=axis)
    )
    # Maps have their batch last, see `CNN`; other inputs have it first.
    batch_axis = -1 if axis == 0 else 0
    self.dropout = (
      Dropout(dropout, batch_axis=batch_axis, axis_name=axis_name) if dropout > 0 else None
    )
    self.pools_first = self.norm_order != "after" and activation in {None, *MONOTONE}

  def __call__(self, inputs: jax.Array, *, train: bool, rngs: nnx.Rngs | None = None) -> jax.Array:
    outputs = self.linear(inputs)
    if self.norm_order == "before":
      outputs = self.norm(outputs, train=train)
    if self.pools_first and self.pool > 1:
      outputs = max_pool(outputs, self.pool)
    if self.bias is not None:
      shape = [1] * outputs.ndim
      shape[self.axis] = -1
      outputs = outputs + self.bias[...].reshape(shape)
    if self.activation is not None:
      outputs = self.activation(outputs)
    if self.norm_order == "after":
      outputs = self.norm(outputs, train=train)
    if not self.pools_first and self.pool > 1:
      outputs = max_pool(outputs, self.pool)
    if self.dropout is not None:
      outputs = self.dropout(outputs, deterministic=not train, rngs=rngs)
    return outputs


def _norm_order(batch_norm: Any) -> str:
  orders = {False: "", True: "before", "before": "before", "after": "after"}
  if not isinstance(batch_norm, bool | str) or batch_norm not in orders:
    raise ValueError(
      f"Got batch_norm={batch_norm!r}; pass False for none, 'before' (or True) to normalise before "
      "the activation, or 'after'."
    )
  return orders[batch_norm]
