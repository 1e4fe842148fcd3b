"""Study of Qin et al.'s five Gaussian classes, balanced and imbalanced."""

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.information import estimates, gaussian_classes
from experiments.information.estimators import CLASS_OBJECTIVES
from experiments.ledger import study_claims
from softmax_research import study

#: Training examples of each class.
COUNTS = {
  "balanced": (10_000, 10_000, 10_000, 10_000, 10_000),
  "imbalanced": (5_000, 10_000, 15_000, 20_000, 25_000),
}


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
  for name, least in (("dimensions", 1), ("seeds", 2), ("epochs", 1), ("batch_size", 2)):
    study.check_numbers(name, getattr(settings, name), least)
  study.check_numbers("scale", settings.scale, 0.001, 100)
  least = min(sum(n // 5 for n in sizes(prior, settings.scale)) for prior in COUNTS)
  if least < 2 * settings.batch_size:
    raise ValueError(
      f"Got --scale={settings.scale} and --batch_size={settings.batch_size}, which leave {least} "
      "test examples; critics are evaluated on two batches or more. Pass a scale of at least "
      f"{settings.batch_size / 5000:.4g}, or smaller batches."
    )


def cells(settings: Settings) -> list[dict[str, Any]]:
  """Return the study's cells, those of one program after one another."""
  return [
    {"objective": objective, "prior": prior, "dimension": dimension}
    for objective in CLASS_OBJECTIVES
    for prior in COUNTS
    for dimension in settings.dimensions
  ]


def run(cell: dict[str, Any], context: study.Context) -> Iterator[list[dict[str, Any]]]:
  """Train the networks of a cell; yield the records of its seeds."""
  settings, dimension = context.settings, cell["dimension"]
  counts = {name: sizes(name, settings.scale) for name in COUNTS}
  steps = {k: settings.epochs * (sum(of) // settings.batch_size) for k, of in counts.items()}
  of_prior = counts[cell["prior"]]
  prior = np.array(of_prior) / sum(of_prior)
  yield gaussian_classes.records(
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

  return gaussian_classes.draw(seeds, (dimension, *counts), labels, _places(dimension), dimension)


def _places(dimension: int) -> np.ndarray:
  return gaussian_classes.positions(5) * np.sqrt(dimension)


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


def _shorten(settings: Settings, cell: dict[str, Any]) -> dict[str, Any]:
  return {"epochs": 1, "scale": min(settings.scale, settings.batch_size / 1250)}


STUDY = study.Study(
  Settings,
  cells,
  run,
  report,
  name="mutual_information.gaussians",
  check=check,
  selects=("dimensions", "seeds"),
  estimate=estimates.estimate_by_short_run(run, _shorten),
  claims=(*study_claims.OF_GAUSSIANS, study_claims.BALANCED_GAUSSIANS),
)
