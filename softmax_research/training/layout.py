"""Layout: which devices train which seeds and which share of each batch."""

from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, Mesh

STRATEGIES = ("jit", "pmap")
SEED, DATA = "seed", "data"


class Layout(NamedTuple):
  """Say how seeds and batches lie on devices; made by `make_layout`.

  Attributes:
    mesh: devices in two axes: independent seeds along `"seed"`, shares of a batch along `"data"`.
    strategy: `"jit"`, where the compiler divides the work, or `"pmap"`.
    seeds_by: how a device trains its seeds: all in each operation (`"vmap"`) or one after another
      (`"map"`), in one program either way.
    shard_classes: a dense head's kernel lies in parts of its classes along `"data"`.

  Example:
    >>> make_layout().describe()["seed_devices"]
    1
  """

  mesh: Mesh
  strategy: str
  seeds_by: str
  shard_classes: bool

  @property
  def axis_name(self) -> str | None:
    """Name the axis that a step averages over, if it does: the compiler shards classes itself."""
    return DATA if self.mesh.shape[DATA] > 1 and not self.shard_classes else None

  @property
  def step_mesh(self) -> Mesh | None:
    """Return the mesh that holds this axis; with `pmap` there is none."""
    return self.mesh if self.axis_name is not None and self.strategy == "jit" else None

  def describe(self) -> dict[str, Any]:
    """Return what a record of a run holds."""
    return {
      "strategy": self.strategy,
      "seeds_by": self.seeds_by,
      "seed_devices": self.mesh.shape[SEED],
      "data_devices": self.mesh.shape[DATA],
      "shard_classes": self.shard_classes,
      "processes": len({device.process_index for device in self.mesh.devices.flat}),
    }

  def check_batch_size(self, batch_size: int) -> None:
    """Raise a ValueError unless every device gets an equal share of a batch."""
    devices = self.mesh.shape[DATA]
    if batch_size % devices:
      fits = max(n for n in range(1, devices) if batch_size % n == 0)
      raise ValueError(
        f"Got batch_size={batch_size} for {devices} devices along the data axis; each takes an "
        f"equal share of a batch. Pass a multiple of {devices}, as "
        f"{batch_size + -batch_size % devices}, or {fits} devices."
      )


def make_layout(
  *,
  seed: int = 1,
  data: int = 1,
  strategy: str = "jit",
  seeds_by: str = "vmap",
  shard_classes: bool = False,
) -> Layout:
  """Lay seeds and batches on the first devices.

  Where `jax.default_device` is set, they are of its platform.

  Args:
    seed: devices along the seed axis.
    data: devices along the data axis.
    strategy: `"jit"` or `"pmap"`; `pmap` has one axis, so either number must be 1.
    seeds_by: `"vmap"` or `"map"`.
    shard_classes: keep a dense head's kernel in parts along the data axis; with `jit` only.

  Returns:
    The layout.

  Raises:
    ValueError: a name is unknown, there are too few devices, or the options exclude each other.

  Example:
    >>> dict(make_layout(seeds_by="map").mesh.shape)
    {'seed': 1, 'data': 1}
  """
  for name, value, known in (
    ("strategy", strategy, STRATEGIES),
    ("seeds_by", seeds_by, ("vmap", "map")),
  ):
    if value not in known:
      raise ValueError(f"Got {name}={value!r}; it must be one of {', '.join(known)}.")
  for name, value in (("seed", seed), ("data", data)):
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
      raise ValueError(f"Got {value!r} devices along the {name} axis; it must be at least 1.")
  devices = _devices()
  if seed * data > len(devices):
    raise ValueError(
      f"Got {seed} devices along the seed axis and {data} along the data axis, {seed * data} in "
      f"all; there are {len(devices)}. Pass smaller numbers."
    )
  if seed * data < len(devices) and jax.process_count() > 1:
    raise ValueError(
      f"Got {seed} devices along the seed axis and {data} along the data axis for "
      f"{len(devices)} devices of {jax.process_count()} processes; every process has its part, so "
      f"the product must be {len(devices)}."
    )
  if strategy == "pmap" and (min(seed, data) > 1 or shard_classes or jax.process_count() > 1):
    raise ValueError(
      f"Got strategy='pmap' with {seed} devices along the seed axis, {data} along the data axis, "
      f"shard_classes={shard_classes} and {jax.process_count()} processes; pmap has one axis, "
      "keeps whole kernels and runs in one process here. Pass strategy='jit'."
    )
  devices = np.asarray(devices[: seed * data]).reshape(seed, data)
  mesh = Mesh(devices, (SEED, DATA), axis_types=(AxisType.Auto, AxisType.Auto))
  return Layout(mesh, strategy, seeds_by, shard_classes)


def _devices() -> list[jax.Device]:
  chosen = jax.config.jax_default_device
  return jax.devices(getattr(chosen, "platform", chosen))
