"""Estimate mutual information where the truth is known, by classifiers and by critics.

    python -m experiments.mutual_information --workdir=runs/mutual_information

Qin et al.'s five Gaussian classes, balanced and imbalanced, in --dimensions: all estimators get the
same samples and the same network, and are evaluated on a test split that nothing was chosen on.
Every finished cell is appended at once to results.jsonl; the same command goes on after an
interruption. report.md has bias, spread and coverage of each estimator, and figures.
"""

import collections
import pathlib
import shlex
import sys
from typing import Any

import jax
import numpy as np
from absl import flags

from experiments import command, runs
from experiments.information import fitting, gaussians
from experiments.information.estimators import ESTIMATORS, OBJECTIVES, PAIRS
from softmax_research.reporting import line_plot, note, summarise, tables
from softmax_research.training import results

_WORKDIR = command.define_workdir()
_DIMENSIONS = flags.DEFINE_list("dimensions", "1,2,5,10", "Dimensions of the inputs.")
_SEEDS = flags.DEFINE_integer("seeds", 10, "Seeds of a cell, trained together.", lower_bound=2)
_EPOCHS = flags.DEFINE_integer("epochs", 3, "Passes over the training split.", lower_bound=1)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 250, "Examples of a step.", lower_bound=2)
_SCALE = flags.DEFINE_float("scale", 1.0, "Fraction of the papers' sample sizes.", lower_bound=0.01)
_HIDDEN = (100, 100, 100)
_KEYS = ("prior", "dimension", "estimator", "seed")


def sizes(prior: str, scale: float) -> tuple[int, ...]:
  """Return the training examples of each class.

  Example:
    >>> sizes("imbalanced", 0.1)
    (500, 1000, 1500, 2000, 2500)
  """
  return tuple(round(scale * count) for count in gaussians.COUNTS[prior])


def measure(prior: str, dimension: int, objective: str, width: int) -> list[dict[str, Any]]:
  """Train the networks of a cell; return a record for each estimator and seed."""
  counts = sizes(prior, _SCALE.value)
  found = fitting.fit_and_estimate(
    np.arange(_SEEDS.value),
    np.int32(dimension),
    objective=objective,
    counts=counts,
    width=width,
    epochs=_EPOCHS.value,
    batch_size=_BATCH_SIZE.value,
    hidden=_HIDDEN,
  )
  found = jax.tree.map(np.asarray, found)
  truth = gaussians.true_information(counts, dimension)
  log_prior = gaussians.log_prior(counts)
  return [
    {
      "kind": "estimate",
      "prior": prior,
      "dimension": dimension,
      "estimator": estimator.name,
      "seed": seed,
      "estimate": float(np.mean(terms)),
      "standard_error": float(np.std(terms, ddof=1) / np.sqrt(len(terms))),
      "truth": truth,
      "entropy_gap": float(np.log(len(counts)) + np.sum(np.exp(log_prior) * log_prior)),
      "micro": float(found["micro"][seed]),
      "macro": float(found["macro"][seed]),
    }
    for estimator in ESTIMATORS
    if estimator.objective == objective
    for seed, terms in enumerate(np.asarray(found[estimator.name], np.float64))
  ]


def group(records: list[dict[str, Any]]) -> dict[tuple[str, int, str], list[dict[str, Any]]]:
  """Group records by prior, dimension and estimator."""
  cells = collections.defaultdict(list)
  for record in records:
    cells[record["prior"], record["dimension"], record["estimator"]].append(record)
  return dict(cells)


def describe(records: list[dict[str, Any]]) -> dict[str, Any]:
  """Summarise the records of a cell's seeds.

  Example:
    >>> record = {"estimate": 1.0, "truth": 1.5, "standard_error": 0.1, "micro": 1, "macro": 1}
    >>> found = describe([record, record | {"estimate": 2.0}])
    >>> found["bias"].mean, round(found["rmse"], 3), found["coverage"]
    (0.0, 0.5, 0.0)
  """
  errors = np.array([record["estimate"] - record["truth"] for record in records])
  halves = 1.96 * np.array([record["standard_error"] for record in records])
  return {
    "bias": summarise(errors),
    "rmse": float(np.sqrt(np.mean(errors**2))),
    "coverage": float(np.mean(np.abs(errors) <= halves)),
    "micro": float(np.mean([record["micro"] for record in records])),
    "macro": float(np.mean([record["macro"] for record in records])),
  }


def claims(cells: dict[tuple[str, int, str], list[dict[str, Any]]]) -> list[str]:
  """State for each claim about the classifiers whether it holds in every cell."""

  def worst(estimator, prior, expected):
    biases = [
      np.mean([r["estimate"] - r["truth"] - expected(r) for r in records])
      for (of_prior, _, name), records in cells.items()
      if name == estimator and of_prior == prior
    ]
    return max(biases, key=abs, default=np.nan)

  def verdict(value):
    return f"{'holds' if abs(value) <= 0.01 else 'does not hold'}: {value:+.4f} at worst"

  lines = []
  for prior in gaussians.COUNTS:
    value = worst("PC-softmax", prior, lambda record: 0)
    lines.append(
      f"PC-softmax, {prior}: mean estimate within 0.01 nats of the truth {verdict(value)}"
    )
  value = worst("softmax + log K", "balanced", lambda record: 0)
  lines.append(f"softmax + log K, balanced: within 0.01 nats of the truth {verdict(value)}")
  value = worst("softmax + log K", "imbalanced", lambda record: record["entropy_gap"])
  lines.append(
    f"softmax + log K, imbalanced: too high by log K - H(Y), to 0.01 nats, {verdict(value)}"
  )
  return ["\n".join(f"- {line}." for line in lines)]


