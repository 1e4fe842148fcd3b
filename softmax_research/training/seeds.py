"""Seeds: the programs that train many of them at once, and what all strategies share."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from softmax_research.training.layout import SEED, Layout
from softmax_research.training.step import Report, TrainState


class Batches(NamedTuple):
  """Hold an epoch's batches as `Programs.run_steps` takes them, with a leading axis of seeds where
  each seed has its own.

  Attributes:
    order: of each seed, or None where images and labels lie in the order of each seed already.
    images: all images, or each seed's batches of them.
    labels: likewise.
  """

  order: Any
  images: Any
  labels: Any


class ParallelPrograms(NamedTuple):
  """Hold the programs that train many seeds; every part of a state gets a leading axis of seeds.

  S is a multiple of the number of devices along the seed axis: where the seeds given are fewer,
  `init` repeats the last one.

  Attributes:
    layout: where things lie.
    init: `seeds -> states`.
    hold: `(images, labels) -> data`, for `deal`; on the devices, where this process has them all.
    deal: `(states, data, epoch, num_batches, batch_size) -> batches`, the epoch's shuffled
      batches. Of several processes each reads the rows that fall to its own devices.
    run_steps: `(states, batches, start, stop) -> states`; see `Programs`. The states that it is
      given are used up.
    predict: `(states, images [N, ...]) -> log_probs [S, N, K]`, a NumPy array.
    report: `states -> Report`.
    gather: `states -> states` as NumPy arrays, the random keys as their data; of the same shapes
      whatever the number of devices along the data axis.
    scatter: what `gather` returned, or the part of it that holds the seeds alone, `-> states`.
  """

  layout: Layout
  init: Callable[..., TrainState]
  hold: Callable[..., Any]
  deal: Callable[..., Batches]
  run_steps: Callable[..., TrainState]
  predict: Callable[..., np.ndarray]
  report: Callable[..., Report]
  gather: Callable[..., TrainState]
  scatter: Callable[..., TrainState]


def for_local_seeds(function: Callable, mapped: int, seeds_by: str) -> Callable:
  """Return the function of one seed for all the seeds of a device."""

  def for_all(*arguments):
    each, shared = arguments[:mapped], arguments[mapped:]

    def for_one(each):
      return function(*each, *shared)

    if jax.tree.leaves(each)[0].shape[0] == 1:
      return jax.tree.map(lambda x: x[None], for_one(jax.tree.map(lambda x: x[0], each)))
    return jax.vmap(for_one)(each) if seeds_by == "vmap" else jax.lax.map(for_one, each)

  for_all.__name__ = function.__name__  # Profiles and kept programs show it.
  return for_all


def fill(seeds: Any, layout: Layout) -> np.ndarray:
  """Repeat the last of the leading axis until the seeds fill their devices."""
  seeds = np.asarray(seeds)
  missing = -len(seeds) % layout.mesh.shape[SEED]
  return np.concatenate([seeds, np.repeat(seeds[-1:], missing, axis=0)]) if missing else seeds


def order_second(run_steps: Callable) -> Callable:
  """Bring the arguments of which every seed has its own to the front."""

  def run_steps_of_order(state, order, images, labels, start, stop):
    return run_steps(state, images, labels, order, start, stop)

  return run_steps_of_order


def reported(states: TrainState) -> Report:
  """Return the part of the states that is reported."""
  return Report(*(getattr(states, name) for name in Report._fields))


def plain(states: TrainState) -> TrainState:
  """Return the states without typed keys, which NumPy and storage do not know."""
  return states._replace(key=jax.random.key_data(states.key))


def typed(states: TrainState) -> TrainState:
  """Undo `plain`."""
  return states._replace(key=jax.random.wrap_key_data(states.key))
