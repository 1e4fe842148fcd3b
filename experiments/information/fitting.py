"""Fitting: networks of many seeds trained by one objective on samples of Gaussian classes."""

import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.information import estimates, learner, mixture, seed_devices
from experiments.information.class_scores import ESTIMATORS, OBJECTIVES
from experiments.information.mixture import Splits
from softmax_research import nn, study

_HIDDEN = (100, 100, 100)
#: Of 3e-3, 6e-3 and 1e-2 the best on the validation split at d = 10, for most objectives; at d = 1
#: they hardly differ.
_RATE = 1e-2


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
  """Fit a network to each seed's sample by the cell's objective, and return the seeds' records.

  What is left of a split beyond whole batches is not used.

  Args:
    context: of the cell.
    splits: samples of the context's seeds.
    places: of the classes' means, `[K]`; see `mixture`.
    log_prior: of the classes, `[K]`.
    steps: of the training.
    look_every: steps from one look at the validation split to the next.
    **measured: what else is known of the cell.
  """
  began, batch_size = time.perf_counter(), context.settings.batch_size
  task = _make_task(context.cell["objective"], splits.train.inputs.shape[-1], log_prior)
  seeds, num_test = context.seeds, splits.test.labels.shape[1] // batch_size * batch_size
  batches = {
    "train": _orders(seeds, splits.train.labels.shape[1], steps, batch_size),
    "validation": _in_order(len(seeds), splits.validation.labels.shape[1], batch_size),
    "test": _in_order(len(seeds), splits.test.labels.shape[1], batch_size),
  }

  def fit(key, places, data, shared):
    del shared
    return learner.fit(task, key, places, data, rate=_RATE, look_every=look_every)

  terms, compiling = seed_devices.run(fit, seeds, batches, splits._asdict())
  metrics = _accuracies(terms.pop("right"), splits.test.labels[:, :num_test], len(log_prior))
  measured = {"truth": mixture.true_information(places, log_prior)} | measured
  return estimates.records(context, began, compiling, terms, measured, metrics)


def _make_task(objective: str, dimension: int, log_prior: np.ndarray) -> learner.Task:
  net = learner.make_network(lambda rngs: _Logits(dimension, len(log_prior), rngs=rngs))
  log_prior = jnp.asarray(log_prior, jnp.float32)
  own = [estimator for estimator in ESTIMATORS if estimator.objective == objective]

  def terms(logits, sample):
    # A plain classifier's logits are of the posterior; all others are free of the prior.
    scores = logits if objective == "softmax" else logits + log_prior
    right = jnp.argmax(scores, axis=-1) == sample.labels
    return {e.name: e.terms(logits, sample.labels, log_prior) for e in own} | {"right": right}

  return learner.Task(
    net.init,
    lambda sample, rows: jax.tree.map(lambda array: array[rows], sample),
    lambda params, sample: net.apply(params, sample.inputs),
    lambda logits, sample, average: OBJECTIVES[objective](
      logits, sample.labels, log_prior, average
    ),
    terms,
  )


def _orders(seeds: Sequence[int], size: int, steps: int, batch_size: int) -> np.ndarray:
  """Return rows `[S, steps, B]` of batches; each pass over the sample has a new order."""
  each = size // batch_size

  def of_seed(seed):
    generator = np.random.default_rng([seed, 1])
    passes = [generator.permutation(size)[: each * batch_size] for _ in range(-(-steps // each))]
    return np.concatenate(passes).reshape(-1, batch_size)[:steps]

  return np.stack([of_seed(seed) for seed in seeds]).astype(np.int32)


def _in_order(num_seeds: int, size: int, batch_size: int) -> np.ndarray:
  rows = np.arange(size // batch_size * batch_size, dtype=np.int32).reshape(-1, batch_size)
  return np.broadcast_to(rows, (num_seeds, *rows.shape))


def _accuracies(right: np.ndarray, labels: np.ndarray, classes: int) -> dict[str, np.ndarray]:
  """Return the accuracy of each seed, and its mean over the classes."""
  found = [k for k in range(classes) if np.all(np.any(labels == k, axis=1))]
  recalls = [np.mean(right, axis=1, where=labels == k) for k in found]
  return {"accuracy": right.mean(axis=1), "macro_accuracy": np.mean(recalls, axis=0)}
