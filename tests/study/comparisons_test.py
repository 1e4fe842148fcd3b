"""Comparisons over the seeds that two rows have in common."""

import math

import numpy as np
import pytest
from scipy import stats

from softmax_research.study import detectable_difference, group, holm
from softmax_research.study.comparisons import compare
from tests.study.fake_records import make_record


def _groups(**values):
  """Return groups whose runs have the given accuracies by seed."""
  return group(
    [
      make_record(name, seed, metrics={"test": {"accuracy": accuracy}})
      for name, by_seed in values.items()
      for seed, accuracy in by_seed.items()
    ]
  )


def test_rows_are_paired_over_common_seeds_and_corrected():
  softmax = {0: 0.95, 1: 0.97, 2: 0.96, 3: 0.90}
  taylor = {3: 0.93, 1: 0.99, 2: 0.97}
  sm = {0: 0.97, 1: 0.98, 2: 0.99, 4: 0.10}
  first, second = compare(_groups(softmax=softmax, taylor=taylor, sm=sm), "accuracy")
  assert (first.name, list(first.values)) == ("taylor", [1, 2, 3])
  assert (second.name, list(second.values)) == ("sm", [0, 1, 2])
  np.testing.assert_allclose(list(first.values.values()), [0.02, 0.01, 0.03])
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
  groups = _groups(
    softmax={0: 0.95, 1: 0.97, 2: 0.96}, constant=constant, few={0: 0.9}, none={7: 0.9}, v=varying
  )
  constant, few, none, varying = compare(groups, "accuracy")
  for of in (constant, few, none):
    assert math.isnan(of.p_corrected) and math.isnan(of.detectable) and not of.significant
  assert [of.paired.n for of in (constant, few, none)] == [3, 1, 0]
  assert varying.p_corrected == varying.paired.p_value


def test_infinite_losses_have_no_difference():
  groups = _groups(softmax={0: math.inf, 1: 0.5}, sm={0: math.inf, 1: 0.25})
  (of,) = compare(groups, "accuracy")
  assert math.isnan(of.values[0]) and of.values[1] == -0.25 and math.isnan(of.p_corrected)


def test_one_row_has_nothing_to_be_compared_with():
  assert compare(_groups(softmax={0: 0.95}), "accuracy") == compare([], "accuracy") == []
