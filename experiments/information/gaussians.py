"""Study of Qin et al.'s five Gaussian classes, balanced and imbalanced."""

import functools
import math
import pathlib
from typing import Any, NamedTuple

import numpy as np

from experiments.information import fitting, mixture, summary
from experiments.information.class_scores import ESTIMATORS, OBJECTIVES
from experiments.information.study import Study, check_numbers
from softmax_research.reporting import note

#: Training examples of each class.
COUNTS = {
  "balanced": (10_000, 10_000, 10_000, 10_000, 10_000),
  "imbalanced": (5_000, 10_000, 15_000, 20_000, 25_000),
}
_HIDDEN = (100, 100, 100)


class Settings(NamedTuple):
  """Hold the study's settings.

  Attributes:
    dimensions: of the inputs.
    seeds: of a cell, trained together.
    epochs: passes over the training split.
    batch_size: examples of a step.
    scale: fraction of the paper's sample sizes.
  """

  dimensions: tuple[int, ...] = (1, 2, 5, 10)
  seeds: int = 10
  epochs: int = 3
  batch_size: int = 250
  scale: float = 1.0


def sizes(prior: str, scale: float) -> tuple[int, ...]:
  """Return the training examples of each class; a fifth of them is in either other split.

  Example:
    >>> sizes("imbalanced", 0.1)
    (500, 1000, 1500, 2000, 2500)
  """
  return tuple(round(scale * count) for count in COUNTS[prior])


def check(settings: Settings) -> None:
  """Raise a ValueError for settings that are none."""
  check_numbers("dimensions", settings.dimensions, 1)
  check_numbers("seeds", [settings.seeds], 2)
  check_numbers("epochs", [settings.epochs], 1)
  check_numbers("batch_size", [settings.batch_size], 2)
  check_numbers("scale", [settings.scale], 0.001, 100)
  least = min(_held_out(prior, settings.scale) for prior in COUNTS)
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
    for objective in OBJECTIVES
    for prior in COUNTS
    for dimension in settings.dimensions
  ]


def measure(settings: Settings, cell: dict[str, Any]) -> list[dict[str, Any]]:
  """Train the networks of a cell; return a run for each estimator and seed."""
  prior, dimension = cell["prior"], cell["dimension"]
  counts = sizes(prior, settings.scale)
  log_prior = np.log(np.array(counts) / sum(counts))
  places = mixture.positions(len(counts)) * np.sqrt(dimension)
  steps = {name: _steps(settings, name) for name in COUNTS}
  found = fitting.fit_and_estimate(
    draw(counts, dimension, max(settings.dimensions), settings.seeds),
    log_prior,
    objective=cell["objective"],
    steps=steps[prior],
    look_every=math.gcd(*steps.values()),
    part=fitting.common_part(
      [_held_out(name, settings.scale) for name in COUNTS], settings.batch_size
    ),
    batch_size=settings.batch_size,
    hidden=_HIDDEN,
  )
  shared = {
    "truth": mixture.true_information(places, log_prior),
    "entropy_gap": float(np.log(len(counts)) + np.sum(np.exp(log_prior) * log_prior)),
  }
  return summary.runs_of(found, cell["objective"], shared)


@functools.lru_cache(maxsize=2 * len(COUNTS))
def draw(counts: tuple[int, ...], dimension: int, width: int, seeds: int) -> mixture.Splits:
  """Draw the splits, with exactly these counts in training; all objectives get the same ones."""
  generator = np.random.default_rng([dimension, *counts])
  places = mixture.positions(len(counts)) * np.sqrt(dimension)
  samples = []
  for size in (counts, *[tuple(count // 5 for count in counts)] * 2):
    labels = np.tile(np.repeat(np.arange(len(size)), size), (seeds, 1))
    labels = generator.permuted(labels, axis=1)
    samples.append(mixture.draw(generator, labels, places, dimension, width))
  return mixture.Splits(*samples)


def claims(cells: dict[tuple, list[dict[str, Any]]]) -> str:
  """State for each claim about the classifiers whether it holds in every cell."""

  def worst(estimator, prior, expected):
    biases = [
      np.mean([r["estimate"] - r["truth"] - expected(r) for r in runs] or np.inf)
      for (of_prior, _, name), runs in cells.items()
      if name == estimator and of_prior == prior
    ]
    return max(biases, key=abs, default=np.nan)

  def verdict(value):
    if not np.isfinite(value):
      return "does not hold: a cell has no finite estimate"
    return f"{'holds' if abs(value) <= 0.01 else 'does not hold'}: {value:+.4f} at worst"

  lines = []
  for prior in COUNTS:
    value = worst("PC-softmax", prior, lambda run: 0)
    lines.append(
      f"PC-softmax, {prior}: mean estimate within 0.01 nats of the truth {verdict(value)}"
    )
  value = worst("softmax + log K", "balanced", lambda run: 0)
  lines.append(f"softmax + log K, balanced: within 0.01 nats of the truth {verdict(value)}")
  value = worst("softmax + log K", "imbalanced", lambda run: run["entropy_gap"])
  lines.append(
    f"softmax + log K, imbalanced: too high by log K - H(Y), to 0.01 nats, {verdict(value)}"
  )
  return "\n".join(f"- {line}." for line in lines)


def report(
  workdir: pathlib.Path, settings: Settings, runs: list[dict[str, Any]], facts: dict[str, Any]
) -> pathlib.Path:
  """Write the report of the runs."""
  cells = summary.group(runs, ("prior", "dimension", "estimator"))
  names = [estimator.name for estimator in ESTIMATORS]
  truths = {(run["prior"], run["dimension"]): run["truth"] for run in runs}
  dimensions = sorted(settings.dimensions)
  panels = [
    summary.bias_panel(
      f"Bias, {prior} classes, nats",
      "dimension",
      names,
      dimensions,
      lambda name, d, prior=prior: cells[prior, d, name],
    )
    for prior in COUNTS
  ]
  blocks = [
    "Five classes, N(c 1, I) with c = 0, 2, -2, 4, -4. "
    f"{settings.scale:g} times the paper's sample sizes, {settings.seeds} seeds, "
    f"{settings.epochs} epochs, batches of {settings.batch_size}. "
    "All estimators see the same samples through the same network, an MLP of three layers of 100; "
    "their objectives differ. The network is the one best on a validation split; all numbers are "
    "of a test split.",
    summary.METHOD,
    claims(cells),
    summary.plot("bias", "Bias by dimension", panels),
  ]
  for prior in COUNTS:
    for dimension in dimensions:
      of_cell = {name: cells[prior, dimension, name] for name in names}
      truth = truths[prior, dimension]
      blocks.append(f"**{prior} classes, d = {dimension}**: the truth is {truth:.6f} nats.")
      blocks.append(summary.table(of_cell))
  title = "Mutual information of five Gaussian classes"
  return note.write_note(workdir, title=title, blocks=blocks, facts=facts)


def _held_out(prior: str, scale: float) -> int:
  return sum(count // 5 for count in sizes(prior, scale))


def _steps(settings: Settings, prior: str) -> int:
  return settings.epochs * (sum(sizes(prior, settings.scale)) // settings.batch_size)


STUDY = Study(Settings, check, cells, measure, report)
