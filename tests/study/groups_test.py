"""Groups: what rows are named by, which records are theirs, and their order."""

import math

import pytest

from softmax_research.study import groups
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
