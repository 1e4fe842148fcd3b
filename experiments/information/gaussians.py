"""Study of the five Gaussian classes of Qin et al., and fits to any classes on a line."""

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.information import estimates, estimators
from experiments.ledger import study_claims
from softmax_research import information, study
from softmax_research.information import fitting

#: Training examples of each class.
COUNTS = {
  "balanced": (10_000, 10_000, 10_000, 10_000, 10_000),
  "imbalanced": (5_000, 10_000, 15_000, 20_000, 25_000),
}
_HIDDEN = (100, 100, 100)
#: Of 3e-3, 6e-3 and 1e-2 the best on the validation split at d = 10, for most objectives; at d = 1
#: they hardly differ.
_RATE = 1e-2


class Settings(NamedTuple):
  """Hold the study's settings.

  Attributes:
    dimensions: dimensions of the inputs.
    seeds: seeds of a cell, trained together.
    epochs: passes over the training split.
    batch_size: examples, or pairs, of a training step.
    scale: fraction of the paper's sample sizes.
  """

  dimensions: tuple[int, ...] = (1, 2, 5, 10)
  seeds: int = 10
  epochs: int = 3
  batch_size: int = 250
  scale: float = 1.0


def sizes(prior: str, scale: float) -> tuple[int, ...]:
  """Return the training examples of each class; a fifth of them is in either other split."""
  return tuple(round(scale * count) for count in COUNTS[prior])


def check(settings: Settings) -> None:
  study.check_numbers(settings, dimensions=1, seeds=2, epochs=1, batch_size=2, scale=(0.001, 100))
  least = min(sum(n // 5 for n in sizes(prior, settings.scale)) for prior in COUNTS)
  if least < 2 * settings.batch_size:
    raise ValueError(
      f"Got --scale={settings.scale} and --batch_size={settings.batch_size}, which leave {least} "
      "test examples; critics are evaluated on two batches or more. Pass a scale of at least "
      f"{settings.batch_size / 5000:.4g}, or smaller batches."
    )


def cells(settings: Settings) -> list[dict[str, Any]]:
  return [
    {"objective": objective, "prior": prior, "dimension": dimension}
    for objective in estimators.CLASS_OBJECTIVES
    for prior in COUNTS
    for dimension in settings.dimensions
  ]


def run(cell: dict[str, Any], context: study.Context) -> Iterator[list[dict[str, Any]]]:
  settings, dimension = context.settings, cell["dimension"]
  counts = {name: sizes(name, settings.scale) for name in COUNTS}
  steps = {k: settings.epochs * (sum(of) // settings.batch_size) for k, of in counts.items()}
  of_prior = counts[cell["prior"]]
  prior = np.array(of_prior) / sum(of_prior)
  yield fit_classes(
    context,
    draw(context.seeds, of_prior, dimension),
    _places(dimension),
    np.log(prior),
    steps=steps[cell["prior"]],
    look_every=math.gcd(*steps.values()),
    entropy_gap=float(np.log(len(prior)) + np.sum(prior * np.log(prior))),
  )


@functools.lru_cache(maxsize=2 * len(COUNTS))
def draw(seeds: tuple[int, ...], counts: tuple[int, ...], dimension: int):
  """Draw a sample, with exactly these counts in training; all objectives get the same one."""

  def labels(generator):
    for of_split in (counts, *[tuple(count // 5 for count in counts)] * 2):
      yield generator.permutation(np.repeat(np.arange(len(counts)), of_split))

  return draw_classes(seeds, (dimension, *counts), labels, _places(dimension), dimension)


def _places(dimension: int) -> np.ndarray:
  return positions(5) * np.sqrt(dimension)


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


def draw_classes(
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


def fit_classes(
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

  What is left of a split beyond whole batches is not used. See `draw_classes` for the places.
  """
  seeds, size = context.seeds, context.settings.batch_size
  by_seed = [fitting.batches(seed, sample.sizes, steps, size) for seed in seeds]
  rows = jax.tree.map(lambda *of: np.stack(of), *by_seed)
  task = _make_task(context.cell["objective"], sample.inputs.shape[-1], log_prior)

  def fit(key, rows, inputs, labels, shared):
    del shared

    def take(rows):
      return inputs[rows], labels[rows]

    options = {"rate": _RATE, "look_every": look_every}
    return fitting.fit(*task, key=key, places=rows, take=take, **options)

  terms, compiling = estimators.run_seeds(fit, seeds, rows, sample.inputs, sample.labels)
  tested = np.take_along_axis(sample.labels, rows["test"].reshape(len(seeds), -1), axis=1)
  metrics = _accuracies(terms.pop("right"), tested, len(log_prior))
  measured = {"truth": information.gaussian_mixture_information(places, log_prior)} | measured
  found = estimates.intervals(terms)
  return estimates.records(context, compiling, found, measured, metrics)


def _make_task(objective: str, dimension: int, log_prior: np.ndarray):
  """Return the first arguments of `fitting.fit`, whose terms also say which examples are right."""
  # Logits start at zero: from large exponentials at the start MINE and NWJ do not recover.
  init, apply = estimators.make_network(
    estimators.ClassScores, dimension, len(log_prior), widths=_HIDDEN, from_zero=True
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
  """Return the accuracy of each seed, and its mean over the classes that the seed's test has."""
  of_class = labels[:, None] == np.arange(classes)[:, None]  # [S, K, N]
  recalls = np.sum(of_class & right[:, None], axis=2) / np.maximum(of_class.sum(2), 1)
  macro = np.mean(recalls, axis=1, where=of_class.any(2))
  return {"accuracy": right.mean(axis=1), "macro_accuracy": macro}


def report(records: Sequence[dict[str, Any]], settings: Settings) -> Iterator[study.Block]:
  yield "# Mutual information of five Gaussian classes"
  yield (
    "Five classes, N(c 1, I) with c = 0, 2, -2, 4, -4. "
    f"{settings.scale:g} times the paper's sample sizes, {settings.seeds} seeds, "
    f"{settings.epochs} epochs, batches of {settings.batch_size}. "
    "All estimators see the same samples through the same network, an MLP of three layers of 100; "
    "their objectives differ. The network is the one best on a validation split; all numbers are "
    "of a test split."
  )
  yield estimates.METHOD
  yield "## Estimates"
  rows = estimates.by_estimator(records)
  for prior in COUNTS:
    if of_prior := [row for row in rows if row["cell"]["prior"] == prior]:
      yield estimates.plot(
        of_prior,
        x="dimension",
        name=f"bias_{prior}",
        heading=f"Bias by dimension, {prior} classes",
        scales=("log", "linear"),
      )
  yield from estimates.tables(
    rows, lambda cell: f"{cell['prior']} classes, d = {cell['dimension']}"
  )


STUDY = study.Study(
  Settings,
  cells,
  run,
  report,
  name="mutual_information.gaussians",
  check=check,
  selects=("dimensions", "seeds"),
  estimate=estimates.estimate_by_short_run(
    run, lambda of, cell: {"epochs": 1, "scale": min(of.scale, of.batch_size / 1250)}
  ),
  claims=(*study_claims.OF_GAUSSIANS, study_claims.BALANCED_GAUSSIANS),
)
