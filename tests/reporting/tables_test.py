"""Tables hold the right numbers in the right cells."""

import pytest

from softmax_research.reporting import group_by_head, measures, tables
from softmax_research.reporting.comparisons import compare_heads
from tests.reporting.fake_results import make_diverged, make_ensemble, make_run


def _records():
  records = [
    make_run(head, seed, heads=["softmax", "taylor"])
    for head in ("softmax", "taylor")
    for seed in (0, 1)
  ]
  for record, accuracy in zip(records, (0.95, 0.97, 0.96, 0.99), strict=True):
    record["metrics"]["test"] |= {"accuracy": accuracy, "nll": 1 - accuracy}
  return records


def test_summary_has_mean_spread_interval_and_ensemble():
  records = [*_records(), make_ensemble("softmax", [0, 1]), make_ensemble("taylor", [0])]
  records[-2]["metrics"]["test"] |= {"accuracy": 0.975, "nll": None}
  table = tables.summary_table(group_by_head(records))
  assert table.columns == (
    "n",
    "accuracy, %",
    "error, %",
    "NLL, nats",
    "ECE, %",
    "Brier",
    "macro accuracy, %",
  )
  assert [row.name for row in table.rows] == ["softmax", "ensemble of 2", "taylor"]
  assert [row.subordinate for row in table.rows] == [False, True, False]
  n, accuracy, _, nll, *_ = table.rows[0].cells
  assert n.value == "2"
  # The half-width is t(1 degree, 97.5%) * 0.01414 / sqrt(2) = 12.706 * 0.01.
  assert accuracy == ("96.00", "± 1.41", "[83.29, 108.71]", False)
  assert nll[:3] == ("0.0400", "± 0.0141", "[−0.0871, 0.1671]")
  assert [cell.value for cell in table.rows[1].cells[:2]] == ["", "97.50"]
  assert table.rows[1].cells[3].value == "∞"


def test_one_seed_and_no_seed_have_dashes():
  records = [make_run("softmax", 0), make_diverged("taylor", 0)]
  one, none = tables.summary_table(group_by_head(records)).rows
  assert one.cells[0].value == "1" and one.cells[1][1:3] == ("± –", "")
  assert none.cells[0].value == "0" and none.cells[1][:3] == ("–", "± –", "")


def test_comparison_has_difference_interval_and_tests():
  heads = group_by_head(_records())
  table = tables.comparison_table(compare_heads(heads, "accuracy"), measures.ACCURACY)
  (row,) = table.rows
  values = dict(zip(table.columns, row.cells, strict=True))
  assert row.name == "taylor"
  # Differences of 0.01 and 0.02: mean 0.015, std 0.00707, t = 3, p = 0.2048 for one degree.
  assert values["pairs"].value == "2"
  assert values["difference, points"].value == "+1.50"
  assert values["95% interval"].value == "[−4.85, +7.85]"
  assert values["p"].value == "0.20" and values["p (Holm)"] == ("0.20", "", "", False)
  assert values["effect size"].value == "+2.12"
  assert float(values["detectable, points"].value) == pytest.approx(9.5, abs=2.5)


def test_a_significant_difference_is_strong():
  records = [make_run(head, seed, heads=["a", "b"]) for head in ("a", "b") for seed in range(3)]
  for record, accuracy in zip(records, (0.9, 0.8, 0.85, 0.7, 0.601, 0.649), strict=True):
    record["metrics"]["test"]["accuracy"] = accuracy
  (row,) = tables.comparison_table(
    compare_heads(group_by_head(records), "accuracy"), measures.ACCURACY
  ).rows
  assert row.cells[4].strong and row.cells[4].value == "< 0.001"


def test_costs_are_medians():
  records = [make_run("softmax", seed) for seed in range(4)]
  for record, speed in zip(records, (1000, 4000, 2000, None), strict=True):
    record["images_per_second"] = speed
  del records[0]["wall_seconds"]
  (row,) = tables.cost_table(group_by_head(records)).rows
  assert [cell.value for cell in row.cells] == ["85,002", "2,000", "4.2"]


def test_diverged_runs_are_listed():
  heads = group_by_head([make_run("a", 0), make_diverged("b", 3)])
  (row,) = tables.diverged_table(heads).rows
  assert row.name == "b" and [cell.value for cell in row.cells] == ["3", "120", "3.2500"]
  assert tables.diverged_table(heads[:1]) is None


def test_a_diverged_run_without_a_finite_loss_has_a_dash():
  record = make_diverged("b", 3)
  record["diverged"]["last_finite_loss"] = None
  (row,) = tables.diverged_table(group_by_head([record])).rows
  assert row.cells[2].value == "–"
