"""Estimators by the names that reports give them, and networks of many seeds in one program."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, PartitionSpec

from softmax_research import nn
from softmax_research.information.estimators import ESTIMATORS, of_classes

#: How far I_alpha stands from NWJ (0) towards InfoNCE (1).
ALPHA = 0.01


class Named(NamedTuple):
  """Hold an estimator with its name and that of its objective; see `information.Estimator`."""

  name: str
  objective: str
  loss: Callable[..., tuple[jax.Array, jax.Array]]
  terms: Callable[..., jax.Array]


def _named(name: str, objective: str, text: str) -> Named:
  return Named(name, objective, *ESTIMATORS.make(text)[:2])


CRITICS = (
  _named("MINE (DV)", "MINE", "mine"),
  _named("NWJ", "NWJ", "nwj"),
  _named("InfoNCE", "InfoNCE", "info_nce"),
  _named("JS, then NWJ", "Jensen-Shannon", "jensen_shannon"),
  _named("SMILE, tau 1", "Jensen-Shannon", "smile:clip=1"),
  _named("SMILE, tau 5", "Jensen-Shannon", "smile:clip=5"),
  _named("SMILE, tau ∞", "Jensen-Shannon", "smile:clip=None"),
  _named(f"I-alpha {ALPHA}", "I-alpha", f"interpolated:alpha={ALPHA}"),
)
#: Those of networks with an output for each class, so that they differ by their objectives alone.
CLASSIFIERS = (
  _named("softmax + log K", "softmax", "softmax"),
  _named("softmax, plug-in", "softmax", "plug_in"),
  _named("PC-softmax", "PC-softmax", "pc_softmax"),
  *(
    Named(critic.name, critic.objective, *of_classes(critic)[:2])
    for critic in CRITICS
    if critic.name in ("MINE (DV)", "NWJ", "InfoNCE", "SMILE, tau 5")
  ),
)

#: The names of objectives, of critics and of classifiers.
OBJECTIVES = tuple(dict.fromkeys(critic.objective for critic in CRITICS))
CLASS_OBJECTIVES = tuple(dict.fromkeys(classifier.objective for classifier in CLASSIFIERS))


def of_objective(objective: str, among: Sequence[Named] = CRITICS) -> list[Named]:
  """Return the estimators whose network is trained by an objective; their losses are one."""
  return [estimator for estimator in among if estimator.objective == objective]


def task(init: Callable[..., Any], outputs: Callable[..., tuple], own: Sequence[Named]):
  """Return the first arguments of `fitting.fit` for estimators that share a network.

  The outputs are a function `(params, batch) -> arguments` of the estimators' terms.
  """

  def loss(params, batch, average):
    return own[0].loss(*outputs(params, batch), average)

  def terms(params, batch):
    return {estimator.name: estimator.terms(*outputs(params, batch)) for estimator in own}

  return init, loss, terms


class ClassScores(nnx.Module):
  """Score the classes of an input by an MLP; logits start at zero where that is asked for."""

  def __init__(self, size, num_classes, *, widths, from_zero=False, rngs):
    self.hidden = nn.MLP((size,), widths=widths, rngs=rngs)
    more = {"kernel_init": nnx.initializers.zeros} if from_zero else {}
    self.logits = nnx.Linear(widths[-1], num_classes, **more, rngs=rngs)

  def __call__(self, inputs):
    return self.logits(self.hidden(inputs, train=False))


def make_network(make: Callable[..., nnx.Module], *sizes: int, **options: Any):
  """Turn a module of NNX into two functions, `key -> params` and `(params, *inputs) -> outputs`."""

  def module(key):
    return make(*sizes, **options, rngs=nnx.Rngs(key))

  structure = nnx.split(nnx.eval_shape(lambda: module(0)))[0]

  def apply(params, *inputs):
    return nnx.merge(structure, params, copy=True)(*inputs)

  return lambda key: nnx.split(module(key))[1], apply


def run_seeds(
  function: Callable[..., Any], seeds: Sequence[int], *by_seed: Any, shared: Any = ()
) -> tuple[Any, float]:
  """Call a function of one seed for many, in one program, on as many devices as divide the seeds.

  The function is `(key, *by_seed, shared) -> tree`; `by_seed` are given as arrays `[S, ...]`. Seeds
  exchange nothing, and a seed's key is the same whichever others there are.

  Returns:
    The tree with arrays `[S, ...]`, in NumPy; and the seconds that compiling took.
  """
  devices = jax.devices()
  count = max(n for n in range(1, len(devices) + 1) if len(seeds) % n == 0)
  fold = jax.vmap(jax.random.fold_in, in_axes=(None, 0))
  keys = fold(jax.random.key(0), jnp.asarray(seeds))
  of_seed, of_all = PartitionSpec("seed"), PartitionSpec()
  program = jax.shard_map(
    jax.vmap(function, in_axes=(0, *[0] * len(by_seed), None)),
    mesh=Mesh(np.array(devices[:count]), ("seed",)),
    in_specs=(of_seed, *[of_seed] * len(by_seed), of_all),
    out_specs=of_seed,
    check_vma=False,
  )
  began = time.perf_counter()
  compiled = jax.jit(program).lower(keys, *by_seed, shared).compile()
  compiling = time.perf_counter() - began
  return jax.tree.map(np.asarray, compiled(keys, *by_seed, shared)), compiling
