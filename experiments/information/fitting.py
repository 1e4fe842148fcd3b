"""Fitting: networks of many seeds trained by one objective, in one program."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from experiments.information import gaussians
from experiments.information.estimators import ESTIMATORS, OBJECTIVES
from softmax_research import nn

_PEAK_RATE = 3e-3


def network(width: int, num_classes: int, hidden: tuple[int, ...]) -> nn.Backbone:
  """Return the network that every objective trains: logits from inputs.

  Example:
    >>> params, state = network(3, 5, (8,)).init(jax.random.key(0), (3,))
    >>> network(3, 5, (8,)).apply(params, state, jnp.ones((2, 3)), train=False)[0].shape
    (2, 5)
  """

  class Logits(nnx.Module):
    def __init__(self, input_shape, *, rngs):
      self.hidden = nn.MLP(input_shape, widths=hidden, rngs=rngs)
      self.logits = nnx.Linear(hidden[-1], num_classes, rngs=rngs)

    def __call__(self, inputs, *, train):
      return self.logits(self.hidden(inputs, train=train))

  return nn.from_nnx(Logits)


@functools.partial(
  jax.jit, static_argnames=("objective", "counts", "width", "epochs", "batch_size", "hidden")
)
def fit_and_estimate(
  seeds: jax.Array,
  dimension: jax.Array,
  *,
  objective: str,
  counts: tuple[int, ...],
  width: int,
  epochs: int,
  batch_size: int,
  hidden: tuple[int, ...],
) -> dict[str, Any]:
  """Train a network for each seed, and estimate by every estimator of the objective.

  The parameters are a moving average over steps, and of the epochs those with the least objective
  on the validation split are kept.

  Args:
    seeds: integers `[S]`; each draws its own data too.
    dimension: of the inputs.
    objective: a key of `OBJECTIVES`.
    counts: training examples of each class.
    width: of the inputs, filled up with zeros.
    epochs: passes over the training split.
    batch_size: examples of a step.
    hidden: the network's hidden layers.

  Returns:
    For each estimator's name its terms on the test split `[S, M]`; and under `micro` and `macro`
    the accuracies `[S]` of the network as a classifier.
  """
  log_prior = jnp.asarray(gaussians.log_prior(counts), jnp.float32)
  backbone = network(width, len(counts), hidden)
  num_batches = sum(counts) // batch_size
  optimizer = optax.adam(optax.cosine_decay_schedule(_PEAK_RATE, epochs * num_batches))
  loss_of = OBJECTIVES[objective].loss

  def logits_of(params, inputs):
    return backbone.apply(params, {}, inputs, train=False)[0]

  def one_seed(seed):
    data_key, init_key, order_key = jax.random.split(jax.random.key(seed), 3)
    splits = gaussians.draw(data_key, counts, dimension, width)
    params, _ = backbone.init(init_key, (width,))
    validate = functools.partial(_objective_on, loss_of, log_prior, batch_size)

    def step(state, rows):
      params, opt_state, mean, average = state

      def loss(params):
        batch = splits.train.inputs[rows], splits.train.labels[rows]
        return loss_of(logits_of(params, batch[0]), batch[1], log_prior, average)

      gradient, average = jax.grad(loss, has_aux=True)(params)
      updates, opt_state = optimizer.update(gradient, opt_state, params)
      params = optax.apply_updates(params, updates)
      return (params, opt_state, optax.incremental_update(params, mean, 0.02), average), None

    def epoch(state, number):
      running, best, least = state
      rows = jax.random.permutation(jax.random.fold_in(order_key, number), sum(counts))
      rows = rows[: num_batches * batch_size].reshape(num_batches, batch_size)
      running, _ = jax.lax.scan(step, running, rows)
      mean = running[2]
      value = validate(logits_of(mean, splits.validation.inputs), splits.validation.labels)
      better = value < least
      best = jax.tree.map(lambda new, old: jnp.where(better, new, old), mean, best)
      return (running, best, jnp.minimum(value, least)), None

    running = params, optimizer.init(params), params, jnp.float32(-jnp.inf)
    (_, best, _), _ = jax.lax.scan(epoch, (running, params, jnp.inf), jnp.arange(epochs))
    logits = logits_of(best, splits.test.inputs)
    terms = {
      estimator.name: estimator.terms(logits, splits.test.labels, log_prior)
      for estimator in ESTIMATORS
      if estimator.objective == objective
    }
    # A plain classifier's logits are of the posterior; all others are free of the prior.
    scores = logits if objective == "softmax" else logits + log_prior
    right = jnp.argmax(scores, -1) == splits.test.labels
    hot = jax.nn.one_hot(splits.test.labels, len(counts))
    recalls = jnp.sum(hot * right[:, None], 0) / jnp.sum(hot, 0)
    return terms | {"micro": jnp.mean(right), "macro": jnp.mean(recalls)}

  return jax.vmap(one_seed)(seeds)


def _objective_on(loss_of, log_prior, batch_size, logits, labels) -> jax.Array:
  """Return the mean objective over batches of a split."""
  whole = len(labels) // batch_size * batch_size
  logits, labels = (
    array[:whole].reshape(-1, batch_size, *array.shape[1:]) for array in (logits, labels)
  )

  def one(batch):
    return loss_of(*batch, log_prior, jnp.float32(-jnp.inf))[0]

  return jnp.mean(jax.lax.map(one, (logits, labels)))
