"""By pmap: every device runs the step of one seed on its seeds, or on its share of each batch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from softmax_research.training import seeds
from softmax_research.training.layout import DATA, Layout
from softmax_research.training.step import Programs, Report


def by_pmap(programs: Programs, layout: Layout) -> seeds.ParallelPrograms:
  """Give every state a further leading axis, of devices: copies of it, or parts of its seeds."""
  copies = layout.mesh.shape[DATA]
  devices = list(layout.mesh.devices.flat)
  pmap = functools.partial(jax.pmap, axis_name=DATA, devices=devices)

  def for_seeds(function, mapped):
    return seeds.for_local_seeds(function, mapped, layout.seeds_by)

  def split(array):
    array = jnp.asarray(seeds.fill(array, layout))
    if copies > 1:
      return jnp.broadcast_to(array, (copies, *array.shape))
    return array.reshape(len(devices), -1, *array.shape[1:])

  def merge(array):
    array = np.asarray(array)
    return array[0] if copies > 1 else array.reshape(-1, *array.shape[2:])

  put = pmap(lambda array, _: array, in_axes=(None, 0))

  def place(array):
    return put(np.asarray(array), np.arange(len(devices)))

  init = pmap(for_seeds(programs.init, 1))
  run_steps = pmap(
    for_seeds(seeds.order_second(programs.run_steps), 2),
    in_axes=(0, 0, 0, 0, None, None),
    donate_argnums=0,
  )
  predict = pmap(for_seeds(programs.predict, 1), in_axes=(0, None))

  @functools.cache
  def shuffle_by(sizes):
    def one(state, epoch):
      return programs.shuffle(state, epoch, *sizes)

    return pmap(for_seeds(one, 1), in_axes=(0, None))

  def deal(states, data, epoch, num_batches, batch_size):
    sizes = num_batches, batch_size, data[1].shape[1]
    return seeds.Batches(shuffle_by(sizes)(states, epoch), *data)

  return seeds.ParallelPrograms(
    layout,
    init=lambda numbers: init(split(numbers)),
    hold=lambda images, labels: (place(images), place(labels)),
    deal=deal,
    run_steps=lambda states, batches, start, stop: run_steps(states, *batches, start, stop),
    predict=lambda states, images: merge(predict(states, images)),
    report=lambda states: Report(*map(merge, seeds.reported(states))),
    gather=lambda states: jax.tree.map(merge, seeds.plain(states)),
    scatter=lambda states: seeds.typed(pmap(lambda x: x)(jax.tree.map(split, states))),
  )
