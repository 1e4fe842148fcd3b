"""The report of compared classifiers explains every dash, sign and infinity that it holds."""

import pytest

from softmax_research.study import classifier_report, group
from softmax_research.study.blocks import Plot, Table
from tests.study.fake_records import make_diverged, make_ensemble, make_record, make_run, make_runs


def _blocks(records, **options):
  return list(classifier_report.report(records, **options))


def _texts(blocks):
  return [block for block in blocks if isinstance(block, str)]


def test_every_part_is_there_in_its_order():
  records = make_runs({"softmax": [0.95, 0.94, 0.96], "taylor": [0.96, 0.99, 0.95]})
  records += [make_ensemble("softmax", [0, 1, 2]), make_diverged("sm", 0)]
  blocks = _blocks(records)
  assert blocks[0] == "# 3 softmax heads on digits"
  headings = [text.removeprefix("## ") for text in _texts(blocks) if text.startswith("## ")]
  assert headings == [
    "Test metrics",
    "Paired differences",
    "Learning curves",
    "Reliability on the test split",
    "Confusion on the test split",
    "Worst-classified images",
    "Caveats",
    "Cost",
  ]
  assert [block.name for block in blocks if isinstance(block, Table)] == [
    "summary",
    "differences_accuracy",
    "differences_nll",
    "cost",
  ]
  assert [block.name for block in blocks if isinstance(block, Plot)] == [
    "paired_differences",
    "learning_curves",
    "reliability",
    "confusion",
    "worst_images",
  ]
  assert all(len(block.rows) in (2, 3, 4) for block in blocks if isinstance(block, Table))
  assert "among the worst" not in blocks[-6].caption if isinstance(blocks[-6], Plot) else True


def test_rows_are_named_by_what_differs():
  records = [
    run | {"cell": {"head": "sm", "backbone": name}}
    for name in ("mlp", "cnn")
    for run in make_runs({name: [0.9, 0.95]})
  ]
  blocks = _blocks(records)
  assert blocks[0] == "# 2 backbones on digits"
  assert "No two" not in blocks[1] and "backbone" in " ".join(_texts(blocks))
  summary = next(block for block in blocks if isinstance(block, Table))
  assert (summary.name_column, [row.name for row in summary.rows]) == ("backbone", ["mlp", "cnn"])


@pytest.mark.parametrize(
  ("records", "expected"),
  [
    ([make_run("softmax", 0)], "one seed has no spread"),
    ([make_run("softmax", 0), make_run("softmax", 1), make_run("taylor", 1)], "No two heads share"),
    ([make_diverged("softmax", 0), make_diverged("taylor", 0)], "No run finished"),
    ([make_diverged("softmax", 0), make_run("taylor", 0)], "taylor classifies"),
    ([make_record("softmax", metrics={"test": {"accuracy": 0.5}})], "softmax classifies 50.00%"),
  ],
)
def test_odd_results_have_a_report(records, expected):
  blocks = _blocks(records, title="My *title*")
  assert blocks[0] == "# My \\*title\\*" and expected in blocks[1]
  assert "Worst-classified" not in " ".join(_texts(blocks))


def test_notes_explain_what_stands_in_the_summary():
  runs = [make_run("softmax", seed) for seed in range(3)]

  def notes(records):
    return [b for b in classifier_report.metrics(group(records)) if isinstance(b, str)]

  assert len(notes(runs)) == 1
  assert "ensemble" in notes([*runs, make_ensemble("softmax", [0, 1, 2])])[1]
  assert "one seed has neither" in notes(runs[:1])[1]
  runs[0]["metrics"]["test"]["nll"] = None
  assert "∞" in notes(runs)[1]


@pytest.mark.parametrize(
  ("change", "reason"),
  [
    (lambda run: run.update(seed=7), "a test needs two seeds in common"),
    (lambda run: run["metrics"]["test"].update(accuracy=0.95), "all seeds differ by the same"),
    (lambda run: run["metrics"]["test"].update(accuracy=None), "a value is not finite"),
  ],
)
def test_notes_explain_undefined_tests(change, reason):
  runs = make_runs({"softmax": [0.95, 0.94], "taylor": [0.96, 0.99]})
  change(runs[3])
  notes = _texts(classifier_report.differences(group(runs)))
  assert any(note.startswith("– for taylor: ") and reason in note for note in notes)