def table(cells, prior: str, dimension: int) -> tables.Table:
  """Tabulate the estimators of a cell."""
  rows = []
  for estimator in ESTIMATORS:
    found = describe(cells[prior, dimension, estimator.name])
    bias = found["bias"]
    values = (
      tables.Cell(str(bias.n)),
      tables.Cell(f"{bias.mean:+.4f}", "", f"[{bias.low:+.4f}, {bias.high:+.4f}]"),
      tables.Cell(f"{bias.std:.4f}"),
      tables.Cell(f"{found['rmse']:.4f}"),
      tables.Cell(f"{found['coverage']:.0%}"),
      tables.Cell(f"{found['micro']:.2%}"),
      tables.Cell(f"{found['macro']:.2%}"),
    )
    rows.append(tables.Row(estimator.name, values))
  columns = ("n", "bias", "std", "RMSE", "coverage", "accuracy", "macro accuracy")
  return tables.Table(columns, tuple(rows), name_column="estimator")


def write_report(workdir: pathlib.Path, records: list[dict[str, Any]], facts: dict) -> pathlib.Path:
  """Write the report of the records."""
  cells = group(records)
  dimensions = sorted({dimension for _, dimension, _ in cells})
  priors = [prior for prior in gaussians.COUNTS if any(key[0] == prior for key in cells)]
  panels = [
    line_plot.Panel(
      f"Bias, {prior} classes, nats",
      "dimension",
      [_line(cells, prior, dimensions, estimator.name) for estimator in ESTIMATORS],
      ("log", "linear"),
    )
    for prior in priors
  ]
  caption = "Mean over the seeds with its 95% interval; 0 is the truth."
  blocks = [
    "All estimators see the same samples through the same network; their objectives differ. Bias, "
    "standard deviation and root mean squared error are over the seeds, in nats, with the 95% t "
    "interval of the bias in brackets. Coverage: how often the truth lies within 1.96 standard "
    "errors of an estimate, from the spread of its terms on the test split.",
    *claims(cells),
    note.make_plot("bias", "Bias by dimension", caption, line_plot.line_plot(panels)),
  ]
  for prior in priors:
    for dimension in dimensions:
      truth = cells[prior, dimension, ESTIMATORS[0].name][0]["truth"]
      blocks.append(f"**{prior} classes, d = {dimension}**: the truth is {truth:.6f} nats.")
      blocks.append(table(cells, prior, dimension))
  title = "Mutual information of five Gaussian classes"
  return note.write_note(workdir, title=title, blocks=blocks, facts=facts)


def _line(cells, prior, dimensions, name) -> line_plot.Line:
  found = [describe(cells[prior, dimension, name])["bias"] for dimension in dimensions]
  ranges = [bias.low for bias in found], [bias.high for bias in found]
  return line_plot.Line(name, dimensions, [bias.mean for bias in found], ranges)


def main() -> None:
  """Estimate what is missing and report."""
  with command.errors_explained():
    dimensions = [_positive(text) for text in _DIMENSIONS.value]
    workdir = command.prepare_workdir(_WORKDIR.value)
    # What a program's shapes depend on is part of what its cells are.
    config = {"epochs": _EPOCHS.value, "batch_size": _BATCH_SIZE.value, "hidden": _HIDDEN}
    config |= {"seeds": _SEEDS.value, "scale": _SCALE.value, "width": max(dimensions)}
    results.check_config(workdir, config)
    path = workdir / "results.jsonl"
    done = {tuple(r[key] for key in _KEYS) for r in results.read(path)}
    least = sum(sizes("balanced", _SCALE.value)) // 5
    if least < 2 * PAIRS:
      raise ValueError(
        f"Got --scale={_SCALE.value}, which leaves {least} test examples; critics are evaluated on "
        f"two batches of {PAIRS} pairs or more. Pass at least {10 * PAIRS / 50_000}."
      )
    if _BATCH_SIZE.value > least:
      raise ValueError(
        f"Got --batch_size={_BATCH_SIZE.value} for {least} validation examples; a batch must not "
        f"be larger. Pass at most {least}."
      )
  made_with = runs.provenance()
  for prior in gaussians.COUNTS:
    for objective in OBJECTIVES:
      names = [estimator.name for estimator in ESTIMATORS if estimator.objective == objective]
      for dimension in dimensions:
        wanted = [(prior, dimension, name, i) for name in names for i in range(_SEEDS.value)]
        if done.issuperset(wanted):
          continue
        print(f"{prior}, {objective}, d = {dimension}", flush=True)
        for record in measure(prior, dimension, objective, max(dimensions)):
          if tuple(record[key] for key in _KEYS) not in done:
            results.append(path, record | made_with)
  arguments = shlex.join(["python", "-m", "experiments.mutual_information", *sys.argv[1:]])
  report = write_report(workdir, results.read(path), {"command": f"`{arguments}`"} | made_with)
  print(f"Report: {report}")


def _positive(text: str) -> int:
  if not text.isdigit() or int(text) < 1:
    raise ValueError(f"Got the dimension {text!r} in --dimensions; each is at least 1, as 1,2,5.")
  return int(text)


if __name__ == "__main__":
  command.run(main)
