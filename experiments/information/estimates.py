"""Estimates: what is recorded of the estimators of a cell, and what the seeds say of each."""

import functools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from softmax_research import study
from softmax_research.study.blocks import table_of

#: How far an estimate is from the truth.
ERROR = study.Measure("error", "bias", "nats", 1.0, 4, False)
#: What the numbers of `tables` are.
METHOD = (
  "Bias, standard deviation and root mean squared error are over the seeds, in nats, with the 95% "
  "t interval of the bias in brackets. Coverage: how often the truth lies within the 95% t "
  "interval of an estimate, from the spread of its terms on the test split (examples, or batches "
  "of pairs). Where some seeds' estimates are not finite, tables are of the others and say how "
  "many they are (n), and figures have a gap."
)

#: Plots the biases of the estimators from the records of `by_estimator`; see `study.plot`.
plot = functools.partial(study.plot, y=ERROR, by="estimator", caption="0 is the truth.")


def intervals(terms: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
  """Return for each seed what its terms say, `[S, M]` of each estimator.

  The estimate is the mean of the terms, and half the width of its 95% t interval stands beside it.
  """

  def interval(terms):
    if not np.all(np.isfinite(terms)):  # JSON has no such numbers.
      return {"estimate": None, "half_width": None}
    summary = study.summarise(terms)
    return {"estimate": summary.mean, "half_width": summary.high - summary.mean}

  by_seed = zip(*terms.values(), strict=True)
  return [dict(zip(terms, map(interval, of_seed), strict=True)) for of_seed in by_seed]


def records(
  context: study.Context,
  compiling: float,
  estimates: Sequence[dict[str, Any]],
  measured: Mapping[str, Any] | None = None,
  metrics: Mapping[str, np.ndarray] | None = None,
) -> list[dict[str, Any]]:
  """Return the records of a cell's seeds, which trained together.

  They have the estimates of each seed, what is measured of the cell, as the truth, and the metrics
  `[S]` of the test split.
  """
  seconds = context.share()
  measured = {**(measured or {}), "compiling_seconds": round(compiling, 3)}
  return [
    context.record(
      seed,
      seconds=seconds,
      metrics={"test": {k: float(of[place]) for k, of in metrics.items()}} if metrics else {},
      measured={**measured, "estimators": estimates[place]},
    )
    for place, seed in enumerate(context.seeds)
  ]


def by_estimator(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
  """Return a record for each estimator, and for each stair that it climbed.

  Their cells name the estimator in place of the objective, and a stair by its nats.
  """
  rows = []
  for record in records:
    problem = {name: value for name, value in record["cell"].items() if name != "objective"}
    for estimator, found in record["measured"].get("estimators", {}).items():
      for one in found.get("stairs", [found]):
        cell = {"estimator": estimator, **problem}
        if "stair" in one:
          cell["nats"] = one["truth"]
        known = {"truth": record["measured"].get("truth"), **one}
        finite = known["estimate"] is not None
        known["error"] = known["estimate"] - known["truth"] if finite else None
        rows.append(record | {"cell": cell, "measured": known})
  return rows


def tables(
  rows: Sequence[dict[str, Any]], describe: Callable[[dict[str, Any]], str]
) -> Iterator[study.Block]:
  """Yield for each problem of the rows of `by_estimator` its truth and a table of the estimators.

  Accuracies are shown where all estimators are classifiers; – stands for what no seed, or a single
  one, does not say.
  """
  for of_problem in _by_problem(rows).values():
    first = of_problem[0]
    accuracies = [
      study.measure_of(key)
      for key in ("accuracy", "macro_accuracy")
      if all(key in row["metrics"].get("test", {}) for row in of_problem)
    ]
    yield f"**{describe(first['cell'])}**: the truth is {first['measured']['truth']:.6f} nats."
    found = [(of.name, _cells(of, accuracies)) for of in study.group(of_problem, "estimator")]
    yield table_of(found, "estimator", describe(first["cell"]))


def _cells(of: study.Group, accuracies: Sequence[study.Measure]) -> dict[str, study.Cell | str]:
  finite = {seed: error for seed, error in of.values(ERROR).items() if math.isfinite(error)}
  errors, n = np.array(list(finite.values())), len(finite)
  bias = study.summarise(errors)
  halves = [of.finished[seed]["measured"]["half_width"] for seed in finite]
  rmse = float(np.sqrt(np.mean(errors**2))) if n else math.nan
  coverage = float(np.mean(np.abs(errors) <= halves)) if n else math.nan
  interval = ERROR.format_interval(bias.low, bias.high, signed=True) if n > 1 else ""
  means = [(m, study.summarise([of.values(m)[seed] for seed in finite]).mean) for m in accuracies]
  return {
    "n": str(n) if n == len(of.finished) else f"{n} of {len(of.finished)}",
    "bias": study.Cell(ERROR.format(bias.mean, signed=True), detail=interval),
    "std": ERROR.format(bias.std),
    "RMSE": ERROR.format(rmse),
    "coverage, %": study.measures.format_number(100 * coverage, 0),
    **{measure.title: measure.format(mean) for measure, mean in means},
  }


def near(rows: Sequence[dict[str, Any]], within: float) -> str:
  """List for each estimator in how many problems its mean is within so many nats of the truth."""
  lines = []
  for name in dict.fromkeys(row["cell"]["estimator"] for row in rows):
    biases = {}
    for problem, own in _by_problem([r for r in rows if r["cell"]["estimator"] == name]).items():
      (of,) = study.group(own, "estimator")
      biases[problem] = study.summarise(list(of.values(ERROR).values())).mean
    close = sum(abs(bias) <= within for bias in biases.values())
    farthest = max(biases, key=lambda problem: np.nan_to_num(abs(biases[problem]), nan=np.inf))
    lines.append(
      f"- {name}: mean estimate within {within} nats of the truth in {close} of {len(biases)} "
      f"problems; {ERROR.format(biases[farthest], signed=True)} at worst ({farthest})."
    )
  return "\n".join(lines)


def _by_problem(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
  """Return the rows by what the problem is: all that cells say but for the estimator."""
  found: dict[str, list[dict[str, Any]]] = {}
  for row in rows:
    items = [f"{name} {value}" for name, value in row["cell"].items() if name != "estimator"]
    found.setdefault(", ".join(items), []).append(row)
  return found


def estimate_by_short_run(
  run: Callable[..., Any], shorten: Callable[[Any, dict[str, Any]], dict[str, Any]]
) -> Callable[..., float]:
  """Return a function that estimates a cell's seconds from a run of it with a few shorter settings.

  But for compiling, the whole is as many times as long as the settings are larger, or longer, than
  those that `shorten` returns by name.
  """

  def ratio(whole, short):
    return len(whole) / len(short) if isinstance(whole, tuple) else whole / short

  def estimate(cell, context):
    settings, began = context.settings, time.perf_counter()
    short = shorten(settings, cell)
    context.settings = settings._replace(**short)
    try:
      (made,) = run(cell, context)
    finally:
      context.settings = settings
    compiling = made[0]["measured"]["compiling_seconds"]
    times = math.prod(ratio(getattr(settings, name), value) for name, value in short.items())
    return compiling + times * (time.perf_counter() - began - compiling)

  return estimate
