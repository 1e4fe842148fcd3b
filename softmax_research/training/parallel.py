"""Parallel programs: which devices train which seeds, and one seed's programs for many of them."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from softmax_research.training.step import Programs, TrainState

STRATEGIES = ("jit", "pmap")
SEED, DATA = "seed", "data"
_WHOLE = P()


class Layout(NamedTuple):
  """Say how seeds and batches lie on devices; see `make_layout`, which makes it.

  The mesh has two axes: independent seeds along `"seed"`, shares of a batch along `"data"`.

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


def check_shares(batch_size: int, devices: int) -> None:
  """Raise a ValueError unless so many devices get equal shares of a batch."""
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
    strategy: `"jit"`, where the compiler divides the work, or `"pmap"`, which has one axis, so that
      either number must be 1.
    seeds_by: how a device trains its seeds: all in each operation (`"vmap"`) or one after another
      (`"map"`), in one program either way.
    shard_classes: keep a dense head's kernel in parts along the data axis; with `jit` only.

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
  chosen = jax.config.jax_default_device
  devices = jax.devices(getattr(chosen, "platform", chosen))
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


class ParallelPrograms(NamedTuple):
  """Hold the programs that train many seeds; every part of a state gets a leading axis of seeds.

  S is a multiple of the number of devices along the seed axis: where the seeds given are fewer,
  `init` repeats the last one.

  Attributes:
    layout: where things lie.
    init: `(seeds, numbers=...) -> states`; see `Programs`.
    hold: `(images, labels) -> data`, for `deal`; on the devices, where this process has them all.
    deal: `(states, data, epoch, num_batches, batch_size) -> batches`, the epoch's shuffled
      batches. Of several processes each reads the rows that fall to its own devices.
    run_steps: `(states, batches, start, stop) -> states`; see `Programs`. The states that it is
      given are used up.
    predict: `(states, images [N, ...]) -> log_probs [S, N, K]`, a NumPy array.
    gather: `states -> states` as NumPy arrays, the random keys as their data; of the same shapes
      whatever the number of devices along the data axis. Parts that are None stay so.
    scatter: what `gather` returned, or the part of it that holds the seeds alone, `-> states`.
    ignore_label: see `Programs`.
  """

  layout: Layout
  init: Callable[..., TrainState]
  hold: Callable[..., Any]
  deal: Callable[..., Any]
  run_steps: Callable[..., TrainState]
  predict: Callable[..., np.ndarray]
  gather: Callable[..., TrainState]
  scatter: Callable[..., TrainState]
  ignore_label: int | None = None


def parallelise(programs: Programs, layout: Layout | None = None) -> ParallelPrograms:
  """Run one seed's programs for many seeds over the devices of a layout.

  A seed's numbers do not depend on the seeds beside it, nor on the number of devices, but for
  the order of sums: float32 rounds them differently.

  Args:
    programs: see `make_programs`; made with `axis_name=layout.axis_name` and
      `mesh=layout.step_mesh`.
    layout: one device by default.

  Raises:
    ValueError: the head's classes cannot be sharded as the layout says.
  """
  layout = layout or make_layout()
  return (_by_pmap if layout.strategy == "pmap" else _by_jit)(programs, layout)


def _by_jit(programs: Programs, layout: Layout) -> ParallelPrograms:
  """Divide the seeds by `shard_map`, and leave each batch to the compiler."""
  mesh = layout.mesh
  everywhere = NamedSharding(mesh, _WHOLE)
  by_batch = NamedSharding(mesh, P(SEED, None, DATA))
  shardings = _state_shardings(jax.eval_shape(programs.init, 0), layout)

  def for_seeds(function, mapped):
    """Run it for all seeds; the first `mapped` arguments have a leading axis of them."""
    local = _for_local_seeds(function, mapped, layout)
    if mesh.shape[SEED] == 1:
      return local

    def program(*arguments):
      # Along the data axis the compiler goes on dividing the work.
      return jax.shard_map(
        local,
        mesh=mesh,
        in_specs=(P(SEED),) * mapped + (P(),) * (len(arguments) - mapped),
        out_specs=P(SEED),
        axis_names={SEED},
        check_vma=False,
      )(*arguments)

    program.__name__ = local.__name__
    return program

  init = jax.jit(for_seeds(programs.init, 1), out_shardings=shardings)
  dealt = _rows_are_dealt()
  run_steps = jax.jit(
    for_seeds(programs.run_steps, 4 if dealt else 2), out_shardings=shardings, donate_argnums=0
  )
  predict = jax.jit(for_seeds(programs.predict, 1), out_shardings=everywhere)
  to_all = jax.jit(lambda arrays: arrays, out_shardings=everywhere)

  @functools.partial(jax.jit, static_argnums=(2, 3, 4))
  def shuffle(states, epoch, *sizes):
    orders = for_seeds(lambda *of: programs.shuffle(*of, *sizes), 1)(states, epoch)
    return jax.lax.with_sharding_constraint(orders, everywhere if dealt else by_batch)

  def place(array, spec=_WHOLE):
    array = np.asarray(array)
    return jax.make_array_from_callback(
      array.shape, NamedSharding(mesh, spec), lambda part: array[part]
    )

  def deal(states, data, epoch, num_batches, batch_size):
    orders = shuffle(states, epoch, num_batches, batch_size, len(data[1]))
    if not dealt:
      return orders, *data
    orders = np.asarray(orders)

    def batches(array):
      shape = orders.shape + array.shape[1:]
      return jax.make_array_from_callback(shape, by_batch, lambda part: array[orders[part[:3]]])

    return None, *map(batches, data)

  def predict_shares(states, images):
    shares = P(DATA) if len(images) % mesh.shape[DATA] == 0 else _WHOLE
    return np.asarray(predict(states, place(images, shares)))

  def put(leaf, sharding):
    return place(fill_up(leaf, mesh.shape[SEED]), sharding.spec)

  return ParallelPrograms(
    layout,
    init=lambda seeds, numbers=programs.numbers: init(fill_up(seeds, mesh.shape[SEED]), numbers),
    hold=lambda *data: data if dealt else tuple(map(place, data)),
    deal=deal,
    run_steps=lambda states, batches, start, stop: run_steps(states, *batches, start, stop),
    predict=predict_shares,
    gather=lambda states: jax.tree.map(np.asarray, to_all(_with_key_data(states))),
    scatter=lambda states: _with_typed_key(jax.tree.map(put, states, shardings)),
    ignore_label=programs.ignore_label,
  )


