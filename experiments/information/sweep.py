"""Study of a sweep: estimates by sample size, dimension, imbalance and number of classes."""

import functools
import pathlib
from typing import Any, NamedTuple

import numpy as np

from experiments.information import fitting, mixture, summary
from experiments.information.class_scores import ESTIMATORS, OBJECTIVES
from experiments.information.study import Study, check_numbers
from softmax_research.reporting import note

#: What all cells are but for the one factor that is moved.
BASE = {"size": 16_000, "dimension": 2, "ratio": 1.0, "classes": 5}
_AXES = {
  "size": "examples, all splits together",
  "dimension": "dimension",
  "ratio": "frequency of the commonest over the rarest class",
  "classes": "number of classes",
}
_HIDDEN = (100, 100, 100)
_LOOK_EVERY = 50


class Settings(NamedTuple):
  """Hold the study's settings.

  Attributes:
    sizes: numbers of examples, of all splits together.
    dimensions: of the inputs.
    ratios: frequencies of the commonest over the rarest class.
    class_counts: numbers of classes.
    seeds: of a cell, trained together.
    steps: of a training.
    batch_size: examples of a step.
  """

  sizes: tuple[int, ...] = (1_000, 4_000, 16_000, 64_000)
  dimensions: tuple[int, ...] = (1, 2, 8, 32)
  ratios: tuple[float, ...] = (1.0, 10.0, 100.0)
  class_counts: tuple[int, ...] = (2, 5, 10, 20)
  seeds: int = 6
  steps: int = 600
  batch_size: int = 100


def check(settings: Settings) -> None:
  """Raise a ValueError for settings that are none."""
  check_numbers("batch_size", [settings.batch_size], 2)
  check_numbers("seeds", [settings.seeds], 2)
  check_numbers("steps", [settings.steps], _LOOK_EVERY)
  if settings.steps % _LOOK_EVERY:
    raise ValueError(
      f"Got --steps={settings.steps}; it must be a multiple of {_LOOK_EVERY}, after which the "
      "validation split is looked at."
    )
  # A fifth of the examples is the test split, and a critic's spread needs two batches of it. Where
  # another factor than the size moves, there are the base's examples.
  if 10 * settings.batch_size > BASE["size"]:
    raise ValueError(
      f"Got --batch_size={settings.batch_size}, but some problems have {BASE['size']:,} examples "
      "whatever --sizes is; a fifth of them is the test split, and critics are evaluated on two "
      f"batches of it or more. Pass --batch_size={BASE['size'] // 10} or less."
    )
  check_numbers("sizes", settings.sizes, 10 * settings.batch_size)
  check_numbers("dimensions", settings.dimensions, 1)
  check_numbers("ratios", settings.ratios, 1)
  check_numbers("class_counts", settings.class_counts, 2)


def problems(settings: Settings) -> list[dict[str, Any]]:
  """Return the problems: those that differ from the base in one factor at most.

  Example:
    >>> few = Settings(sizes=(1000,), dimensions=(2,), ratios=(1.0,), class_counts=(5, 10))
    >>> [(problem["size"], problem["classes"]) for problem in problems(few)]
    [(1000, 5), (16000, 5), (16000, 10)]
  """
  moved = {
    "size": settings.sizes,
    "dimension": settings.dimensions,
    "ratio": settings.ratios,
    "classes": settings.class_counts,
  }
  found = [BASE | {factor: value} for factor, values in moved.items() for value in values]
  return list({tuple(problem.values()): problem for problem in found}.values())


def cells(settings: Settings) -> list[dict[str, Any]]:
  """Return the study's cells, those of one program after one another."""
  return [
    {"objective": objective, **problem}
    for objective in OBJECTIVES
    for problem in problems(settings)
  ]


def log_prior(classes: int, ratio: float) -> np.ndarray:
  """Return the log-frequencies of classes, which fall by equal factors from the first to the last.

  Example:
    >>> np.exp(log_prior(3, 4.0)).round(4).tolist()
    [0.5714, 0.2857, 0.1429]
  """
  log_weights = -np.log(ratio) * np.arange(classes) / (classes - 1)
  return log_weights - np.log(np.sum(np.exp(log_weights)))


