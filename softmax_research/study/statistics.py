r"""Statistics of a few seeds: means with t intervals, paired t-tests and what they could show.

Undefined quantities (the spread of one seed, say) are NaN and never raise, since a report has to
be made from whatever runs there are.
"""

import bisect
import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

# Of SciPy the functions alone: its distributions and solvers take long to import.

# The level of all tests, and the power at which a difference is called detectable.
LEVEL, POWER = 0.05, 0.8
# Differences whose spread is below this share of the values are rounding, not spread.
_ROUNDING = 1e-12


class Summary(NamedTuple):
  """Describe a sample: its size, mean, standard deviation and interval of the mean."""

  n: int
  mean: float
  std: float
  low: float
  high: float


class PairedDifference(NamedTuple):
  """Describe the differences of matched samples and their paired t-test.

  Attributes:
    n: Number of pairs.
    mean: Mean difference.
    std: Standard deviation of the differences.
    low: Lower end of the interval of the mean difference.
    high: Upper end of the interval.
    p_value: Two-sided p-value; NaN when there are fewer than two pairs or no spread.
    effect_size: Mean over standard deviation (Cohen's d_z); NaN where the p-value is.
  """

  n: int
  mean: float
  std: float
  low: float
  high: float
  p_value: float
  effect_size: float


def summarise(values: Sequence[float], *, confidence: float = 0.95) -> Summary:
  r"""Summarise a sample by its mean, standard deviation and t interval.

  .. math::
    \bar x \pm t_{n-1,(1+c)/2} \, s / \sqrt{n}

  Args:
    values: Sample `[n]`.
    confidence: Coverage `c` of the interval.

  Returns:
    The summary. With one value, or values that are not finite, the spread and the interval are
    NaN; with none the mean is NaN too.

  Example:
    >>> summary = summarise([0.97, 0.98, 0.99])
    >>> print(f"{summary.mean:.3f} {summary.std:.3f} [{summary.low:.3f}, {summary.high:.3f}]")
    0.980 0.010 [0.955, 1.005]
  """
  values = np.asarray(values, np.float64)
  n = values.size
  mean = float(values.mean()) if n else math.nan
  if n < 2 or not math.isfinite(mean):
    return Summary(n, mean, math.nan, math.nan, math.nan)
  std = float(values.std(ddof=1))
  if std <= _ROUNDING * np.abs(values).max():
    std = 0.0
  half = _t_quantile((1 - confidence) / 2, n - 1) * std / math.sqrt(n)
  return Summary(n, mean, std, mean - half, mean + half)


def paired_difference(values: Sequence[float], baseline: Sequence[float]) -> PairedDifference:
  r"""Compare matched samples by a paired t-test.

  .. math::
    d_i = x_i - b_i, \qquad t = \bar d \sqrt{n} / s_d, \qquad d_z = \bar d / s_d

  Args:
    values: Sample `[n]`.
    baseline: Sample `[n]` to compare with; entry `i` belongs to entry `i` of `values`.

  Returns:
    The differences' summary and test.

  Raises:
    ValueError: The samples differ in length.

  Example:
    >>> result = paired_difference([0.98, 0.97, 0.99], [0.97, 0.95, 0.98])
    >>> print(f"{result.mean:.4f} p={result.p_value:.3f} d={result.effect_size:.2f}")
    0.0133 p=0.057 d=2.31
  """
  values, baseline = np.asarray(values, np.float64), np.asarray(baseline, np.float64)
  if values.shape != baseline.shape:
    raise ValueError(
      f"paired samples must have one length, got {values.shape} and {baseline.shape}; "
      "keep the seeds that both have"
    )
  if not (np.isfinite(values).all() and np.isfinite(baseline).all()):
    return PairedDifference(values.size, *[math.nan] * 6)
  differences = values - baseline
  # Equal differences of rounded numbers leave a spread of one rounding error, which is none.
  if differences.size and np.ptp(differences) <= _ROUNDING * np.abs([values, baseline]).max():
    differences = np.full_like(differences, differences[0])
  summary = summarise(differences)
  if not summary.std > 0:  # zero or NaN
    return PairedDifference(*summary, math.nan, math.nan)
  effect_size = summary.mean / summary.std
  t = effect_size * math.sqrt(summary.n)
  p_value = 2 * float(special.stdtr(summary.n - 1, -abs(t)))
  return PairedDifference(*summary, p_value, effect_size)