def _by_pmap(programs: Programs, layout: Layout) -> ParallelPrograms:
  """Let every device run the step of one seed on its seeds, or on its share of each batch.

  A state gets a further leading axis, of devices: copies of it, or parts of its seeds.
  """
  copies = layout.mesh.shape[DATA]
  devices = list(layout.mesh.devices.flat)
  pmap = functools.partial(jax.pmap, axis_name=layout.axis_name or SEED, devices=devices)

  def split(array):
    array = jnp.asarray(fill_up(array, layout.mesh.shape[SEED]))
    if copies > 1:
      return jnp.broadcast_to(array, (copies, *array.shape))
    return array.reshape(len(devices), -1, *array.shape[1:])

  def merge(array):
    array = np.asarray(array)
    return array[0] if copies > 1 else array.reshape(-1, *array.shape[2:])

  put = pmap(lambda array, _: array, in_axes=(None, 0))
  init = pmap(_for_local_seeds(programs.init, 1, layout), in_axes=(0, None))
  run_steps = pmap(
    _for_local_seeds(programs.run_steps, 2, layout),
    in_axes=(0, 0, 0, 0, None, None),
    donate_argnums=0,
  )
  predict = pmap(_for_local_seeds(programs.predict, 1, layout), in_axes=(0, None))

  @functools.cache
  def shuffle_by(sizes):
    one = _for_local_seeds(lambda *of: programs.shuffle(*of, *sizes), 1, layout)
    return pmap(one, in_axes=(0, None))

  def deal(states, data, epoch, num_batches, batch_size):
    return shuffle_by((num_batches, batch_size, data[1].shape[1]))(states, epoch), *data

  return ParallelPrograms(
    layout,
    init=lambda seeds, numbers=programs.numbers: init(split(seeds), numbers),
    hold=lambda *data: tuple(put(np.asarray(a), np.arange(len(devices))) for a in data),
    deal=deal,
    run_steps=lambda states, batches, start, stop: run_steps(states, *batches, start, stop),
    predict=lambda states, images: merge(predict(states, images)),
    gather=lambda states: jax.tree.map(merge, _with_key_data(states)),
    scatter=lambda states: _with_typed_key(pmap(lambda x: x)(jax.tree.map(split, states))),
    ignore_label=programs.ignore_label,
  )


def _for_local_seeds(function: Callable, mapped: int, layout: Layout) -> Callable:
  """Return the function of one seed for all the seeds of a device."""

  def for_all(*arguments):
    each, shared = arguments[:mapped], arguments[mapped:]

    def for_one(each):
      return function(*each, *shared)

    if jax.tree.leaves(each)[0].shape[0] == 1:
      return jax.tree.map(lambda x: x[None], for_one(jax.tree.map(lambda x: x[0], each)))
    return jax.vmap(for_one)(each) if layout.seeds_by == "vmap" else jax.lax.map(for_one, each)

  for_all.__name__ = function.__name__  # Profiles and kept programs show it.
  return for_all


def fill_up(rows: Any, multiple: int) -> np.ndarray:
  """Repeat the last row until there are a multiple of so many."""
  rows = np.asarray(rows)
  missing = -len(rows) % multiple
  return np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)]) if missing else rows


def _with_key_data(states: TrainState) -> TrainState:
  """Return the states without typed keys, which NumPy and storage do not know."""
  return states._replace(key=jax.random.key_data(states.key))


def _with_typed_key(states: TrainState) -> TrainState:
  return states._replace(key=jax.random.wrap_key_data(states.key))


def _rows_are_dealt() -> bool:
  """Say whether the devices of a process hold its own rows of an epoch alone, not all images."""
  return jax.process_count() > 1


def _state_shardings(state: TrainState, layout: Layout) -> TrainState:
  """Return where each part of the states lies: by seeds, and of a dense head also by classes."""

  def sharding(path, leaf):
    *_, owner, name = [None, None, *(getattr(key, "key", None) for key in path)]
    by_classes = layout.shard_classes and owner == "head" and name in ("kernel", "bias")
    inner = (None,) * (leaf.ndim - 1) + (DATA,) if by_classes else ()
    return NamedSharding(layout.mesh, P(SEED, *inner))

  if layout.shard_classes:
    _check_classes(state.params["head"], layout.mesh.shape[DATA])
  return jax.tree_util.tree_map_with_path(sharding, state)


def _check_classes(head: Any, devices: int) -> None:
  if not isinstance(head, dict) or not set(head) <= {"kernel", "bias"}:
    raise ValueError(
      "Got shard_classes=True for a head that is not dense; only a kernel [D, K] and its bias lie "
      "in parts. Pass shard_classes=False."
    )
  num_classes = head["kernel"].shape[-1]
  if num_classes % devices:
    raise ValueError(
      f"Got shard_classes=True for {num_classes} classes and {devices} devices along the data "
      "axis; each holds an equal part. Pass a number of devices that divides the classes."
    )
