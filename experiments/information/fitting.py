"""Fitting: networks of many seeds in one program, each kept as it was best on validation."""

import os
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh, PartitionSpec

from softmax_research import nn

#: What an objective carries from batch to batch begins here.
NO_AVERAGE = np.float32(-np.inf)


class State(NamedTuple):
  """Hold the state of a training.

  The average is what the objective carries from batch to batch, the mean the moving average of the
  parameters over steps.
  """

  params: Any
  moments: optax.OptState
  average: jax.Array
  mean: Any


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


def start(optimizer: optax.GradientTransformation, params: Any) -> State:
  """Return the state before the first step."""
  return State(params, optimizer.init(params), NO_AVERAGE, params)


def step(
  optimizer: optax.GradientTransformation,
  state: State,
  loss: Callable[..., tuple[jax.Array, tuple[jax.Array, Any]]],
) -> tuple[State, Any]:
  """Take a step by a loss `(params, average) -> (loss, (average, rest))`; return the rest too."""
  gradient, (average, rest) = jax.grad(loss, has_aux=True)(state.params, state.average)
  updates, moments = optimizer.update(gradient, state.moments, state.params)
  params = optax.apply_updates(state.params, updates)
  mean = optax.incremental_update(params, state.mean, 0.02)
  return State(params, moments, average, mean), rest


def fit(
  init: Callable[[jax.Array], Any],
  loss_of: Callable[..., tuple[jax.Array, jax.Array]],
  terms_of: Callable[[Any, Any], dict[str, jax.Array]],
  *,
  key: jax.Array,
  places: dict[str, Any],
  take: Callable[[Any], Any],
  rate: float,
  look_every: int,
) -> dict[str, jax.Array]:
  """Train a network by Adam, and return its terms on the test split by name, `[M]`.

  The learning rate falls to zero along a cosine. Of the moving averages of the parameters, looked
  at every so many steps at most, that one counts which has the least loss on `validation`.

  Args:
    init: `key -> params`.
    loss_of: `(params, batch, average) -> (loss, average)`.
    terms_of: `(params, batch) -> {name: [M]}`.
    key: of the parameters.
    places: those of the batches, `[C, B, ...]` by split: `train`, `validation`, `test`.
    take: from the places of a batch to the batch.
    rate: the learning rate at first.
    look_every: steps from one look to the next.
  """
  steps = len(jax.tree.leaves(places["train"])[0])
  every = max(n for n in range(1, look_every + 1) if steps % n == 0)
  optimizer = optax.adam(optax.cosine_decay_schedule(rate, steps))

  def train(state, place):
    def loss(params, average):
      value, average = loss_of(params, take(place), average)
      return value, (average, None)

    return step(optimizer, state, loss)

  def look(carried, places_of_steps):
    state, best, least = carried
    state, _ = jax.lax.scan(train, state, places_of_steps)
    losses = jax.lax.map(
      lambda place: loss_of(state.mean, take(place), NO_AVERAGE)[0], places["validation"]
    )
    better = jnp.mean(losses) < least
    best = jax.tree.map(lambda new, old: jnp.where(better, new, old), state.mean, best)
    return (state, best, jnp.where(better, jnp.mean(losses), least)), None

  state = start(optimizer, init(key))
  looks = jax.tree.map(lambda of: of.reshape(-1, every, *of.shape[1:]), places["train"])
  (_, best, _), _ = jax.lax.scan(look, (state, state.mean, jnp.float32(jnp.inf)), looks)
  terms = jax.lax.map(lambda place: terms_of(best, take(place)), places["test"])
  return jax.tree.map(lambda of: of.reshape(-1), terms)


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

  Example:
    >>> run_seeds(lambda key, x, y: x + y, (0, 1), np.array([1.0, 2.0]), shared=3.0)[0].tolist()
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