def _t_quantile(tail: float, freedom: int) -> float:
  """Return what Student's t exceeds with a probability of `tail`."""
  return -float(special.stdtrit(freedom, tail))


def holm(p_values: Sequence[float]) -> np.ndarray:
  r"""Correct p-values for multiple comparisons by Holm's step-down method.

  .. math::
    \tilde p_{(i)} = \min\bigl(1, \max_{j \le i} (m - j + 1) \, p_{(j)}\bigr)

  Args:
    p_values: P-values `[m]`; NaN marks a test that is undefined and so cannot reject.

  Returns:
    Corrected p-values `[m]`; NaN stays NaN and is not counted among the comparisons.

  Example:
    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]

  Reference:
    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
    Statistics, 1979.
  """
  p_values = np.asarray(p_values, np.float64)
  defined = np.flatnonzero(~np.isnan(p_values))
  order = defined[np.argsort(p_values[defined], kind="stable")]
  steps = np.arange(order.size, 0, -1) * p_values[order]
  corrected = np.full_like(p_values, np.nan)
  corrected[order] = np.minimum(1.0, np.maximum.accumulate(steps))
  return corrected


def paired_test_power(effect_size: float, n: int, *, level: float = LEVEL) -> float:
  r"""Return the power of a two-sided paired t-test.

  The noncentral t probability is averaged over the quantiles of the variance estimate, since
  `scipy.stats.nct` gives NaN in places that small samples reach.

  Args:
    effect_size: True mean difference over the true standard deviation of the differences.
    n: Number of pairs, at least 2.
    level: Significance level of the test.

  Returns:
    The probability that the test rejects.

  Example:
    >>> print(f"{paired_test_power(1.682, 5):.2f}")
    0.80
  """
  critical = _t_quantile(level / 2, n - 1) * _std_quantiles(n - 1)
  shift = effect_size * math.sqrt(n)
  return float(np.mean(special.ndtr(shift - critical) + special.ndtr(-critical - shift)))


@functools.cache  # they take nearly all of the time
def _std_quantiles(freedom: int) -> np.ndarray:
  """Return quantiles of the estimated standard deviation, in units of the true one."""
  quantiles = 2 * special.gammaincinv(freedom / 2, (np.arange(4000) + 0.5) / 4000)
  return np.sqrt(quantiles / freedom)


def detectable_difference(
  std: float, n: int, *, level: float = LEVEL, power: float = POWER
) -> float:
  r"""Return the smallest true difference that a paired t-test would probably have found.

  Args:
    std: Standard deviation of the paired differences.
    n: Number of pairs.
    level: Significance level of the test.
    power: Probability with which the difference is to be found.

  Returns:
    The difference, in the unit of `std`; NaN with fewer than two pairs or without spread.

  Example:
    >>> print(f"{detectable_difference(0.1, 5):.3f}")
    0.168
  """
  if n < 2 or not std > 0:
    return math.nan
  return _detectable_effect(n, level, power) * std


@functools.cache  # a report asks for the same few sizes again and again
def _detectable_effect(n: int, level: float, power: float) -> float:
  # The noncentrality that is needed is about the critical value plus the power's normal quantile,
  # or a few times that for one degree of freedom.
  from scipy import optimize  # noqa: PLC0415  # It takes long.

  upper = 10 * (_t_quantile(level / 2, n - 1) + 1) / math.sqrt(n)
  return optimize.brentq(lambda d: paired_test_power(d, n, level=level) - power, 0, upper)


def pairs_needed(std: float, difference: float, *, level: float = LEVEL) -> int | None:
  """Return how many pairs a paired t-test needs to find a true difference with 80% power.

  Args:
    std: Standard deviation of the paired differences.
    difference: The true difference, in the unit of `std`.
    level: Significance level of the test.

  Returns:
    The least such number of pairs; None without spread, or where a million would not do.

  Example:
    >>> pairs_needed(0.1, 0.2), pairs_needed(0.1, 0.1)
    (5, 10)
  """
  if not (std > 0 and difference > 0):
    return None
  sizes = range(2, 2**20 + 1)
  place = bisect.bisect_left(
    sizes, True, key=lambda n: detectable_difference(std, n, level=level) <= difference
  )
  return sizes[place] if place < len(sizes) else None
