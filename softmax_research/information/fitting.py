"""Fitting: a network trained by an objective, and kept as it was best on a validation split."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

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
  terms_of: Callable[[Any, Any], Any],
  *,
  key: jax.Array,
  places: dict[str, Any],
  take: Callable[[Any], Any],
  rate: float,
  look_every: int,
) -> Any:
  """Train a network by Adam, and return its terms on the test split, `[M]`.

  The learning rate falls to zero along a cosine. Of the moving averages of the parameters, looked
  at every so many steps at most, that one counts which has the least loss on `validation`.

  Args:
    init: `key -> params`.
    loss_of: `(params, batch, average) -> (loss, average)`.
    terms_of: `(params, batch) -> terms [M]`, or a tree of them.
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
      return value, (jnp.asarray(average, jnp.float32), None)

    return step(optimizer, state, loss)

  def look(carried, places_of_steps):
    state, best, least = carried
    state, _ = jax.lax.scan(train, state, places_of_steps)
    losses = jax.lax.map(
      lambda place: loss_of(state.mean, take(place), NO_AVERAGE)[0], places["validation"]
    )
    mean = jnp.mean(losses, dtype=jnp.float32)
    best = jax.tree.map(lambda new, old: jnp.where(mean < least, new, old), state.mean, best)
    return (state, best, jnp.where(mean < least, mean, least)), None

  state = start(optimizer, init(key))
  looks = jax.tree.map(lambda of: of.reshape(-1, every, *of.shape[1:]), places["train"])
  (_, best, _), _ = jax.lax.scan(look, (state, state.mean, jnp.float32(jnp.inf)), looks)
  terms = jax.lax.map(lambda place: terms_of(best, take(place)), places["test"])
  return jax.tree.map(lambda of: of.reshape(-1), terms)


def batches(seed: int, sizes: dict[str, int], steps: int, batch_size: int) -> dict[str, np.ndarray]:
  """Return by split rows `[C, B]` of batches, of examples that lie split after split.

  Each pass over `train` has a new order; what is left of a split beyond whole batches is not used.
  """
  each = sizes["train"] // batch_size
  generator = np.random.default_rng([seed, 1])
  orders = [generator.permutation(sizes["train"]) for _ in range(-(-steps // each))]
  found = {"train": np.stack(orders)[:, : each * batch_size].reshape(-1, batch_size)[:steps]}
  start = sizes["train"]
  for split in ("validation", "test"):
    rows = np.arange(sizes[split] // batch_size * batch_size)
    found[split] = start + rows.reshape(-1, batch_size)
    start += sizes[split]
  return {split: rows.astype(np.int32) for split, rows in found.items()}
