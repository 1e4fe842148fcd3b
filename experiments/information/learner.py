"""Learner: a network of one seed, trained and kept as it was best on a validation split."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

_ADAM = optax.scale_by_adam()


class Network(NamedTuple):
  """Hold a network as pure functions: `init(key) -> params`, `apply(params, *inputs)`."""

  init: Callable[[jax.Array], Any]
  apply: Callable[..., jax.Array]


class Learner(NamedTuple):
  """Hold the state of a training.

  Attributes:
    params: the parameters.
    moments: Adam's.
    average: what the objective carries from batch to batch.
    mean: the moving average of the parameters over steps.
  """

  params: Any
  moments: Any
  average: jax.Array
  mean: Any


class Task(NamedTuple):
  """Hold what a network learns, and what is made of it.

  Attributes:
    init: `key -> params`.
    take: `(data, places) -> batch`.
    outputs: `(params, batch) -> outputs`.
    loss: `(outputs, batch, average) -> (loss, average)`.
    terms: `(outputs, batch) -> {name: [M]}`, of a batch of the test split.
  """

  init: Callable[[jax.Array], Any]
  take: Callable[[Any, Any], Any]
  outputs: Callable[[Any, Any], jax.Array]
  loss: Callable[..., tuple[jax.Array, jax.Array]]
  terms: Callable[[jax.Array, Any], dict[str, jax.Array]]


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


def start(params: Any) -> Learner:
  """Return the learner before its first step."""
  return Learner(params, _ADAM.init(params), jnp.float32(-jnp.inf), params)


def step(
  learner: Learner,
  loss: Callable[..., tuple[jax.Array, tuple[jax.Array, Any]]],
  rate: jax.typing.ArrayLike,
) -> tuple[Learner, Any]:
  """Take a step of Adam.

  Args:
    learner: the state.
    loss: `(params, average) -> (loss, (average, rest))`.
    rate: the learning rate.

  Returns:
    The next state, and the rest.
  """
  gradient, (average, rest) = jax.grad(loss, has_aux=True)(learner.params, learner.average)
  updates, moments = _ADAM.update(gradient, learner.moments)
  params = jax.tree.map(lambda value, update: value - rate * update, learner.params, updates)
  mean = optax.incremental_update(params, learner.mean, 0.02)
  return Learner(params, moments, average, mean), rest


def fit(
  task: Task,
  key: jax.Array,
  places: dict[str, Any],
  data: dict[str, Any],
  *,
  rate: float,
  look_every: int,
) -> dict[str, jax.Array]:
  """Train a network, and return its terms on the test split.

  The learning rate falls to zero along a cosine. Of the moving averages of the parameters, that one
  counts which has the least loss on the validation split.

  Args:
    task: what it learns.
    key: of the parameters.
    places: by split, `train`, `validation` and `test`, those of the batches, `[C, B, ...]`.
    data: by split what the task takes them from.
    rate: the learning rate at first.
    look_every: at most so many steps from one look at the validation split to the next.

  Returns:
    The terms by name, `[M]`.
  """
  steps = len(jax.tree.leaves(places["train"])[0])
  every = max(n for n in range(1, look_every + 1) if steps % n == 0)
  rates = rate * (1 + np.cos(np.pi * np.arange(steps) / steps)).astype(np.float32) / 2

  def loss_of(params, split, place, average):
    batch = task.take(data[split], place)
    return task.loss(task.outputs(params, batch), batch, average)

  def train(learner, place_and_rate):
    place, rate = place_and_rate

    def loss(params, average):
      value, average = loss_of(params, "train", place, average)
      return value, (average, None)

    return step(learner, loss, rate)

  def look(state, places_and_rates):
    learner, best, least = state
    learner, _ = jax.lax.scan(train, learner, places_and_rates)
    losses = jax.lax.map(
      lambda place: loss_of(learner.mean, "validation", place, jnp.float32(-jnp.inf))[0],
      places["validation"],
    )
    better = jnp.mean(losses) < least
    best = jax.tree.map(lambda new, old: jnp.where(better, new, old), learner.mean, best)
    return (learner, best, jnp.where(better, jnp.mean(losses), least)), None

  def terms(place):
    batch = task.take(data["test"], place)
    return task.terms(task.outputs(best, batch), batch)

  learner = start(task.init(key))
  looks = jax.tree.map(
    lambda array: array.reshape(-1, every, *array.shape[1:]), (places["train"], rates)
  )
  (_, best, _), _ = jax.lax.scan(look, (learner, learner.mean, jnp.float32(jnp.inf)), looks)
  return jax.tree.map(lambda array: array.reshape(-1), jax.lax.map(terms, places["test"]))
