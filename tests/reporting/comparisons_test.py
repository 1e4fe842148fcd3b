"""Comparison of heads over their common seeds."""

import math

import numpy as np
import pytest
from scipy import stats

from softmax_research.reporting import detectable_difference, group_by_head, holm
from softmax_research.reporting.comparisons import compare_heads
from tests.reporting.fake_results import make_run


def _heads(**values):
  """Return heads whose runs have the given accuracies by seed."""
  records = []
  for name, by_seed in values.items():
    for seed, accuracy in by_seed.items():
      record = make_run(name, seed, heads=list(values))
      record["metrics"]["test"]["accuracy"] = accuracy
      records.append(record)
  return group_by_head(records)


def test_heads_are_paired_over_common_seeds_and_corrected():
  softmax = {0: 0.95, 1: 0.97, 2: 0.96, 3: 0.90}
  taylor = {3: 0.93, 1: 0.99, 2: 0.97}
  sm = {0: 0.97, 1: 0.98, 2: 0.99, 4: 0.10}
  first, second = compare_heads(_heads(softmax=softmax, taylor=taylor, sm=sm), "accuracy")
  assert (first.head, first.seeds) == ("taylor", (1, 2, 3))
  assert (second.head, second.seeds) == ("sm", (0, 1, 2))
  np.testing.assert_allclose(first.differences, [0.02, 0.01, 0.03])
  p_values = [
    stats.ttest_rel([0.99, 0.97, 0.93], [0.97, 0.96, 0.90]).pvalue,
    stats.ttest_rel([0.97, 0.98, 0.99], [0.95, 0.97, 0.96]).pvalue,
  ]
  np.testing.assert_allclose([first.paired.p_value, second.paired.p_value], p_values)
  np.testing.assert_allclose([first.p_corrected, second.p_corrected], holm(p_values))
  assert first.detectable == pytest.approx(detectable_difference(0.01, 3, level=0.025))


def test_undefined_comparisons_do_not_count():
  constant = {0: 0.96, 1: 0.98, 2: 0.97}
  varying = {0: 0.99, 1: 0.98, 2: 0.99}
  heads = _heads(
    softmax={0: 0.95, 1: 0.97, 2: 0.96}, constant=constant, few={0: 0.9}, none={7: 0.9}, v=varying
  )
  constant, few, none, varying = compare_heads(heads, "accuracy")
  for comparison in (constant, few, none):
    assert math.isnan(comparison.p_corrected) and math.isnan(comparison.detectable)
    assert not comparison.significant
  assert [c.paired.n for c in (constant, few, none)] == [3, 1, 0]
  assert varying.p_corrected == varying.paired.p_value


def test_infinite_losses_have_no_difference():
  heads = _heads(softmax={0: math.inf, 1: 0.5}, sm={0: math.inf, 1: 0.25})
  (comparison,) = compare_heads(heads, "accuracy")
  assert math.isnan(comparison.differences[0]) and comparison.differences[1] == -0.25
  assert math.isnan(comparison.p_corrected)


def test_one_head_has_nothing_to_be_compared_with():
  assert compare_heads(_heads(softmax={0: 0.95}), "accuracy") == []
