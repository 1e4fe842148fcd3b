"""Fitting: networks of many seeds trained by one objective on samples of classes.

Batches are laid out on the host, so that a program depends on the objective and on the size of a
batch, not on how many examples, classes or dimensions there are: each is compiled once in a study.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.information import learner, seed_devices
from experiments.information.class_scores import ESTIMATORS, OBJECTIVES
from experiments.information.mixture import Sample, Splits
from softmax_research import nn

#: Of 3e-3, 6e-3 and 1e-2 the best on the validation split at d = 10, for most objectives; at d = 1
#: they hardly differ.
_PEAK_RATE = 1e-2


@functools.cache
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
      # Logits start at zero: from large exponentials at the start MINE and NWJ do not recover.
      zeros = nnx.initializers.zeros
      self.logits = nnx.Linear(hidden[-1], num_classes, kernel_init=zeros, rngs=rngs)

    def __call__(self, inputs, *, train):
      return self.logits(self.hidden(inputs, train=train))

  return nn.from_nnx(Logits)


def fit_and_estimate(
  splits: Splits,
  log_prior: np.ndarray,
  *,
  objective: str,
  steps: int,
  look_every: int,
  part: int,
  batch_size: int,
  hidden: tuple[int, ...],
  seed: int = 0,
) -> dict[str, np.ndarray]:
  """Train a network for each seed, and estimate by every estimator of the objective.

  The parameters are a moving average over steps; those with the least objective on the validation
  split are kept.

  Args:
    splits: samples of S seeds.
    log_prior: of the classes, -inf for one that is none, `[K]`.
    objective: a key of `OBJECTIVES`.
    steps: of the training, a multiple of `look_every`.
    look_every: steps from one look at the validation split to the next.
    part: examples that are evaluated at once, a multiple of the batch size.
    batch_size: examples of a step, and pairs of a bound's batch in evaluation.
    hidden: the network's hidden layers.
    seed: begins the random numbers.

  Returns:
    For each estimator's name its terms on the test split `[S, M]`; and under `micro` and `macro`
    the accuracies `[S]` of the network as a classifier. What is left of a split beyond a multiple
    of `part` is not used.
  """
  num_seeds, _, width = splits.train.inputs.shape
  net = (width, len(log_prior), hidden)
  prior = jnp.asarray(log_prior, jnp.float32)
  keys = seed_devices.divide(jax.random.split(jax.random.key(seed), num_seeds))
  rates = learner.cosine(_PEAK_RATE, steps).reshape(-1, look_every)
  batches = _batches(splits.train, steps, batch_size, np.random.default_rng([seed, 1]))
  looks = (
    (_take(splits.train, [next(batches) for _ in range(look_every)]), at_rates)
    for at_rates in rates
  )

  def train(state, look):
    (inputs, labels), at_rates = look
    return _train(state, inputs, labels, at_rates, prior, objective=objective, net=net)

  def validate(params):
    values = [
      _objective(_logits(params, inputs, net=net), labels, prior, batch_size, objective)
      for inputs, labels in _parts(splits.validation, part)
    ]
    return jnp.mean(jnp.stack(values), axis=0)

  best = learner.fit(_start(keys, net=net), looks, train, validate)
  found, parts = [], list(_parts(splits.test, part))
  for inputs, labels in parts:
    logits = _logits(best, inputs, net=net)
    found.append(_terms(logits, labels, prior, batch_size, objective) | {"logits": logits})
  found = {name: np.concatenate([np.asarray(f[name]) for f in found], axis=1) for name in found[0]}
  logits, labels = found.pop("logits"), np.concatenate([labels for _, labels in parts], axis=1)
  # A plain classifier's logits are of the posterior; all others are free of the prior.
  scores = np.where(np.isneginf(log_prior), -np.inf, logits)
  right = np.argmax(scores + (0 if objective == "softmax" else log_prior), -1) == labels
  classes = [k for k in range(len(log_prior)) if np.all(np.any(labels == k, axis=1))]
  recalls = [np.mean(right, axis=1, where=labels == k) for k in classes]
  return found | {"micro": right.mean(1), "macro": np.mean(recalls, axis=0)}


def common_part(sizes: list[int], batch_size: int) -> int:
  """Return a part that splits of these sizes consist of, but for less than a batch.

  Example:
    >>> common_part([10_000, 15_000], 250)
    5000
  """
  return math.gcd(*(size // batch_size for size in sizes)) * batch_size


def _batches(sample: Sample, steps: int, batch_size: int, generator: np.random.Generator):
  """Yield rows `[S, B]` of as many batches; each pass over the sample has a new order."""
  num_seeds, size = sample.labels.shape
  made = 0
  while made < steps:
    order = generator.permuted(np.tile(np.arange(size), (num_seeds, 1)), axis=1)
    for start in range(0, size - batch_size + 1, batch_size):
      yield order[:, start : start + batch_size]
      made += 1


def _take(sample: Sample, rows: list[np.ndarray]) -> tuple[jax.Array, jax.Array]:
  """Return inputs `[C, S, B, width]` and classes `[C, S, B]` of C batches."""
  seeds, rows = np.arange(len(sample.labels))[:, None], np.stack(rows)
  return seed_devices.divide((sample.inputs[seeds, rows], sample.labels[seeds, rows]), axis=1)


def _parts(sample: Sample, part: int):
  for start in range(0, sample.labels.shape[1] - part + 1, part):
    rows = slice(start, start + part)
    yield seed_devices.divide((sample.inputs[:, rows], sample.labels[:, rows]))


@functools.partial(jax.jit, static_argnames="net")
def _start(keys, *, net):
  return jax.vmap(lambda k: learner.start(network(*net).init(k, net[:1])[0], averaged=True))(keys)


@functools.partial(jax.jit, static_argnames=("objective", "net"), donate_argnums=0)
def _train(states, inputs, labels, rates, log_prior, *, objective, net):
  def one_seed(state, inputs, labels):
    def step(state, batch):
      inputs, labels, rate = batch

      def loss(params, average):
        logits, _ = network(*net).apply(params, {}, inputs, train=False)
        loss, average = OBJECTIVES[objective](logits, labels, log_prior, average)
        return loss, (average, None)

      return learner.step(state, loss, rate)

    return jax.lax.scan(step, state, (inputs, labels, rates))[0]

  return jax.vmap(one_seed, in_axes=(0, 1, 1))(states, inputs, labels)


@functools.partial(jax.jit, static_argnames="net")
def _logits(params, inputs, *, net):
  return jax.vmap(lambda p, x: network(*net).apply(p, {}, x, train=False)[0])(params, inputs)


@functools.partial(jax.jit, static_argnames=("batch_size", "objective"))
def _objective(logits, labels, log_prior, batch_size, objective):
  """Return the mean objective over batches, `[S]`."""

  def one_seed(logits, labels):
    batches = (
      logits.reshape(-1, batch_size, logits.shape[-1]),
      labels.reshape(-1, batch_size),
    )
    loss = OBJECTIVES[objective]
    return jnp.mean(jax.lax.map(lambda b: loss(*b, log_prior, jnp.float32(-jnp.inf))[0], batches))

  return jax.vmap(one_seed)(logits, labels)


@functools.partial(jax.jit, static_argnames=("batch_size", "objective"))
def _terms(logits, labels, log_prior, batch_size, objective):
  return {
    e.name: jax.vmap(lambda z, y, e=e: e.terms(z, y, log_prior, batch_size))(logits, labels)
    for e in ESTIMATORS
    if e.objective == objective
  }
