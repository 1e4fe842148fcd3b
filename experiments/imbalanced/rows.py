"""Rows: the heads of a setting under one judgement, a moved head being a row of its own."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.imbalanced.judging import prior_of_predictions
from experiments.imbalanced.settings import is_even
from softmax_research.reporting import HeadRecords

_MOVED = ", moved"


def is_control(runs: list[dict[str, Any]]) -> bool:
  """Say whether the classes of a setting's runs are about equal."""
  return is_even(runs[0]["dataset"]["class_counts"])


def has(runs: list[dict[str, Any]], judgement: str) -> bool:
  """Say whether a setting's runs were judged so: there may be no capped test set."""
  return any(judgement in (run["metrics"] or {}) for run in runs)


def moved(head: str) -> str:
  """Name the row of a head whose predictions are moved to the prior they are judged under."""
  return head + _MOVED


def heads_of(runs: list[dict[str, Any]], names: Sequence[str], judgement: str) -> list[HeadRecords]:
  """Return what a judgement says of each head, as the reports of other experiments take it.

  Moved are the first head, with which the others are compared, and the heads whose loss has the
  prior inside; but where moving changes nothing there is no such row.

  Args:
    runs: the records of one setting.
    names: the heads, in the order of the rows.
    judgement: a key of `judging.JUDGEMENTS`.

  Returns:
    Heads with their metrics in place of the test split's.
  """
  rows = []
  for name in names:
    rows.append(_row(runs, name, judgement, "as_is", name))
    if not (name == names[0] or _has_prior_inside(name)):
      continue
    row = _row(runs, name, judgement, "moved", moved(name))
    if any(_differ(rows[-1].finished[seed], run) for seed, run in row.finished.items()):
      rows.append(row)
  return [row for row in rows if row.finished or row.diverged]


def _row(runs, name, judgement, variant, row_name) -> HeadRecords:
  own = {run["seed"]: run for run in runs if run["head"] == name}
  finished = {
    seed: {"metrics": {"test": own[seed]["metrics"][judgement][variant]}}
    for seed in sorted(own)
    if own[seed]["status"] == "finished"
  }
  diverged = {seed: own[seed] for seed in sorted(own) if own[seed]["status"] == "diverged"}
  return HeadRecords(row_name, finished, diverged, None)


def _has_prior_inside(name: str) -> bool:
  uneven = np.array([0.75, 0.25])
  return not np.allclose(prior_of_predictions(name, uneven), uneven)


def _differ(one: dict[str, Any], other: dict[str, Any]) -> bool:
  pair = one["metrics"]["test"]["nll"], other["metrics"]["test"]["nll"]
  # Infinite likelihoods are None; moving rounds in float32.
  return pair[0] != pair[1] and (None in pair or not math.isclose(*pair, rel_tol=1e-4))
