"""Devices of a script: the flag `--devices`, and the rules that stand where it says nothing."""

import os
from collections.abc import Sequence

import jax
from ml_collections import ConfigDict

from softmax_research import nn, training

_KNOWN = {"strategy": ("jit", "pmap"), "seeds_by": ("auto", "vmap", "map", "apart")}


def get_options() -> ConfigDict:
  """Return the options with their defaults."""
  options = ConfigDict()
  # "jit", where the compiler divides the work, or "pmap".
  options.strategy = "jit"
  # How seeds train: "vmap" or "map", all in one program; "apart", one run after the other; "auto"
  # is what `nn.forms` chooses.
  options.seeds_by = "auto"
  # Devices along the seed axis and along the data axis; 0 chooses: on CPU a device for each seed,
  # up to the number of cores; elsewhere as many seeds apart as can be, then shares of batches.
  options.seed = 0
  options.data = 0
  # Keep a dense head's kernel in parts of its classes along the data axis.
  options.shard_classes = False
  return options


def prepare(options: ConfigDict, num_seeds: int) -> None:
  """Make as many CPU devices as will be used; call it before JAX touches a device.

  Args:
    options: of `get_options`.
    num_seeds: the number of seeds of the experiment.

  Raises:
    ValueError: an option is none.
  """
  for name, known in _KNOWN.items():
    if options[name] not in known:
      raise ValueError(
        f"Got --devices.{name}={options[name]}; it must be one of {', '.join(known)}."
      )
  seed = options.seed or (1 if options.seeds_by == "apart" else min(_num_cores(), num_seeds))
  jax.config.update("jax_num_cpu_devices", max(1, seed * max(1, options.data)))


def lay_out(options: ConfigDict, filters: Sequence[int], num_seeds: int) -> training.Layout:
  """Lay a group of seeds on the devices at hand.

  Args:
    options: of `get_options`.
    filters: of the network's convolutions; see `nn.forms.filters`.
    num_seeds: seeds that train together.

  Returns:
    The layout.

  Raises:
    ValueError: an option has a bad value, or there are too few devices.
  """
  seed, data = _choose(options.seed, options.data, num_seeds)
  seeds_by = options.seeds_by
  if seeds_by in ("auto", "apart"):
    seeds_by = nn.forms.seeds_by(jax.default_backend(), -(-num_seeds // seed), filters)
  return training.make_layout(
    seed=seed,
    data=data,
    strategy=options.strategy,
    seeds_by=seeds_by,
    shard_classes=options.shard_classes,
  )


def _choose(seed: int, data: int, num_seeds: int) -> tuple[int, int]:
  """Return the numbers of devices along both axes, zeros replaced."""
  devices = jax.device_count()
  if not data and jax.default_backend() == "cpu" and jax.process_count() == 1:
    data = 1
  if not seed:
    most = min(num_seeds, devices // max(1, data))
    seed = max([n for n in range(1, most + 1) if data or devices % n == 0], default=1)
  return seed, data or devices // seed


def _num_cores() -> int:
  return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
