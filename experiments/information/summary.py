"""Summary: what a study's records say of each estimator, as statements, tables and figures."""

import collections
import pathlib
from typing import Any

import numpy as np

from experiments.information import gaussians
from experiments.information.estimators import ESTIMATORS
from softmax_research.reporting import line_plot, note, summarise, tables


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
