"""Groups: what names rows, which records are theirs, their order, and their differences."""

import math

import numpy as np
import pytest
from scipy import stats

from softmax_research.study import detectable_difference, groups, holm
from tests.study.fake_records import make_diverged, make_ensemble, make_record, make_run, make_runs


def _cell(seed=0, **cell):
  return make_record(seed=seed, cell=cell)


def test_rows_are_named_by_what_differs():
  made = [_cell(head="sm", backbone="mlp"), _cell(head="sm", backbone="cnn")]
  assert [of.name for of in groups.group(made)] == ["mlp", "cnn"]
  assert [of.name for of in groups.group(made[:1])] == ["sm / mlp"]
  made.append(_cell(head="taylor", backbone="cnn"))
  assert [of.name for of in groups.group(made)] == ["sm / mlp", "sm / cnn", "taylor / cnn"]
  assert [of.name for of in groups.group(made[:2], lambda of: of["cell"]["backbone"][0])] == [
    "m",
    "c",
  ]
  sampled = [_cell(sampler="uniform", num_samples=10), _cell(sampler="uniform", num_samples=100)]
  assert [of.name for of in groups.group(sampled)] == ["10", "100"]
  assert [of.name for of in groups.group(sampled, ("sampler", "num_samples"))] == [
    "uniform / num_samples=10",
    "uniform / num_samples=100",
  ]
  assert groups.group([]) == []


def test_a_group_holds_its_seeds_in_order_and_its_ensemble():
  made = [make_run("a", 2), make_run("a", 0), make_diverged("a", 1), make_ensemble("a", [0, 2])]
  (group,) = groups.group(made)
  assert group.name == "a" and list(group.finished) == [0, 2]
  assert group.unfinished == (made[2],) and group.ensemble is made[3]
  accuracies = [made[i]["metrics"]["test"]["accuracy"] for i in (1, 0)]
  assert group.values("accuracy") == dict(zip((0, 2), accuracies, strict=True))


def test_names_are_on_one_line():
  assert groups.group([make_record("a\n b")])[0].name == "a b"


def test_two_cells_in_one_row_are_an_error():
  made = [_cell(head="sm", backbone="mlp"), _cell(head="sm", backbone="cnn")]
  with pytest.raises(ValueError, match="'sm' has two records of seed 0: sm / mlp and sm / cnn"):
    groups.group(made, "head")


def test_many_rows_are_sorted_behind_the_baseline():
  few = groups.group(make_runs({"a": [0.5], "b": [0.7], "c": [0.9]}))
  assert [of.name for of in groups.arrange(few, "accuracy")] == ["a", "b", "c"]
  assert [of.name for of in groups.arrange(few, "accuracy", baseline="b")] == ["b", "a", "c"]
  many = groups.group(
    [*make_runs({f"h{i}": [0.5 + 0.01 * i] for i in range(9)}), make_diverged("none", 0)]
  )
  best_first = [f"h{i}" for i in range(8, 0, -1)]
  assert [of.name for of in groups.arrange(many, "accuracy")] == ["h0", *best_first, "none"]
  worst = groups.arrange(many, "error")
  errors = [of.values("error").get(0, math.inf) for of in worst[1:]]
  assert errors == sorted(errors)
  with pytest.raises(ValueError, match="baseline 'd'; the rows are a, b, c"):
    groups.arrange(few, "accuracy", baseline="d")


def _groups(**values):
  """Return groups whose runs have the given accuracies by seed."""
  return groups.group(
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
  first, second = groups.compare(_groups(softmax=softmax, taylor=taylor, sm=sm), "accuracy")
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
  compared = _groups(
    softmax={0: 0.95, 1: 0.97, 2: 0.96}, constant=constant, few={0: 0.9}, none={7: 0.9}, v=varying
  )
  constant, few, none, varying = groups.compare(compared, "accuracy")
  for of in (constant, few, none):
    assert math.isnan(of.p_corrected) and math.isnan(of.detectable) and not of.significant
  assert [of.paired.n for of in (constant, few, none)] == [3, 1, 0]
  assert varying.p_corrected == varying.paired.p_value


def test_infinite_losses_have_no_difference():
  compared = _groups(softmax={0: math.inf, 1: 0.5}, sm={0: math.inf, 1: 0.25})
  (of,) = groups.compare(compared, "accuracy")
  assert math.isnan(of.values[0]) and of.values[1] == -0.25 and math.isnan(of.p_corrected)


def test_one_row_has_nothing_to_be_compared_with():
  assert (
    groups.compare(_groups(softmax={0: 0.95}), "accuracy") == groups.compare([], "accuracy") == []
  )
