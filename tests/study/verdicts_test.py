"""Verdicts against SciPy's t-tests, and a two-sided Holm correction written out by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from softmax_research.study import statistics, verdicts

_SAMPLES = [
  np.random.default_rng(seed).normal(mean, std, (2, n))
  for seed, (mean, std, n) in enumerate([(0.0, 1.0, 5), (2.0, 0.1, 10), (0.3, 0.01, 2)])
]


@pytest.mark.parametrize("sample", _SAMPLES, ids=["5", "10", "2"])
@pytest.mark.parametrize("smallest", [0.02, 0.5])
def test_p_values_are_those_of_scipy(sample, smallest):
  ours, theirs = sample
  paired = statistics.paired_difference(ours, theirs)

  def p(direction, **options):
    return verdicts.p_value(direction, paired, smallest, **options)

  difference = ours - theirs
  assert p("higher") == p("lower") == pytest.approx(stats.ttest_rel(ours, theirs).pvalue)
  above = stats.ttest_1samp(difference, -smallest, alternative="greater").pvalue
  below = stats.ttest_1samp(difference, smallest, alternative="less").pvalue
  assert p("same") == pytest.approx(max(above, below))
  assert p("no_worse") == pytest.approx(above)
  assert p("no_worse", higher_is_better=False) == pytest.approx(below)


@pytest.mark.parametrize("level", [0.05, 0.004])
def test_intervals_are_those_of_scipy_and_agree_with_the_tests(level):
  ours, theirs = _SAMPLES[1]
  paired = statistics.paired_difference(ours, theirs)
  error = stats.sem(ours - theirs)
  for direction, share in (("higher", 1 - level), ("same", 1 - 2 * level)):
    found = verdicts.interval(direction, paired, level)
    low, high = stats.t.interval(share, len(ours) - 1, np.mean(ours - theirs), error)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.confidence == pytest.approx(share)
  # A margin that just fits the interval is where the test of equivalence just rejects.
  margin = max(abs(found.low), abs(found.high))
  assert verdicts.p_value("same", paired, margin) == pytest.approx(level)
  none = verdicts.interval("higher", statistics.paired_difference([1.0], [0.0]), level)
  assert math.isnan(none.low) and not none.excludes(0.0)


def test_equal_differences_have_no_test_unless_they_are_zero():
  zero = statistics.paired_difference([0.5, 0.6], [0.5, 0.6])
  shifted = statistics.paired_difference([0.5, 0.6], [0.25, 0.35])
  assert verdicts.p_value("higher", zero, 0.01) == 1.0
  assert math.isnan(verdicts.p_value("higher", shifted, 0.01))
  assert verdicts.p_value("same", zero, 0.01) == 0.0
  assert math.isnan(verdicts.p_value("no_worse", shifted, 0.01))
  assert verdicts.decide("higher", zero, 0.01, 0.05) == "negligible"
  for direction in verdicts.DIRECTIONS:
    assert verdicts.decide(direction, shifted, 0.01, 0.05) == "undecided"
  assert verdicts.decide("same", zero, 0.01, 0.05) == "supported"


def test_levels_are_holms():
  p_values = [0.011, 0.9, math.nan, 0.001, 0.03, 0.02]
  found = verdicts.holm_levels(p_values)
  # Five tests: 0.05 / 5 for the smallest, 0.05 / 4 for the next; the third does not reject.
  np.testing.assert_allclose(found, [0.0125, 0.01, 0.01, 0.01, 0.01, 0.01])
  corrected = statistics.holm(p_values)
  for p, level, of in zip(p_values, found, corrected, strict=True):
    assert math.isnan(p) or (p <= level) == (of <= 0.05)
  assert verdicts.holm_levels([]) == []


def test_of_many_true_claims_seldom_is_any_contradicted():
  # Twenty effects of four standard errors, found as they are in the paper. Most tests reject; at
  # the level that Holm's method has reached then, one family of seven would have a false verdict.
  rng, size, effect = np.random.default_rng(0), 20, 4 / math.sqrt(20)
  num_wrong = 0
  for _ in range(300):
    samples = rng.normal(effect, 1, (20, size))
    paired = [statistics.paired_difference(sample, np.zeros(size)) for sample in samples]
    levels = verdicts.holm_levels([of.p_value for of in paired])
    found = [
      verdicts.decide("higher", of, effect / 2, level, effect=effect)
      for of, level in zip(paired, levels, strict=True)
    ]
    num_wrong += "contradicted" in found
  assert num_wrong <= 0.05 * 300


def _paired(mean, half, n=5):
  """Return differences whose 95% interval is the mean and the half-width about it."""
  std = half * math.sqrt(n) / stats.t.ppf(0.975, n - 1)
  p = 2 * stats.t.sf(abs(mean) / (std / math.sqrt(n)), n - 1)
  return statistics.PairedDifference(n, mean, std, mean - half, mean + half, p, mean / std)


@pytest.mark.parametrize(
  ("direction", "mean", "half", "options", "verdict"),
  [
    ("higher", 0.02, 0.01, {}, "supported"),
    ("lower", 0.02, 0.01, {}, "contradicted"),
    ("higher", 0.02, 0.03, {}, "undecided"),
    ("higher", 0.001, 0.003, {}, "negligible"),
    # A small effect of the paper's is not refuted by being small ...
    ("higher", 0.0004, 0.003, {"effect": 0.0009, "smallest": 0.00045}, "undecided"),
    ("higher", 0.0009, 0.0005, {"effect": 0.0009, "smallest": 0.00045}, "supported"),
    # ... but by an interval that excludes it, on the way to zero alone.
    ("higher", 0.0001, 0.0005, {"effect": 0.0009, "smallest": 0.00045}, "contradicted"),
    ("higher", 0.02, 0.01, {"effect": 0.1}, "supported"),
    ("higher", 0.02, 0.01, {"effect": 0.001}, "supported"),
    ("higher", -0.02, 0.01, {"effect": 0.001}, "contradicted"),
    ("same", 0.001, 0.003, {}, "supported"),
    ("same", 0.01, 0.002, {}, "contradicted"),
    ("same", 0.004, 0.003, {}, "undecided"),
    ("same", -0.02, 0.01, {"effect": -0.0176}, "undecided"),
    ("same", -0.04, 0.01, {"effect": -0.0176}, "contradicted"),
    ("no_worse", 0.02, 0.023, {}, "supported"),
    ("no_worse", -0.02, 0.01, {}, "contradicted"),
    ("no_worse", -0.02, 0.01, {"higher_is_better": False}, "supported"),
    ("no_worse", 0.02, 0.01, {"higher_is_better": False}, "contradicted"),
    ("no_worse", 0.0, 0.01, {}, "undecided"),
  ],
)
def test_decisions(direction, mean, half, options, verdict):
  options = {"smallest": 0.005, "level": 0.05} | options
  assert verdicts.decide(direction, _paired(mean, half), **options) == verdict


def test_no_worse_is_one_sided():
  # The lower end of the 90% interval decides, so a gain of any size and spread may hold.
  margin, half = 0.005, 0.02
  one_sided = half * stats.t.ppf(0.95, 4) / stats.t.ppf(0.975, 4)
  for shift, verdict in ((1e-4, "supported"), (-1e-4, "undecided")):
    mean = one_sided - margin + shift
    assert verdicts.decide("no_worse", _paired(mean, half), margin, 0.05) == verdict
    assert verdicts.decide("same", _paired(mean, half), margin, 0.05) == "undecided"
