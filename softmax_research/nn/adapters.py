"""Adapters: from a name, or a Flax module, to a backbone in the form that trains fastest."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx, traverse_util
from jax import lax

from softmax_research.nn import convolution
from softmax_research.nn.backbone import Backbone, in_bfloat16
from softmax_research.nn.cnn import CNN
from softmax_research.nn.convolution import conv
from softmax_research.nn.layer import flatten
from softmax_research.nn.mlp import MLP
from softmax_research.nn.resnet import ResNet
from softmax_research.nn.transformer import Transformer
from softmax_research.registry import Registry, accepted

# Wider layers fill a GPU with one seed, and the library's kernels are faster than products there.
_WIDEST = 128

_Tree = dict[str, Any]


def from_nnx(factory: Callable[..., nnx.Module]) -> Backbone:
  r"""Turn a Flax NNX module into a backbone.

  The module is made anew from its factory wherever its structure is needed, so a backbone holds
  no arrays, and parameters read from a checkpoint serve without a call of `init`. Variables of
  type `nnx.Param` are the parameters, all others (batch statistics, say) the state; both are
  plain nested dictionaries of arrays with string keys. Streams of random numbers are neither:
  they restart from `key` at each call, so the same key gives the same features. Convolutions
  (`nnx.Conv`) are computed by `conv`, unless they are given another function.

  Args:
    factory: `(input_shape, *, rngs) -> module`, as the class of a module or a
      `functools.partial` of it. The module is called as `module(images, train=train, rngs=rngs)`
      with those of `train` and `rngs` that it takes; `nnx.Dropout` and `nnx.BatchNorm` also
      learn of `train` through `module.train()` and `module.eval()`. `rngs` is None without a
      key.

  Returns:
    The backbone; its functions can be jitted, differentiated, vmapped and scanned.

  Raises:
    ValueError: from `apply`, when the parameters do not belong to the module, when features are
      not `[B, D]`, or when a module with random streams of its own trains without a key.

  Example:
    >>> backbone = from_nnx(functools.partial(MLP, widths=(8, 4)))
    >>> params, state = backbone.init(jax.random.key(0), (28, 28, 1))
    >>> features, state = backbone.apply(params, state, jax.numpy.ones((2, 28, 28, 1)), train=True)
    >>> features.shape
    (2, 4)
  """

  @functools.lru_cache(maxsize=32)
  def structure(input_shape):
    module = nnx.eval_shape(lambda: factory(input_shape, rngs=nnx.Rngs(0)))
    for _, part in nnx.iter_graph(module):
      if isinstance(part, nnx.Conv) and part.conv_general_dilated is lax.conv_general_dilated:
        part.conv_general_dilated = conv
    return _split(module)

  def init(key, input_shape):
    _, params, _, state = _split(factory(tuple(input_shape), rngs=nnx.Rngs(key)))
    return _to_dict(params), _to_dict(state)

  def apply(params, state, images, *, train, key=None):
    graphdef, abstract_params, streams, abstract_state = structure(images.shape[1:])
    module = nnx.merge(
      graphdef,
      _from_dict(abstract_params, params, "params"),
      _restart(streams, key, train),
      _from_dict(abstract_state, state, "state"),
      copy=True,  # Without the copy, nested transformations refuse to update batch statistics.
    )
    module.train() if train else module.eval()
    rngs = None if key is None else nnx.Rngs(key)
    features = module(images, **accepted(module.__call__, train=train, rngs=rngs))
    nnx.pop(module, nnx.Intermediate)  # What a module sows for whoever looks on is no state.
    _check_features(features, images)
    return features, _to_dict(_split(module)[3])

  return Backbone(init, apply)


def from_linen(module: flax.linen.Module) -> Backbone:
  r"""Turn a Flax Linen module into a backbone.

  The collection `params` holds the parameters, all other collections (`batch_stats`, say) are
  the state, and are mutable in training alone. Convolutions (`flax.linen.Conv`) are computed by
  `conv`, unless they are given another function.

  Args:
    module: called as `module(images, train=train)` if it takes `train`, else as
      `module(images)`. Dropout draws from the stream `dropout`.

  Returns:
    The backbone; its functions can be jitted, differentiated, vmapped and scanned.

  Raises:
    ValueError: from `apply`, when features are not `[B, D]`.

  Example:
    >>> backbone = from_linen(flax.linen.Dense(3))
    >>> params, state = backbone.init(jax.random.key(0), (4,))
    >>> features, state = backbone.apply(params, state, jax.numpy.ones((2, 4)), train=False)
    >>> features.shape, state
    ((2, 3), {})
  """

  def init(key, input_shape):
    params_key, dropout_key = jax.random.split(key)
    variables = module.init(
      {"params": params_key, "dropout": dropout_key},
      jnp.zeros((1, *input_shape), jnp.float32),
      **accepted(module.__call__, train=False),
    )
    variables = flax.core.unfreeze(flax.core.meta.unbox(variables))
    params = variables.pop("params", {})
    return params, variables

  def apply(params, state, images, *, train, key=None):
    with flax.linen.intercept_methods(_convolve):
      features, updated = module.apply(
        {"params": params, **state},
        images,
        **accepted(module.__call__, train=train),
        rngs=None if key is None else {"dropout": key},
        mutable=list(state) if train else [],
      )
    _check_features(features, images)
    return features, {**state, **flax.core.unfreeze(updated)}

  return Backbone(init, apply)


def _convolve(call: Callable, arguments: tuple, options: _Tree, context: Any) -> Any:
  """Call a method of a Linen module; a convolution without a function of its own takes `conv`."""
  module = context.module
  if isinstance(module, flax.linen.Conv) and not (
    module.conv_general_dilated or module.conv_general_dilated_cls
  ):
    object.__setattr__(module, "conv_general_dilated", conv)  # Bound for this call alone.
  return call(*arguments, **options)


def _split(module: nnx.Module) -> tuple[nnx.GraphDef, nnx.State, nnx.State, nnx.State]:
  """Return the graph, the parameters, the random streams and the rest."""
  return nnx.split(module, nnx.Param, nnx.RngState, ...)


def _to_dict(state: nnx.State) -> _Tree:
  """Return the state's arrays in nested dictionaries; positions in a list become strings."""
  flat = {tuple(map(str, path)): variable[...] for path, variable in nnx.to_flat_state(state)}
  return traverse_util.unflatten_dict(flat)


