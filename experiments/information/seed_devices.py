"""Seeds over devices: one program for the seeds of a cell, divided among the devices there are.

A program of small products runs on one core of a CPU; with a device for each core, each trains its
share of the seeds. Seeds exchange nothing, so their numbers stay the same.
"""

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec


def use_all_cores() -> None:
  """Let each core be a device, if the computations run on CPU; call it before any of them."""
  jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))


def run(
  function: Callable[..., Any], seeds: Sequence[int], *by_seed: Any, shared: Any = ()
) -> tuple[Any, float]:
  """Call a function of one seed for many, in one program.

  As many devices serve as divide the seeds evenly.

  Args:
    function: `(key, *by_seed, shared) -> tree`, of arrays of one seed. The key of a seed is the
      same whichever others there are.
    seeds: S seeds.
    *by_seed: trees of arrays `[S, ...]`.
    shared: a tree of arrays that all seeds have.

  Returns:
    The tree with arrays `[S, ...]`, in NumPy; and the seconds that compiling took.

  Example:
    >>> run(lambda key, x, shared: x + shared, (0, 1), np.array([1.0, 2.0]), shared=3.0)[0].tolist()
    [4.0, 5.0]
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
