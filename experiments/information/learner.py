"""Learner: parameters on their way, and a training that keeps those best on a validation split."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

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


def start(params: Any, *, averaged: bool) -> Learner:
  """Return the learner before its first step."""
  return Learner(params, _ADAM.init(params), jnp.float32(-jnp.inf), params if averaged else None)


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
  mean = None if learner.mean is None else optax.incremental_update(params, learner.mean, 0.02)
  return Learner(params, moments, average, mean), rest


def cosine(peak: float, steps: int) -> np.ndarray:
  """Return learning rates that fall from the peak to zero along a cosine.

  Example:
    >>> [round(rate, 3) for rate in cosine(1.0, 4).tolist()]
    [1.0, 0.854, 0.5, 0.146]
  """
  return peak * (1 + np.cos(np.pi * np.arange(steps) / steps)).astype(np.float32) / 2


def fit(
  learner: Learner,
  looks: Iterable[Any],
  train: Callable[[Learner, Any], Learner],
  validate: Callable[[Any], jax.Array],
) -> Any:
  """Train many seeds; return for each its averaged parameters at the best look.

  Args:
    learner: the seeds' states, stacked along the first axis.
    looks: the batches from each look at the validation split to the next.
    train: `(learner, batches) -> learner`.
    validate: the averaged parameters to the objective on the validation split, to be small, `[S]`.

  Returns:
    The parameters, stacked.
  """
  best, least = jax.tree.map(jnp.copy, learner.mean), np.inf
  for batches in looks:
    learner = train(learner, batches)
    best, least = _better(learner.mean, validate(learner.mean), best, least)
  return best


@jax.jit
def _better(params, value, best, least):
  better = value < least

  def pick(new, old):
    return jnp.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old)

  return jax.tree.map(pick, params, best), jnp.where(better, value, least)
