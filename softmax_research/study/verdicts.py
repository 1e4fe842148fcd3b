r"""Verdicts: what the paired differences of two rows say of a claimed direction.

A claim is that a number is `higher`, `lower`, the `same` or `no_worse` than the baseline's. With
the mean difference d over n seeds and a smallest difference of interest m,

    higher, lower   a two-sided t-test of d = 0
    same            two one-sided t-tests, of d <= -m and of d >= m, both of which must reject
    no_worse        one one-sided t-test, of d being worse than by m

and intervals are at the level that Holm's method leaves to the comparison; see `holm_levels`.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from softmax_research.study.statistics import LEVEL, PairedDifference, holm

DIRECTIONS = ("higher", "lower", "same", "no_worse")

SUPPORTED = "supported"
CONTRADICTED = "contradicted"
NEGLIGIBLE = "negligible"
UNDECIDED = "undecided"
NOT_TESTED = "not tested"
VERDICTS = (SUPPORTED, CONTRADICTED, NEGLIGIBLE, UNDECIDED, NOT_TESTED)


class Interval(NamedTuple):
  """Hold an interval of a mean difference, and the share of such intervals that hold the truth."""

  low: float
  high: float
  confidence: float

  def excludes(self, value: float) -> bool:
    """Say whether a number lies outside; nothing lies outside an undefined interval."""
    return value < self.low or value > self.high


def p_value(
  direction: str, paired: PairedDifference, smallest: float, *, higher_is_better: bool = True
) -> float:
  """Return the p-value of the test that a direction asks for.

  Equal differences have no spread, so there is no test, and NaN, unless all are zero, which says as
  plainly as can be that there is no difference.

  Args:
    direction: one of `DIRECTIONS`.
    paired: the differences, row less baseline.
    smallest: the smallest difference of interest, for `same` and `no_worse`.
    higher_is_better: which way is worse, for `no_worse`.
  """
  if paired.n > 1 and paired.mean == paired.std == 0:
    return 1.0 if direction in ("higher", "lower") else 0.0
  if not paired.std > 0:
    return math.nan
  if direction in ("higher", "lower"):
    return paired.p_value
  error = paired.std / math.sqrt(paired.n)
  above = float(special.stdtr(paired.n - 1, -(paired.mean + smallest) / error))
  below = float(special.stdtr(paired.n - 1, (paired.mean - smallest) / error))
  if direction == "same":
    return max(above, below)
  return above if higher_is_better else below


def interval(direction: str, paired: PairedDifference, level: float) -> Interval:
  """Return the interval that decides at a level of significance.

  A one-sided test at a level agrees with one end of the interval that leaves the level out at
  either side, so intervals of `same` and `no_worse` hold 1 - 2 level, the others 1 - level.
  """
  tail = level / 2 if direction in ("higher", "lower") else level
  if paired.n < 2 or not (paired.std > 0 or paired.mean == 0):
    return Interval(math.nan, math.nan, 1 - 2 * tail)
  half = -float(special.stdtrit(paired.n - 1, tail)) * paired.std / math.sqrt(paired.n)
  return Interval(paired.mean - half, paired.mean + half, 1 - 2 * tail)


def holm_levels(p_values: Sequence[float]) -> list[float]:
  r"""Return the level of each of m tests and of its interval.

  .. math::
    \alpha_{(i)} = \alpha / (m - i + 1)

  for the i-th smallest p-value, up to the first that does not reject; for that one and all that
  follow, and for NaN, which is no test, alpha / m. A test rejects where its p-value is at most its
  level, which is just where its corrected p-value is at most 5%. Those that do not reject are the
  ones whose estimates are low: only at alpha / m do their intervals hold the truth, all of them,
  with a probability of 95%.
  """
  rejected = np.nan_to_num(holm(p_values), nan=1.0) <= LEVEL
  num_tests = np.sum(~np.isnan(p_values))
  places = np.argsort(np.argsort(p_values, kind="stable"))
  return (LEVEL / np.maximum(1, num_tests - np.where(rejected, places, 0))).tolist()


def decide(
  direction: str,
  paired: PairedDifference,
  smallest: float,
  level: float,
  *,
  effect: float = math.nan,
  higher_is_better: bool = True,
) -> str:
  """Decide one comparison.

  Args:
    direction: what is claimed; one of `DIRECTIONS`.
    paired: the differences, row less baseline.
    smallest: the smallest difference of interest.
    level: that Holm's method leaves to this comparison.
    effect: the paper's own difference; NaN where it is not known.
    higher_is_better: which way is worse, for `no_worse`.

  Returns:
    `supported`: the test rejects, in the claimed direction.
    `contradicted`: the interval excludes the paper's difference or, where that is not known, zero,
    in the other direction. A claim of no (worse) difference is contradicted where the whole
    interval lies beyond the smallest of interest, and excludes the paper's own difference.
    `negligible`: a difference is claimed, and the interval lies within the smallest of interest.
    `undecided`: otherwise.
  """
  p = p_value(direction, paired, smallest, higher_is_better=higher_is_better)
  found = interval(direction, paired, level)
  if direction in ("higher", "lower"):
    sign = 1 if direction == "higher" else -1
    if p <= level and paired.mean * sign > 0:
      return SUPPORTED
    if p <= level if math.isnan(effect) else found.excludes(effect):
      return CONTRADICTED
    return NEGLIGIBLE if -smallest < found.low and found.high < smallest else UNDECIDED
  if p <= level:
    return SUPPORTED
  below, above = found.high < -smallest, found.low > smallest
  differs = below or above if direction == "same" else below if higher_is_better else above
  surprising = math.isnan(effect) or found.excludes(effect)
  return CONTRADICTED if differs and surprising else UNDECIDED


def combine(verdicts: Sequence[str]) -> str:
  """Return the verdict on a claim of several comparisons, all of which it says.

  One comparison that is contradicted, or negligible, is enough against it.
  """
  order = (CONTRADICTED, NEGLIGIBLE, UNDECIDED)
  return next((verdict for verdict in order if verdict in verdicts), SUPPORTED)
