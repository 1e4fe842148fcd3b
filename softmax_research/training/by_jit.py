"""By jit: seeds and batches lie in shards over a mesh, and the compiler divides the work."""

import functools
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from softmax_research.training import seeds
from softmax_research.training.layout import DATA, SEED, Layout
from softmax_research.training.step import Programs, Report, TrainState

_WHOLE = P()


def by_jit(programs: Programs, layout: Layout) -> seeds.ParallelPrograms:
  """Divide the seeds by `shard_map`, and leave each batch to the compiler; see `parallelise`."""
  mesh = layout.mesh
  everywhere = NamedSharding(mesh, _WHOLE)
  by_batch = NamedSharding(mesh, P(SEED, None, DATA))
  shardings = _state_shardings(jax.eval_shape(programs.init, 0), layout)

  def for_seeds(function, mapped):
    """Run it for all seeds; the first `mapped` arguments have a leading axis of them."""
    local = seeds.for_local_seeds(function, mapped, layout.seeds_by)
    if mesh.shape[SEED] == 1:
      return local

    def program(*arguments):
      specs = (P(SEED),) * mapped + (P(),) * (len(arguments) - mapped)
      # Along the data axis the compiler goes on dividing the work.
      return jax.shard_map(
        local,
        mesh=mesh,
        in_specs=specs,
        out_specs=P(SEED),
        axis_names={SEED},
        check_vma=False,
      )(*arguments)

    program.__name__ = local.__name__
    return program

  init = jax.jit(for_seeds(programs.init, 1), out_shardings=shardings)
  dealt = _rows_are_dealt()
  run_steps = jax.jit(
    for_seeds(seeds.order_second(programs.run_steps), 4 if dealt else 2),
    out_shardings=shardings,
    donate_argnums=0,
  )
  predict = jax.jit(for_seeds(programs.predict, 1), out_shardings=everywhere)
  to_all = jax.jit(lambda arrays: arrays, out_shardings=everywhere)

  @functools.partial(jax.jit, static_argnums=(2, 3, 4))
  def shuffle(states, epoch, *sizes):
    def one(state, epoch):
      return programs.shuffle(state, epoch, *sizes)

    orders = for_seeds(one, 1)(states, epoch)
    return jax.lax.with_sharding_constraint(orders, everywhere if dealt else by_batch)

  def place(array, spec=_WHOLE):
    array = np.asarray(array)
    return jax.make_array_from_callback(
      array.shape, NamedSharding(mesh, spec), lambda part: array[part]
    )

  def hold(images, labels):
    return (images, labels) if dealt else (place(images), place(labels))

  def deal(states, data, epoch, num_batches, batch_size):
    orders = shuffle(states, epoch, num_batches, batch_size, len(data[1]))
    if not dealt:
      return seeds.Batches(orders, *data)
    orders = np.asarray(orders)

    def batches(array):
      shape = orders.shape + array.shape[1:]
      return jax.make_array_from_callback(shape, by_batch, lambda part: array[orders[part[:3]]])

    return seeds.Batches(None, *map(batches, data))

  def predict_shares(states, images):
    shares = P(DATA) if len(images) % mesh.shape[DATA] == 0 else _WHOLE
    return np.asarray(predict(states, place(images, shares)))

  def gather(states):
    return jax.tree.map(np.asarray, to_all(seeds.plain(states)))

  def scatter(states):
    def put(leaf, sharding):
      return place(seeds.fill(leaf, layout), sharding.spec)

    return seeds.typed(jax.tree.map(put, states, shardings))

  return seeds.ParallelPrograms(
    layout,
    init=lambda numbers: init(seeds.fill(numbers, layout)),
    hold=hold,
    deal=deal,
    run_steps=lambda states, batches, start, stop: run_steps(states, *batches, start, stop),
    predict=predict_shares,
    report=lambda states: Report(*map(np.asarray, to_all(seeds.reported(states)))),
    gather=gather,
    scatter=scatter,
  )


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
