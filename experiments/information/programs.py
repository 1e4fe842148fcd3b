"""Programs: networks of many seeds in one program, on as many devices as there are cores."""

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, PartitionSpec

from softmax_research import nn


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


def use_all_cores() -> None:
  """Let each core be a device, on CPU, where a program of small products runs on one core alone."""
  jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))


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
