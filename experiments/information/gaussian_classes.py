"""Gaussian classes whose means lie on a line: their samples, their truth, and fits to them."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.information import estimates, estimators, programs
from softmax_research import information, study
from softmax_research.information import fitting

_HIDDEN = (100, 100, 100)
#: Of 3e-3, 6e-3 and 1e-2 the best on the validation split at d = 10, for most objectives; at d = 1
#: they hardly differ.
_RATE = 1e-2


class Sample(NamedTuple):
  """Hold inputs `[S, N, D]` and their classes `[S, N]`, of S seeds: split after split.

  `sizes` are the numbers of examples of `train`, `validation` and `test`.
  """

  inputs: np.ndarray
  labels: np.ndarray
  sizes: dict[str, int]


def positions(num_classes: int) -> np.ndarray:
  """Return the places of the means: 0 and, on either side in turn, what is two farther out."""
  return np.array([(k + 1) // 2 * (2.0 if k % 2 else -2.0) + 0.0 for k in range(num_classes)])


def draw(
  seeds: Sequence[int],
  entropy: Sequence[int],
  draw_labels: Callable[[np.random.Generator], Iterable[np.ndarray]],
  places: np.ndarray,
  dimension: int,
) -> Sample:
  """Draw a sample, of each seed alike whichever others there are.

  Random numbers depend on the entropy beside the seed; `draw_labels` yields the classes of the
  splits. Places `[K]` are those of the means on the space's diagonal, in standard deviations.
  """
  means = (places / np.sqrt(dimension)).astype(np.float32)

  def draw_one(seed):
    generator = np.random.default_rng([seed, *entropy])
    for labels in draw_labels(generator):
      noise = generator.standard_normal((len(labels), dimension), dtype=np.float32)
      yield noise + means[labels][:, None], labels.astype(np.int32)

  by_seed = [list(zip(*draw_one(seed), strict=True)) for seed in seeds]
  inputs, labels = (np.stack(list(map(np.concatenate, of))) for of in zip(*by_seed, strict=True))
  lengths = map(len, by_seed[0][1])
  return Sample(inputs, labels, dict(zip(("train", "validation", "test"), lengths, strict=True)))


def records(
  context: study.Context,
  sample: Sample,
  places: np.ndarray,
  log_prior: np.ndarray,
  *,
  steps: int,
  look_every: int,
  **measured: Any,
) -> list[dict[str, Any]]:
  """Fit a network to each seed's sample by the cell's objective, and return the seeds' records.

  What is left of a split beyond whole batches is not used. See `draw` for the places.
  """
  began, seeds = time.perf_counter(), context.seeds
  size = context.settings.batch_size
  by_seed = [fitting.batches(seed, sample.sizes, steps, size) for seed in seeds]
  rows = jax.tree.map(lambda *of: np.stack(of), *by_seed)
  task = _make_task(context.cell["objective"], sample.inputs.shape[-1], log_prior)

  def fit(key, rows, inputs, labels, shared):
    del shared

    def take(rows):
      return inputs[rows], labels[rows]

    options = {"rate": _RATE, "look_every": look_every}
    return fitting.fit(*task, key=key, places=rows, take=take, **options)

  terms, compiling = programs.run_seeds(fit, seeds, rows, sample.inputs, sample.labels)
  tested = np.take_along_axis(sample.labels, rows["test"].reshape(len(seeds), -1), axis=1)
  metrics = _accuracies(terms.pop("right"), tested, len(log_prior))
  measured = {"truth": information.gaussian_mixture_information(places, log_prior)} | measured
  found = estimates.intervals(terms)
  return estimates.records(context, began, compiling, found, measured, metrics)


def _make_task(objective: str, dimension: int, log_prior: np.ndarray):
  """Return the first arguments of `fitting.fit`, whose terms also say which examples are right."""
  # Logits start at zero: from large exponentials at the start MINE and NWJ do not recover.
  init, apply = programs.make_network(
    programs.ClassScores, dimension, len(log_prior), widths=_HIDDEN, from_zero=True
  )
  log_prior = jnp.asarray(log_prior, jnp.float32)

  def outputs(params, batch):
    inputs, labels = batch
    return apply(params, inputs), labels, log_prior

  own = estimators.of_objective(objective, estimators.CLASSIFIERS)
  init, loss, terms = estimators.task(init, outputs, own)

  def with_right(params, batch):
    logits, labels, _ = outputs(params, batch)
    # A plain classifier's logits are of the posterior; all others are free of the prior.
    scores = logits if objective == "softmax" else logits + log_prior
    return terms(params, batch) | {"right": jnp.argmax(scores, axis=-1) == labels}

  return init, loss, with_right


def _accuracies(right: np.ndarray, labels: np.ndarray, classes: int) -> dict[str, np.ndarray]:
  """Return the accuracy of each seed, and its mean over the classes."""
  found = [k for k in range(classes) if np.all(np.any(labels == k, axis=1))]
  recalls = [np.mean(right, axis=1, where=labels == k) for k in found]
  return {"accuracy": right.mean(axis=1), "macro_accuracy": np.mean(recalls, axis=0)}
