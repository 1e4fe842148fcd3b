"""Fitting: networks of many seeds trained by one objective on samples of Gaussian classes."""

import functools
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.information import estimates, learner, mixture
from experiments.information.class_scores import ESTIMATORS, OBJECTIVES
from experiments.information.mixture import Sample, Splits
from softmax_research import nn, study

_HIDDEN = (100, 100, 100)
#: Of 3e-3, 6e-3 and 1e-2 the best on the validation split at d = 10, for most objectives; at d = 1
#: they hardly differ.
_PEAK_RATE = 1e-2


class _Logits(nnx.Module):
  """Score the classes of an input."""

  def __init__(self, size: int, num_classes: int, *, rngs: nnx.Rngs):
    self.hidden = nn.MLP((size,), widths=_HIDDEN, rngs=rngs)
    # Logits start at zero: from large exponentials at the start MINE and NWJ do not recover.
    zeros = nnx.initializers.zeros
    self.logits = nnx.Linear(_HIDDEN[-1], num_classes, kernel_init=zeros, rngs=rngs)

  def __call__(self, inputs):
    return self.logits(self.hidden(inputs, train=False))


def records(
  context: study.Context,
  splits: Splits,
  places: np.ndarray,
  log_prior: np.ndarray,
  *,
  steps: int,
  look_every: int,
  **measured: Any,
) -> list[dict[str, Any]]:
  """Fit networks to a cell's samples, and return the records of its seeds.

  Args:
    context: of the cell, which names the objective.
    splits: samples of the context's seeds.
    places: of the classes' means, `[K]`; see `mixture`.
    log_prior: of the classes, `[K]`.
    steps: of the training.
    look_every: steps from one look at the validation split to the next.
    **measured: what else is known of the cell.
  """
  began = time.perf_counter()
  terms = fit_and_estimate(
    splits,
    log_prior,
    seeds=context.seeds,
    objective=context.cell["objective"],
    steps=steps,
    look_every=look_every,
    batch_size=context.settings.batch_size,
  )
  metrics = {name: terms.pop(name) for name in ("accuracy", "macro_accuracy")}
  measured = {"truth": mixture.true_information(places, log_prior)} | measured
  return estimates.records(context, time.perf_counter() - began, terms, measured, metrics)


def fit_and_estimate(
  splits: Splits,
  log_prior: np.ndarray,
  *,
  seeds: Sequence[int],
  objective: str,
  steps: int,
  look_every: int,
  batch_size: int,
) -> dict[str, np.ndarray]:
  """Train a network for each seed, and estimate by every estimator of the objective.

  The parameters are a moving average over steps; those with the least objective on the validation
  split are kept. What is left of a split beyond whole batches is not used.

  Args:
    splits: samples of S seeds.
    log_prior: of the classes, `[K]`.
    seeds: S seeds.
    objective: a key of `OBJECTIVES`.
    steps: of the training.
    look_every: steps from one look at the validation split to the next.
    batch_size: examples of a step, and pairs of a bound's batch in evaluation.

  Returns:
    For each estimator's name its terms on the test split `[S, M]`; and under `accuracy` and
    `macro_accuracy` those `[S]` of the network as a classifier.
  """
  net, task = _make_task(objective, splits.train.inputs.shape[-1], len(log_prior))
  states = learner.start(learner.make_keys(seeds), init=net.init, averaged=True)
  looks = learner.looks(
    learner.cosine(_PEAK_RATE, steps), look_every, _batches(splits.train, seeds, batch_size)
  )
  prior = np.asarray(log_prior, np.float32)
  best = learner.fit(task, states, looks, _in_order(splits.validation, batch_size), (prior, prior))
  found = learner.evaluate(task, best, _in_order(splits.test, batch_size), prior)
  right = found.pop("right")
  labels = splits.test.labels[:, : right.shape[1]]
  classes = [k for k in range(len(prior)) if np.all(np.any(labels == k, axis=1))]
  recalls = [np.mean(right, axis=1, where=labels == k) for k in classes]
  return found | {"accuracy": right.mean(axis=1), "macro_accuracy": np.mean(recalls, axis=0)}


@functools.cache
def _make_task(objective, dimension, num_classes) -> tuple[learner.Network, learner.Task]:
  net = learner.make_network(lambda rngs: _Logits(dimension, num_classes, rngs=rngs))

  def outputs(params, sample, log_prior):
    return net.apply(params, sample.inputs)

  def loss(logits, sample, log_prior, average):
    return OBJECTIVES[objective](logits, sample.labels, log_prior, average)

  def terms(logits, sample, log_prior):
    own = [e for e in ESTIMATORS if e.objective == objective]
    # A plain classifier's logits are of the posterior; all others are free of the prior.
    scores = logits if objective == "softmax" else logits + log_prior
    right = jnp.argmax(scores, axis=-1) == sample.labels
    return {e.name: e.terms(logits, sample.labels, log_prior) for e in own} | {"right": right}

  return net, learner.Task(outputs, loss, terms)


def _batches(sample: Sample, seeds: Sequence[int], batch_size: int) -> Iterator[Sample]:
  """Yield batches `[S, B, ...]` without end; each pass over the sample has a new order."""
  generators = [np.random.default_rng([seed, 1]) for seed in seeds]
  size, each = sample.labels.shape[1], np.arange(len(seeds))[:, None]
  while True:
    order = np.stack([generator.permutation(size) for generator in generators])
    for start in range(0, size - batch_size + 1, batch_size):
      rows = order[:, start : start + batch_size]
      yield Sample(sample.inputs[each, rows], sample.labels[each, rows])


def _in_order(sample: Sample, batch_size: int) -> Iterator[Sample]:
  """Yield the whole batches of a sample in its order."""
  for start in range(0, sample.labels.shape[1] - batch_size + 1, batch_size):
    yield jax.tree.map(lambda array, start=start: array[:, start : start + batch_size], sample)
