"""Summary: what the runs of a cell say of an estimator, in numbers, tables and figures."""

import collections
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from experiments.information.class_scores import ESTIMATORS
from experiments.information.study import estimate
from softmax_research.reporting import line_plot, note, summarise, tables
from softmax_research.reporting.figures import Plot

#: What the numbers of `table` are.
METHOD = (
  "Bias, standard deviation and root mean squared error are over the seeds, in nats, with the 95% "
  "t interval of the bias in brackets. Coverage: how often the truth lies within the 95% t "
  "interval of an estimate, from the spread of its terms on the test split (examples, or batches "
  "of pairs)."
)


def runs_of(
  found: dict[str, np.ndarray], objective: str, shared: dict[str, Any]
) -> list[dict[str, Any]]:
  """Return a run for each estimator of an objective and each seed.

  Args:
    found: what `fitting.fit_and_estimate` returns.
    objective: its name.
    shared: what all runs have.
  """
  return [
    {"estimator": e.name, "seed": seed}
    | estimate(terms)
    | {"micro": float(found["micro"][seed]), "macro": float(found["macro"][seed])}
    | shared
    for e in ESTIMATORS
    if e.objective == objective
    for seed, terms in enumerate(found[e.name])
  ]


def group(runs: list[dict[str, Any]], keys: Sequence[str]) -> dict[tuple, list[dict[str, Any]]]:
  """Group runs by some of their values; those whose estimate is not finite are left out.

  Example:
    >>> dict(group([{"a": 1, "estimate": 0.5}, {"a": 1, "estimate": None}], ["a"]))
    {(1,): [{'a': 1, 'estimate': 0.5}]}
  """
  cells = collections.defaultdict(list)
  for run in runs:
    if run["estimate"] is not None:
      cells[tuple(run[key] for key in keys)].append(run)
  return cells


def describe(runs: list[dict[str, Any]]) -> dict[str, Any]:
  """Summarise the seeds of a cell.

  Example:
    >>> run = {"estimate": 1.0, "truth": 1.5, "half_width": 0.1}
    >>> found = describe([run, run | {"estimate": 2.0}])
    >>> found["bias"].mean, round(found["rmse"], 3), found["coverage"]
    (0.0, 0.5, 0.0)
  """
  if not runs:
    return {"bias": summarise([]), "rmse": np.nan, "coverage": np.nan}
  errors = np.array([run["estimate"] - run["truth"] for run in runs])
  halves = np.array([run["half_width"] for run in runs])
  return {
    "bias": summarise(errors),
    "rmse": float(np.sqrt(np.mean(errors**2))),
    "coverage": float(np.mean(np.abs(errors) <= halves)),
  }


def table(cells: dict[str, list[dict[str, Any]]]) -> tables.Table:
  """Tabulate the runs of each estimator; – stands for what no run, or a single one, does not say.

  Accuracies are shown where all estimators that have runs are classifiers.
  """
  known = [set(runs[0]) for runs in cells.values() if runs]
  accuracies = [n for n in ("micro", "macro") if known and all(n in keys for keys in known)]
  rows = []
  for estimator, runs in cells.items():
    found = describe(runs)
    bias = found["bias"]
    values = (
      tables.Cell(str(bias.n)),
      _cell("+.4f", bias.mean, f"[{bias.low:+.4f}, {bias.high:+.4f}]" if bias.n > 1 else ""),
      _cell(".4f", bias.std),
      _cell(".4f", found["rmse"]),
      _cell(".0%", found["coverage"]),
      *(_cell(".2%", np.mean([r[name] for r in runs] or np.nan)) for name in accuracies),
    )
    rows.append(tables.Row(estimator, values))
  columns = ("n", "bias", "std", "RMSE", "coverage")
  columns += tuple({"micro": "accuracy", "macro": "macro accuracy"}[name] for name in accuracies)
  return tables.Table(columns, tuple(rows), name_column="estimator")


def _cell(form: str, value: float, detail: str = "") -> tables.Cell:
  return tables.Cell(f"{value:{form}}" if np.isfinite(value) else "–", "", detail)


def bias_panel(
  title: str,
  axis: str,
  names: Sequence[str],
  places: Sequence[float],
  runs_at: Callable[[str, float], list[dict[str, Any]]],
  *,
  scale: str = "log",
  limits: tuple[float, float] | None = None,
) -> line_plot.Panel:
  """Make a panel of the estimators' biases, with their intervals, along an axis.

  Args:
    title: the panel's.
    axis: its name.
    names: the estimators'.
    places: along the axis.
    runs_at: `(name, place)` to the runs there.
    scale: of the axis.
    limits: of the bias, or None for what there is.
  """
  lines = []
  for name in names:
    found = [describe(runs_at(name, place))["bias"] for place in places]
    ranges = [bias.low for bias in found], [bias.high for bias in found]
    lines.append(line_plot.Line(name, places, [bias.mean for bias in found], ranges))
  return line_plot.Panel(title, axis, lines, (scale, "linear"), limits)


def plot(name: str, heading: str, panels: Sequence[line_plot.Panel]) -> Plot:
  """Draw panels of biases."""
  caption = "Mean over the seeds with its 95% interval; 0 is the truth."
  return note.make_plot(name, heading, caption, line_plot.line_plot(panels))
