"""The backbones by name: one line in `NETWORKS` makes a new one known to flags and configs."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from softmax_research.nn.adapters import from_nnx
from softmax_research.nn.backbone import Backbone
from softmax_research.nn.cnn import CNN
from softmax_research.nn.layer import check_floating
from softmax_research.nn.mlp import MLP


class Identity(nnx.Module):
  """Flatten the inputs: a head behind it is a linear classifier.

  Args:
    input_shape: shape of one input.
    axis_name: not used: no example depends on another.
    rngs: not used: there are no parameters.

  Example:
    >>> Identity((2, 2))(jax.numpy.ones((3, 2, 2)), train=False).shape
    (3, 4)
  """

  def __init__(
    self, input_shape: Any, *, axis_name: str | None = None, rngs: nnx.Rngs | None = None
  ):
    del input_shape, axis_name, rngs

  def __call__(self, images: jax.Array, *, train: bool, rngs: nnx.Rngs | None = None) -> jax.Array:
    del train, rngs
    check_floating(images)
    return images.reshape(images.shape[0], -1)


#: Networks by name, each a Flax NNX module built from its options.
NETWORKS: dict[str, Callable[..., nnx.Module]] = {"cnn": CNN, "identity": Identity, "mlp": MLP}


def make(name: str, **options: Any) -> Backbone:
  """Build a backbone from its name and options.

  Args:
    name: a key of `NETWORKS`.
    **options: the network's own options, as `widths` or `stages`; lists serve as tuples.

  Returns:
    The backbone. Values of options are checked by its `init`, which knows the inputs' shape.

  Raises:
    ValueError: the name or an option is unknown; the message lists those that exist.

  Example:
    >>> backbone = make("mlp", widths=(8, 4), activation="tanh")
    >>> params, state = backbone.init(jax.random.key(0), (28, 28, 1))
    >>> sum(leaf.size for leaf in jax.tree.leaves(params))
    6316
  """
  if name not in NETWORKS:
    raise ValueError(f"Got the network {name!r}; the networks are {', '.join(sorted(NETWORKS))}.")
  known = network_options(name)
  for option in options:
    if option not in known:
      raise ValueError(
        f"Got option {option!r} for the network {name!r}; its options are "
        f"{', '.join(sorted(known)) or 'none'}."
      )
  return from_nnx(functools.partial(NETWORKS[name], **options))


def network_options(name: str) -> dict[str, Any]:
  """List a network's options with their defaults.

  Args:
    name: a key of `NETWORKS`.

  Returns:
    A dictionary from option to default.

  Example:
    >>> network_options("mlp")["activation"]
    'relu'
  """
  parameters = inspect.signature(NETWORKS[name].__init__).parameters.values()
  set_elsewhere = ("self", "input_shape", "rngs")
  return {p.name: p.default for p in parameters if p.name not in set_elsewhere}