def _from_dict(abstract: nnx.State, tree: Mapping[str, Any], name: str) -> nnx.State:
  """Return the abstract state with the dictionaries' arrays in the places of its own."""
  wanted = {"/".join(map(str, path)): (path, leaf) for path, leaf in nnx.to_flat_state(abstract)}
  given = traverse_util.flatten_dict(tree, sep="/")
  if set(wanted) != set(given):
    raise ValueError(
      f"Got {name} of another backbone: missing {sorted(set(wanted) - set(given))}, unexpected "
      f"{sorted(set(given) - set(wanted))}. Pass what this backbone's init returned."
    )
  for joined, (_, leaf) in wanted.items():
    if np.shape(given[joined]) != leaf.shape:
      raise ValueError(
        f"Got {joined} of shape {np.shape(given[joined])} in {name}; for inputs of this shape it "
        f"is {leaf.shape}. Pass what this backbone's init returned for their shape."
      )
  return nnx.from_flat_state(
    [(path, _replace(leaf, given[joined])) for joined, (path, leaf) in wanted.items()]
  )


def _replace(leaf: Any, value: jax.Array) -> Any:
  """Return the variable with the value; what is no variable is the value itself."""
  return leaf.replace(value) if isinstance(leaf, nnx.Variable) else value


def _restart(streams: nnx.State, key: jax.Array | None, train: bool) -> nnx.State:
  """Return the module's own random streams, restarted from the key, no two of them alike."""
  flat = nnx.to_flat_state(streams)
  if flat and train and key is None:
    raise ValueError("Got key=None for a module that draws random numbers; pass a key to train.")
  key = jax.random.key(0) if key is None else key  # Evaluation draws nothing.
  restarted = []
  for index, (path, variable) in enumerate(flat):
    counts = isinstance(variable, nnx.RngCount)
    value = jnp.zeros((), jnp.uint32) if counts else jax.random.fold_in(key, index)
    restarted.append((path, _replace(variable, value)))
  return nnx.from_flat_state(restarted)


def _check_features(features: jax.Array, images: jax.Array) -> None:
  shape = getattr(features, "shape", None)
  if shape is None or len(shape) != 2 or shape[0] != images.shape[0]:
    got = type(features).__name__ if shape is None else f"shape {shape}"
    raise ValueError(
      f"Got features of {got} for {images.shape[0]} images; a backbone returns an array [B, D]. "
      "Flatten or average the network's last output, and return it alone."
    )


