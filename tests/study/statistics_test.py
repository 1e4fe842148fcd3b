"""Statistics against scipy, hand calculation and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from softmax_research import study
from softmax_research.study import statistics

_RNG = np.random.default_rng(0)
_SAMPLES = [_RNG.normal(0.97, 0.01, size=n) for n in (2, 3, 5, 30)]


@pytest.mark.parametrize("values", _SAMPLES, ids=len)
@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_summary_agrees_with_scipy(values, confidence):
  summary = study.summarise(values, confidence=confidence)
  interval = stats.t.interval(confidence, len(values) - 1, values.mean(), stats.sem(values))
  assert summary.n == len(values)
  np.testing.assert_allclose(summary[1:3], [values.mean(), stats.tstd(values)], rtol=1e-12)
  np.testing.assert_allclose(summary[3:], interval, rtol=1e-12)


def test_summary_without_spread():
  constant = study.summarise([0.97, 0.97, 0.97])
  assert constant == pytest.approx((3, 0.97, 0.0, 0.97, 0.97)) and constant.std == 0
  one = study.summarise([0.97])
  assert one[:2] == (1, 0.97) and np.isnan(one[2:]).all()
  none = study.summarise([])
  assert none.n == 0 and np.isnan(none[1:]).all()


def test_summary_of_infinite_values_has_no_spread():
  summary = study.summarise([0.1, math.inf])
  assert summary.mean == math.inf and np.isnan(summary[2:]).all()


@pytest.mark.parametrize("values", _SAMPLES, ids=len)
def test_paired_difference_agrees_with_scipy(values):
  baseline = values + np.random.default_rng(1).normal(0.003, 0.004, size=len(values))
  result = study.paired_difference(values, baseline)
  oracle = stats.ttest_rel(values, baseline)
  differences = values - baseline
  np.testing.assert_allclose(result.p_value, oracle.pvalue, rtol=1e-10)
  np.testing.assert_allclose(result[3:5], oracle.confidence_interval(0.95), rtol=1e-10)
  np.testing.assert_allclose(result.effect_size, differences.mean() / stats.tstd(differences))


@pytest.mark.parametrize("shift", [0.0, 0.01, 1 / 3])
def test_equal_differences_leave_the_test_undefined(shift):
  baseline = np.array([0.91, 0.93, 0.97])
  result = study.paired_difference(baseline + shift, baseline)
  assert result.n == 3 and result.std == 0 and result.mean == pytest.approx(shift)
  assert math.isnan(result.p_value) and math.isnan(result.effect_size)


def test_a_difference_of_one_example_is_no_rounding():
  baseline = np.array([0.91, 0.93, 0.97])
  result = study.paired_difference([0.91, 0.93, 0.9701], baseline)
  assert result.p_value == pytest.approx(stats.ttest_rel([0, 0, 1e-4], [0, 0, 0]).pvalue)


@pytest.mark.parametrize("size", [0, 1])
def test_fewer_than_two_pairs_leave_the_test_undefined(size):
  result = study.paired_difference([0.9] * size, [0.8] * size)
  assert result.n == size and np.isnan(result[2:]).all()


def test_infinite_values_leave_the_difference_undefined():
  assert np.isnan(study.paired_difference([math.inf, 1.0], [math.inf, 2.0])[1:]).all()


def test_unmatched_samples_are_refused():
  with pytest.raises(ValueError, match="keep the seeds that both have"):
    study.paired_difference([0.9, 0.8], [0.9])


@pytest.mark.parametrize(
  ("p_values", "corrected"),
  [
    # By hand: 4 * 0.005 = 0.02; 3 * 0.01 = 0.03; 2 * 0.03 = 0.06; 0.04 is raised to 0.06.
    ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
    ([0.02, 0.02, 0.02], [0.06, 0.06, 0.06]),
    ([0.6, 0.9], [1.0, 1.0]),
    ([0.01, math.nan, 0.02], [0.02, math.nan, 0.02]),
    ([math.nan], [math.nan]),
    ([], []),
  ],
)
def test_holm_by_hand(p_values, corrected):
  np.testing.assert_allclose(study.holm(p_values), corrected, rtol=1e-12)


def test_holm_rejects_what_the_step_down_procedure_rejects():
  rng = np.random.default_rng(2)
  for _ in range(50):
    p_values = rng.uniform(0, 0.1, size=6)
    rejected = np.zeros(6, bool)
    for step, index in enumerate(np.argsort(p_values)):
      if p_values[index] > 0.05 / (6 - step):
        break
      rejected[index] = True
    np.testing.assert_array_equal(study.holm(p_values) <= 0.05, rejected)


@pytest.mark.parametrize(("n", "level"), [(5, 0.05), (5, 0.0125), (12, 0.05), (30, 0.01)])
def test_power_agrees_with_the_noncentral_t(n, level):
  critical = stats.t.isf(level / 2, n - 1)
  for effect_size in (0.0, 0.4, 0.9):
    shift = effect_size * math.sqrt(n)
    oracle = stats.nct.sf(critical, n - 1, shift) + stats.nct.cdf(-critical, n - 1, shift)
    power = study.paired_test_power(effect_size, n, level=level)
    assert power == pytest.approx(oracle, abs=2e-5)


@pytest.mark.parametrize(("n", "level"), [(2, 0.05), (3, 0.01), (5, 0.05)])
def test_the_detectable_difference_is_found_in_four_simulated_experiments_of_five(n, level):
  difference = study.detectable_difference(0.3, n, level=level)
  samples = np.random.default_rng(3).normal(difference, 0.3, size=(40_000, n))
  found = stats.ttest_1samp(samples, 0, axis=1).pvalue < level
  # The standard error of the share found is 0.002.
  assert found.mean() == pytest.approx(0.8, abs=0.008)


def test_the_detectable_difference_at_another_power():
  difference = study.detectable_difference(2.0, 6, level=0.02, power=0.55)
  assert statistics.paired_test_power(difference / 2.0, 6, level=0.02) == pytest.approx(0.55)


@pytest.mark.parametrize(("std", "n"), [(0.0, 5), (math.nan, 5), (0.1, 1), (0.1, 0)])
def test_without_spread_no_difference_is_detectable(std, n):
  assert math.isnan(study.detectable_difference(std, n))


@pytest.mark.parametrize("difference", [2.0, 0.9, 0.2, 0.05])
def test_pairs_needed_are_the_fewest_that_find_a_difference(difference):
  needed = statistics.pairs_needed(0.7, difference, level=0.01)
  assert study.detectable_difference(0.7, needed, level=0.01) <= difference
  assert needed == 2 or study.detectable_difference(0.7, needed - 1, level=0.01) > difference


def test_no_number_of_pairs_is_given_without_spread_or_beyond_a_million():
  assert (
    statistics.pairs_needed(0.0, 1.0) is None and statistics.pairs_needed(math.nan, 1.0) is None
  )
  assert statistics.pairs_needed(1.0, 0.0) is None and statistics.pairs_needed(1.0, 1e-6) is None
