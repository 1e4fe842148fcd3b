"""Tables hold the right numbers in the right cells."""

import pytest

from softmax_research.study import group, tables
from tests.study.fake_records import make_diverged, make_ensemble, make_record, make_run, make_runs

_ACCURACIES = {"softmax": (0.95, 0.97), "taylor": (0.96, 0.99)}


def test_a_row_has_mean_spread_interval_and_ensemble():
  records = make_runs(_ACCURACIES)
  records.append(make_ensemble("softmax", [0, 1], accuracy=0.975, nll=None))
  table = tables.table(records, measure=("accuracy", "nll"))
  assert table.columns == ("n", "accuracy, %", "NLL, nats") and table.name_column == "head"
  assert [row.name for row in table.rows] == ["softmax", "ensemble of 2", "taylor"]
  assert [row.subordinate for row in table.rows] == [False, True, False]
  n, accuracy, nll = table.rows[0].cells
  assert n.value == "2"
  # The half-width is t(1 degree, 97.5%) * 0.01414 / sqrt(2) = 12.706 * 0.01.
  assert accuracy == ("96.00", "± 1.41", "[83.29, 108.71]", False)
  assert nll[:3] == ("0.2000", "± 0.0000", "[0.2000, 0.2000]")
  assert [cell.value for cell in table.rows[1].cells] == ["", "97.50", "∞"]
  (row, *_) = tables.table(records, measure="accuracy", interval=False, baseline="taylor").rows
  assert row.name == "taylor" and row.cells[1] == ("97.50", "± 2.12", "", False)


def test_one_seed_and_no_seed_have_dashes():
  one, none = tables.table([make_run("a", 0), make_diverged("b", 0)], measure="accuracy").rows
  assert one.cells[0].value == "1" and one.cells[1][1:3] == ("± –", "")
  assert none.cells[0].value == "0" and none.cells[1][:3] == ("–", "± –", "")


def test_what_no_record_has_is_refused():
  records = [*make_runs(_ACCURACIES), make_diverged("taylor", 2)]
  for what in (records, group(records)):
    for make in (tables.table, tables.differences, tables.compared):
      with pytest.raises(ValueError, match=r"'acuracy', which no finished .* mean 'accuracy'\?"):
        make(what, measure="acuracy")
  with pytest.raises(ValueError, match=r"Got 'hed', which no cell has; cells have head\. Did you"):
    tables.table(records, measure="accuracy", rows="hed")
  with pytest.raises(ValueError, match="Got 'hed'"):
    tables.table(records, measure="accuracy", columns="hed")
  # Where nothing finished nobody can tell.
  tables.table(records[-1:], measure="acuracy")


def test_two_items_of_the_cells_make_rows_and_columns():
  records = [
    make_record(
      seed=seed,
      cell={"sampler": sampler, "num_samples": number, "labels": True},
      measured={"bias": number / 100 + seed},
    )
    for sampler, number in (("uniform", 10), ("uniform", 20), ("log_uniform", 20))
    for seed in (0, 1)
  ]
  table = tables.table(records, measure="bias", rows="sampler", columns="num_samples")
  assert table.columns == ("num samples 10", "num samples 20") and table.name_column == "sampler"
  values = {row.name: [cell.value for cell in row.cells] for row in table.rows}
  assert values == {"uniform": ["0.6000", "0.7000"], "log_uniform": ["–", "0.7000"]}
  assert tables.table(records, measure="bias", columns="num_samples").rows == table.rows


def test_differences_have_interval_and_tests():
  (row,) = (table := tables.differences(make_runs(_ACCURACIES), measure="accuracy")).rows
  values = dict(zip(table.columns, row.cells, strict=True))
  assert row.name == "taylor" and table.name == "differences_accuracy"
  # Differences of 0.01 and 0.02: mean 0.015, std 0.00707, t = 3, p = 0.2048 for one degree.
  assert values["pairs"].value == "2"
  assert values["difference, points"].value == "+1.50"
  assert values["95% interval"].value == "[−4.85, +7.85]"
  assert values["p"].value == "0.20" and values["p (Holm)"] == ("0.20", "", "", False)
  assert values["effect size"].value == "+2.12"
  assert float(values["detectable, points"].value) == pytest.approx(9.5, abs=2.5)


def test_a_significant_difference_is_strong():
  records = make_runs({"a": (0.9, 0.8, 0.85), "b": (0.7, 0.601, 0.649)})
  (row,) = tables.differences(records, measure="accuracy").rows
  assert row.cells[4].strong and row.cells[4].value == "< 0.001"


def test_costs_are_medians():
  records = [make_run("softmax", seed) for seed in range(4)]
  for record, speed in zip(records, (1000, 4000, 2000, None), strict=True):
    record["measured"]["images_per_second"] = speed
  (row,) = tables.cost(group(records)).rows
  assert [cell.value for cell in row.cells] == ["85,002", "2,000", "4.2"]
  (row,) = tables.cost(group([make_record("a")])).rows
  assert [cell.value for cell in row.cells] == ["–", "–", "4.2"]


def test_runs_that_did_not_finish_are_listed():
  diverged = make_diverged("b", 3)
  assert tables.unfinished([make_run("a", 0)]) is None
  table = tables.unfinished([make_run("a", 0), diverged])
  assert table.columns == ("seed", "status", "step", "last finite loss")
  (row,) = table.rows
  assert row.name == "b"
  assert [cell.value for cell in row.cells] == ["3", "diverged", "120", "3.2500"]
  diverged["measured"]["diverged"]["last_finite_loss"] = None
  failed = make_record("c", None, status="failed", measured={"error": "out of memory"})
  table = tables.unfinished([diverged, failed])
  assert table.columns == ("seed", "status", "step", "error")
  assert [cell.value for cell in table.rows[1].cells] == ["–", "failed", "–", "out of memory"]