def identity() -> Backbone:
  """Flatten the inputs: a head behind it is a linear classifier.

  Example:
    >>> identity().apply({}, {}, jnp.ones((3, 2, 2)), train=False)[0].shape
    (3, 4)
  """

  def apply(params: Any, state: Any, images: jax.Array, *, train: bool, key: Any = None):
    return flatten(images), state

  return Backbone(lambda key, input_shape: ({}, {}), apply)


def _build(
  network: Callable[..., Any], options: dict[str, Any], *, dtype: str = "float32"
) -> Backbone:
  """Return the backbone of a Flax class or of a function that makes one."""
  if dtype not in ("float32", "bfloat16"):
    raise ValueError(f"Got dtype={dtype!r}; it must be one of float32, bfloat16.")
  if isinstance(network, type) and issubclass(network, flax.linen.Module):
    backbone = from_linen(network(**options))
  elif isinstance(network, type) and issubclass(network, nnx.Module):
    # What does not fit fails here, not where the network is made.
    inspect.signature(network.__init__).bind(None, (), rngs=None, **options)
    backbone = from_nnx(functools.partial(network, **options))
  else:
    backbone = network(**options)
  return in_bfloat16(backbone) if dtype == "bfloat16" and _is_backbone(backbone) else backbone


def _is_backbone(made: Any) -> bool:
  return all(callable(getattr(made, part, None)) for part in Backbone._fields)


#: Networks by name; one of your own is a class of modules of Flax NNX, made from the shape of an
#: input, or of Flax Linen, or a function that returns a `Backbone`.
NETWORKS = Registry(
  "network",
  {"cnn": CNN, "identity": identity, "mlp": MLP, "resnet": ResNet, "transformer": Transformer},
  example="mlp:widths=64-64",
  given=("input_shape", "rngs", "parent", "name"),
  build=_build,
  contract=(
    "is a class of Flax modules, NNX's taking the shape of an input and rngs, or a function that "
    "returns an nn.Backbone"
  ),
  accepts=_is_backbone,
)


def make(name: str | Mapping[str, Any], **options: Any) -> Backbone:
  """Build a backbone from its name and options.

  Args:
    name: a key of `NETWORKS` or the path of a network of your own, alone or with options, as
      `cnn:stages=32-64:dense=128`; or a dictionary of a `name` and options.
    **options: the network's own options, as `widths` or `stages`; lists serve as tuples. With
      `dtype="bfloat16"` any of them computes in bfloat16; see `in_bfloat16`.

  Returns:
    The backbone. Values of options are checked by its `init`, which knows the inputs' shape.

  Raises:
    ValueError: the name or an option is unknown (the message lists those that exist), or a value
      is of the wrong type.

  Example:
    >>> backbone = make("mlp:widths=8-4", activation="tanh")
    >>> params, state = backbone.init(jax.random.key(0), (28, 28, 1))
    >>> sum(leaf.size for leaf in jax.tree.leaves(params))
    6316
  """
  return NETWORKS.make(name, **options)


def seeds_by(backbone: Backbone, input_shape: Sequence[int], num_seeds: int) -> str:
  """Choose how the seeds of one device train: `"vmap"`, all in each operation, or `"map"`.

  Args:
    backbone: the network, whose convolutions are its parameters of four axes.
    input_shape: the shape of one image.
    num_seeds: the seeds of one device.

  Example:
    >>> seeds_by(make("mlp"), (8, 8, 1), 5)
    'vmap'
  """
  params, _ = jax.eval_shape(lambda: backbone.init(jax.random.key(0), tuple(input_shape)))
  filters = [leaf.shape[-1] for leaf in jax.tree.leaves(params) if leaf.ndim == 4]
  if not filters:
    return "vmap"
  narrow = max(filters) <= _WIDEST
  return "vmap" if jax.default_backend() != "cpu" and num_seeds > 1 and narrow else "map"


def in_form(backbone: Backbone, seeds_by: str) -> Backbone:
  """Compute a backbone's convolutions in the form that is fastest where its seeds train so.

  Parameters and numbers stay the same, but for the order of sums. `seeds_by` is `"vmap"`, where
  several seeds train in each operation, or `"map"`.

  Example:
    >>> backbone = in_form(make("cnn:stages=4"), "vmap")
  """

  def apply(*arguments: Any, **options: Any):
    before = convolution.PRODUCTS.set(seeds_by == "vmap")
    try:
      return backbone.apply(*arguments, **options)
    finally:
      convolution.PRODUCTS.reset(before)

  return Backbone(backbone.init, apply)
