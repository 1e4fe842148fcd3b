"""Study of a sweep: estimates by sample size, dimension, imbalance and number of classes."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.information import estimates, gaussians
from experiments.information.estimators import CLASS_OBJECTIVES
from experiments.information.gaussians import positions
from softmax_research import study

#: What all cells are but for the one factor that is moved.
BASE = {"size": 16_000, "dimension": 2, "ratio": 1.0, "classes": 5}
_AXES = {
  "size": "number of examples",
  "dimension": "dimension",
  "ratio": "ratio of the commonest to the rarest class",
  "classes": "number of classes",
}
_LOOK_EVERY = 50
# What lies beyond is cut off in figures; and what counts as near the truth, both in nats.
_FARTHEST, _NEAR = 0.6, 0.02


class Settings(NamedTuple):
  """Hold the study's settings.

  Attributes:
    sizes: numbers of examples, all splits together.
    dimensions: dimensions of the inputs.
    ratios: frequencies of the commonest over the rarest class.
    class_counts: numbers of classes.
    seeds: seeds of a cell, trained together.
    steps: steps of a training.
    batch_size: examples, or pairs, of a training step.
  """

  sizes: tuple[int, ...] = (1_000, 4_000, 16_000, 64_000)
  dimensions: tuple[int, ...] = (1, 2, 8, 32)
  ratios: tuple[float, ...] = (1.0, 10.0, 100.0)
  class_counts: tuple[int, ...] = (2, 5, 10, 20)
  seeds: int = 6
  steps: int = 600
  batch_size: int = 100


def check(settings: Settings) -> None:
  least = {"dimensions": 1, "ratios": 1, "class_counts": 2}
  study.check_numbers(settings, batch_size=2, seeds=2, steps=1, **least)
  # A fifth of the examples is the test split, and a critic's spread needs two batches of it. Where
  # another factor than the size moves, there are the base's examples.
  if 10 * settings.batch_size > BASE["size"]:
    raise ValueError(
      f"Got --batch_size={settings.batch_size}, but some problems have {BASE['size']:,} examples "
      "whatever --sizes is; a fifth of them is the test split, and critics are evaluated on two "
      f"batches of it or more. Pass --batch_size={BASE['size'] // 10} or less."
    )
  study.check_numbers(settings, sizes=10 * settings.batch_size)


def cells(settings: Settings) -> list[dict[str, Any]]:
  """Return the study's cells, whose problems differ from the base in one factor at most."""
  moved = (settings.sizes, settings.dimensions, settings.ratios, settings.class_counts)
  problems = []
  for factor, values in zip(BASE, moved, strict=True):
    problems += [of for value in values if (of := BASE | {factor: value}) not in problems]
  return [{"objective": name, **problem} for name in CLASS_OBJECTIVES for problem in problems]


def log_prior(classes: int, ratio: float) -> np.ndarray:
  """Return the log-frequencies of classes, which fall by equal factors from first to last."""
  log_weights = -np.log(ratio) * np.arange(classes) / (classes - 1)
  return log_weights - np.log(np.sum(np.exp(log_weights)))


def run(cell: dict[str, Any], context: study.Context) -> Iterator[list[dict[str, Any]]]:
  yield gaussians.fit_classes(
    context,
    draw(context.seeds, cell),
    positions(cell["classes"]),
    log_prior(cell["classes"], cell["ratio"]),
    steps=context.settings.steps,
    look_every=_LOOK_EVERY,
  )


def draw(seeds: Sequence[int], problem: dict[str, Any]) -> gaussians.Sample:
  """Draw a sample: three fifths to train on, and a fifth each to validate and to test."""
  size, dimension, ratio, classes = (problem[factor] for factor in BASE)

  def labels(generator):
    for count in (size - 2 * (size // 5), size // 5, size // 5):
      yield generator.choice(classes, size=count, p=np.exp(log_prior(classes, ratio)))

  entropy, places = (size, dimension, classes, round(1000 * ratio)), positions(classes)
  return gaussians.draw_classes(seeds, entropy, labels, places, dimension)


def report(records: Sequence[dict[str, Any]], settings: Settings) -> Iterator[study.Block]:
  yield "# Mutual information by sample size, dimension, imbalance and class count"
  yield (
    "Classes N(c u, I), with c = 0, 2, -2, 4, ... and u of length one along the diagonal, so that "
    f"the truth is a quadrature on a line. The base has {_describe(BASE)}; one factor moves at a "
    "time. Labels are drawn from the prior, which the estimators know. Three fifths of the "
    f"examples train an MLP of three layers of 100 for {settings.steps} steps of "
    f"{settings.batch_size}, a fifth chooses the step, a fifth gives the numbers; "
    f"{settings.seeds} seeds."
  )
  yield estimates.METHOD
  rows = estimates.by_estimator(records)
  yield estimates.near(rows, _NEAR)
  for factor, axis in _AXES.items():
    others = [other for other in BASE if other != factor]
    if of_factor := [r for r in rows if all(r["cell"][other] == BASE[other] for other in others)]:
      yield estimates.plot(
        of_factor,
        x=factor,
        name=f"bias_by_{factor}",
        heading=f"Bias by {axis}",
        scales=("log", "linear"),
        limits=(-_FARTHEST, _FARTHEST),
      )
  yield f"What lies beyond {_FARTHEST} nats is cut off in the figures; the tables have it."
  yield from estimates.tables(rows, _describe)


def _describe(problem: dict[str, Any]) -> str:
  return (
    f"{problem['size']:,} examples, dimension {problem['dimension']}, ratio "
    f"{problem['ratio']:g}, {problem['classes']} classes"
  )


STUDY = study.Study(
  Settings,
  cells,
  run,
  report,
  name="mutual_information.sweep",
  check=check,
  selects=("sizes", "dimensions", "ratios", "class_counts", "seeds"),
  estimate=estimates.estimate_by_short_run(
    run, lambda settings, cell: {"steps": min(settings.steps, 2 * _LOOK_EVERY)}
  ),
)
