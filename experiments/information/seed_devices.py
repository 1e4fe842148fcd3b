"""Seeds over devices: the seeds of a cell's one program, divided among the devices there are.

A program of small products runs on one core of a CPU; with a device for each core, each trains its
share of the seeds. Seeds exchange nothing, so their numbers stay the same.
"""

import os
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


def use_all_cores() -> None:
  """Let each core be a device, if the computations run on CPU; call it before any of them."""
  jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))


def divide(tree: Any, axis: int = 0) -> Any:
  """Lay arrays over the devices, by an axis that holds the seeds.

  As many devices serve as divide the seeds evenly.

  Example:
    >>> divide(np.ones((2, 3))).shape
    (2, 3)
  """
  num_seeds = jax.tree.leaves(tree)[0].shape[axis]
  return jax.device_put(tree, _sharding(num_seeds, PartitionSpec(*[None] * axis, "seed")))


def replicate(tree: Any, num_seeds: int) -> Any:
  """Lay a copy of arrays on each device that has seeds.

  Example:
    >>> replicate(np.ones(3), 2).shape
    (3,)
  """
  return jax.device_put(tree, _sharding(num_seeds, PartitionSpec()))


def _sharding(num_seeds: int, spec: PartitionSpec) -> NamedSharding:
  devices = jax.devices()
  count = max(n for n in range(1, len(devices) + 1) if num_seeds % n == 0)
  return NamedSharding(Mesh(np.array(devices[:count]), ("seed",)), spec)