def measure(settings: Settings, cell: dict[str, Any]) -> list[dict[str, Any]]:
  """Train the networks of a cell; return a run for each estimator and seed."""
  classes, batch_size = cell["classes"], settings.batch_size
  prior, places = log_prior(classes, cell["ratio"]), mixture.positions(classes)
  padded = np.full(max(p["classes"] for p in problems(settings)), -np.inf)
  padded[:classes] = prior
  sizes = [p["size"] // 5 for p in problems(settings)]
  found = fitting.fit_and_estimate(
    draw(cell, max(p["dimension"] for p in problems(settings)), settings.seeds),
    padded,
    objective=cell["objective"],
    steps=settings.steps,
    look_every=_LOOK_EVERY,
    part=fitting.common_part(sizes, batch_size),
    batch_size=batch_size,
    hidden=_HIDDEN,
  )
  truth = mixture.true_information(places, prior)
  return summary.runs_of(found, cell["objective"], {"truth": truth})


def draw(problem: dict[str, Any], width: int, seeds: int) -> mixture.Splits:
  """Draw the splits: three fifths to train on, and a fifth each to validate and to test."""
  size, dimension, classes = problem["size"], problem["dimension"], problem["classes"]
  ratio = problem["ratio"]
  generator = np.random.default_rng([size, dimension, classes, round(1000 * ratio)])
  prior = np.exp(log_prior(classes, ratio))
  samples = []
  for count in (size - 2 * (size // 5), size // 5, size // 5):
    labels = generator.choice(classes, size=(seeds, count), p=prior)
    places = mixture.positions(classes)
    samples.append(mixture.draw(generator, labels, places, dimension, width))
  return mixture.Splits(*samples)


def claims(settings: Settings, runs: list[dict[str, Any]]) -> str:
  """State what the sweep shows: for each estimator the cells in which it is near the truth."""
  found = summary.group(runs, ("estimator", *BASE))
  lines = []
  for estimator in ESTIMATORS:
    biases = {
      key[1:]: summary.describe(of_cell)["bias"].mean
      for key, of_cell in found.items()
      if key[0] == estimator.name
    }
    if not biases:
      continue
    near = sum(abs(bias) <= 0.02 for bias in biases.values())
    worst = max(biases, key=lambda key: abs(biases[key]))
    lines.append(
      f"{estimator.name}: mean estimate within 0.02 nats of the truth in {near} of {len(biases)} "
      f"cells; {biases[worst]:+.3f} at worst ({_describe(dict(zip(BASE, worst, strict=True)))})"
    )
  return "\n".join(f"- {line}." for line in lines)


def report(
  workdir: pathlib.Path, settings: Settings, runs: list[dict[str, Any]], facts: dict[str, Any]
) -> pathlib.Path:
  """Write the report of the runs."""
  names = [estimator.name for estimator in ESTIMATORS]
  found = summary.group(runs, ("estimator", *BASE))
  truths = {tuple(run[factor] for factor in BASE): run["truth"] for run in runs}

  def at(factor, name, value):
    return found[name, *(BASE | {factor: value}).values()]

  panels = []
  for factor, axis in _AXES.items():
    values = sorted({p[factor] for p in problems(settings) if _differs_in(p, factor)})
    lookup = functools.partial(at, factor)
    title = f"Bias, nats, by {axis.split(',')[0]}"
    panels.append(summary.bias_panel(title, axis, names, values, lookup, limits=(-0.6, 0.6)))
  blocks = [
    "Classes N(c u, I), with c = 0, 2, -2, 4, ... and u of length one along the diagonal, so that "
    f"the truth is a quadrature on a line. The base has {_describe(BASE)}; one factor moves at a "
    "time. Labels are drawn from the prior, which the estimators know. Three fifths of the "
    f"examples train an MLP of three layers of 100 for {settings.steps} steps of "
    f"{settings.batch_size}, a fifth chooses the step, a fifth gives the numbers; "
    f"{settings.seeds} seeds.",
    summary.METHOD,
    claims(settings, runs),
    summary.plot("bias", "Bias by each factor", panels),
    "What lies beyond 0.6 nats is cut off in the figure; the tables have it.",
  ]
  for problem in problems(settings):
    of_cell = {name: found[name, *problem.values()] for name in names}
    truth = truths[tuple(problem.values())]
    blocks.append(f"**{_describe(problem)}**: the truth is {truth:.6f} nats.")
    blocks.append(summary.table(of_cell))
  title = "Mutual information by sample size, dimension, imbalance and class count"
  return note.write_note(workdir, title=title, blocks=blocks, facts=facts)


def _differs_in(problem: dict[str, Any], factor: str) -> bool:
  return all(problem[other] == BASE[other] for other in BASE if other != factor)


def _describe(problem: dict[str, Any]) -> str:
  return (
    f"{problem['size']:,} examples, dimension {problem['dimension']}, ratio "
    f"{problem['ratio']:g}, {problem['classes']} classes"
  )


STUDY = Study(Settings, check, cells, measure, report)
