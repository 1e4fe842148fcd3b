"""Learner: networks of many seeds that train in one program, each kept where it was best."""

import functools
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from experiments.information import seed_devices

_ADAM = optax.scale_by_adam()


class Learner(NamedTuple):
  """Hold the state of a training.

  Attributes:
    params: the parameters.
    moments: Adam's.
    average: what the objective carries from batch to batch.
    mean: the moving average of the parameters over steps, or None for none.
  """

  params: Any
  moments: Any
  average: jax.Array
  mean: Any = None


class Network(NamedTuple):
  """Hold a network as pure functions: `init(key) -> params`, `apply(params, *inputs)`."""

  init: Callable[[jax.Array], Any]
  apply: Callable[..., jax.Array]


class Task(NamedTuple):
  """Hold what the network of one seed learns, and what is made of it.

  Programs are kept by the task, so one task serves all cells that differ in their data alone.
  `shared` is what all seeds and batches have.

  Attributes:
    outputs: `(params, batch, shared) -> outputs`.
    loss: `(outputs, batch, shared, average) -> (loss, average)`.
    terms: `(outputs, batch, shared) -> {name: [M]}`, on the test split.
  """

  outputs: Callable[..., jax.Array]
  loss: Callable[..., tuple[jax.Array, jax.Array]]
  terms: Callable[..., dict[str, jax.Array]]


def make_network(make: Callable[[nnx.Rngs], nnx.Module]) -> Network:
  """Turn a module of NNX, made by a function, into a network.

  Example:
    >>> network = make_network(lambda rngs: nnx.Linear(2, 3, rngs=rngs))
    >>> network.apply(network.init(jax.random.key(0)), jnp.ones((5, 2))).shape
    (5, 3)
  """
  structure = nnx.split(nnx.eval_shape(lambda: make(nnx.Rngs(0))))[0]

  def apply(params, *inputs):
    return nnx.merge(structure, params, copy=True)(*inputs)

  return Network(lambda key: nnx.split(make(nnx.Rngs(key)))[1], apply)


def make_keys(seeds: Sequence[int]) -> jax.Array:
  """Return a key for each seed, whichever others there are, laid over the devices."""
  fold = functools.partial(jax.random.fold_in, jax.random.key(0))
  return seed_devices.divide(jax.vmap(fold)(jnp.asarray(seeds)))


@functools.partial(jax.jit, static_argnames=("init", "averaged"))
def start(keys: jax.Array, *, init: Hashable, averaged: bool) -> Learner:
  """Return the learners of keys `[S]` before their first step."""

  def one_seed(key):
    params = init(key)
    return Learner(params, _ADAM.init(params), jnp.float32(-jnp.inf), params if averaged else None)

  return jax.vmap(one_seed)(keys)


def step(
  learner: Learner,
  loss: Callable[..., tuple[jax.Array, tuple[jax.Array, Any]]],
  rate: jax.typing.ArrayLike,
) -> tuple[Learner, Any]:
  """Take a step of Adam.

  Args:
    learner: the state of one seed.
    loss: `(params, average) -> (loss, (average, rest))`.
    rate: the learning rate.

  Returns:
    The next state, and the rest.
  """
  gradient, (average, rest) = jax.grad(loss, has_aux=True)(learner.params, learner.average)
  updates, moments = _ADAM.update(gradient, learner.moments)
  params = jax.tree.map(lambda value, update: value - rate * update, learner.params, updates)
  mean = None if learner.mean is None else optax.incremental_update(params, learner.mean, 0.02)
  return Learner(params, moments, average, mean), rest


def cosine(peak: float, steps: int) -> np.ndarray:
  """Return learning rates that fall from the peak to zero along a cosine.

  Example:
    >>> [round(rate, 3) for rate in cosine(1.0, 4).tolist()]
    [1.0, 0.854, 0.5, 0.146]
  """
  return peak * (1 + np.cos(np.pi * np.arange(steps) / steps)).astype(np.float32) / 2


def looks(
  rates: np.ndarray, every: int, batches: Iterator[Any]
) -> Iterator[tuple[Any, np.ndarray]]:
  """Yield what trains from one look at the validation split to the next.

  Args:
    rates: the learning rates of all steps.
    every: so many steps.
    batches: of arrays `[S, B, ...]`, without end.

  Yields:
    Batches joined, `[C, S, B, ...]`, and their learning rates `[C]`.
  """
  for some in np.split(rates, range(every, len(rates), every)):
    yield jax.tree.map(lambda *of: np.stack(of), *(next(batches) for _ in some)), some


def fit(
  task: Task,
  learner: Learner,
  looks: Iterable[tuple[Any, np.ndarray]],
  validation: Iterable[Any],
  shared: tuple[Any, Any],
) -> Any:
  """Train many seeds; return for each its averaged parameters at the best look.

  Args:
    task: what they learn.
    learner: their states, stacked along the first axis.
    looks: see `looks`.
    validation: batches of arrays `[S, B, ...]`; the less their mean loss, the better.
    shared: in training, and in validation; see `Task`.

  Returns:
    The parameters, stacked.
  """
  in_training, in_validation = seed_devices.replicate(shared, len(learner.average))
  validation = [seed_devices.divide(batch) for batch in validation]
  best, least = jax.tree.map(jnp.copy, learner.mean), np.inf
  for batches, rates in looks:
    batches = seed_devices.divide(batches, axis=1)
    learner = _train(learner, batches, rates, in_training, task=task)
    losses = [_loss(learner.mean, batch, in_validation, task=task) for batch in validation]
    best, least = _better(learner.mean, jnp.mean(jnp.stack(losses), axis=0), best, least)
  return best


def evaluate(task: Task, params: Any, batches: Iterable[Any], shared: Any) -> dict[str, np.ndarray]:
  """Return the terms `[S, M]` of seeds on batches of arrays `[S, B, ...]`."""
  shared = seed_devices.replicate(shared, len(jax.tree.leaves(params)[0]))
  found = [_terms(params, seed_devices.divide(batch), shared, task=task) for batch in batches]
  return {name: np.concatenate([np.asarray(f[name]) for f in found], axis=1) for name in found[0]}


@functools.partial(jax.jit, static_argnames="task", donate_argnums=0)
def _train(learners, batches, rates, shared, *, task):
  def one_seed(learner, batches):
    def one_step(learner, batch_and_rate):
      batch, rate = batch_and_rate

      def loss(params, average):
        outputs = task.outputs(params, batch, shared)
        value, average = task.loss(outputs, batch, shared, average)
        return value, (average, None)

      return step(learner, loss, rate)

    return jax.lax.scan(one_step, learner, (batches, rates))[0]

  return jax.vmap(one_seed, in_axes=(0, 1))(learners, batches)


@functools.partial(jax.jit, static_argnames="task")
def _loss(params, batch, shared, *, task):
  def one_seed(params, batch):
    outputs = task.outputs(params, batch, shared)
    return task.loss(outputs, batch, shared, jnp.float32(-jnp.inf))[0]

  return jax.vmap(one_seed)(params, batch)


@functools.partial(jax.jit, static_argnames="task")
def _terms(params, batch, shared, *, task):
  def one_seed(params, batch):
    return task.terms(task.outputs(params, batch, shared), batch, shared)

  return jax.vmap(one_seed)(params, batch)


@jax.jit
def _better(params, value, best, least):
  better = value < least

  def pick(new, old):
    return jnp.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old)

  return jax.tree.map(pick, params, best), jnp.where(better, value, least)
