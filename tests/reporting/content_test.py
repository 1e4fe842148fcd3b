"""The content of a report explains every dash, sign and infinity that it holds."""

import pytest

from softmax_research.reporting import group_by_head
from softmax_research.reporting.content import make_content
from tests.reporting.fake_results import make_diverged, make_ensemble, make_run


def _content(records, **options):
  return make_content(group_by_head(records), **options)


def test_titles():
  one, two = make_run("softmax", 0), make_run("taylor", 0)
  assert _content([one]).title == "softmax on digits"
  assert _content([one, two]).title == "2 softmax heads on digits"
  assert _content([one, two], title="My title").title == "My title"
  del one["dataset"]
  assert _content([one]).title == "softmax"


def test_notes_explain_what_stands_in_the_summary():
  runs = [make_run("softmax", seed) for seed in range(3)]
  assert len(_content(runs).summary.notes) == 1
  notes = _content([*runs, make_ensemble("softmax", [0, 1, 2])]).summary.notes
  assert "ensemble" in notes[1]
  assert "one seed has neither" in _content(runs[:1]).summary.notes[1]
  runs[0]["metrics"]["test"]["nll"] = None
  assert "∞" in _content(runs).summary.notes[1]


@pytest.mark.parametrize(
  ("change", "reason"),
  [
    (lambda run: run.update(seed=7), "a test needs two seeds in common"),
    (lambda run: run["metrics"]["test"].update(accuracy=0.95), "all seeds differ by the same"),
    (lambda run: run["metrics"]["test"].update(accuracy=None), "a value is not finite"),
  ],
)
def test_notes_explain_undefined_tests(change, reason):
  runs = [make_run(head, seed) for head in ("softmax", "taylor") for seed in (0, 1)]
  for run, accuracy in zip(runs, (0.95, 0.94, 0.96, 0.99), strict=True):
    run["metrics"]["test"]["accuracy"] = accuracy
  assert not _content(runs).comparisons[0].notes
  change(runs[3])
  notes = _content(runs).comparisons[0].notes
  assert len(notes) == 1 and notes[0].startswith("– for taylor: ") and reason in notes[0]


def test_comparisons_need_two_heads():
  assert _content([make_run("softmax", 0)]).comparisons == []
  names = [section.name for section in _content([make_run("a", 0), make_run("b", 0)]).comparisons]
  assert names == ["differences_accuracy", "differences_nll"]


def test_diverged_runs_have_a_section():
  assert _content([make_run("a", 0)]).diverged is None
  assert _content([make_run("a", 0), make_diverged("a", 1)]).diverged.table.rows[0].name == "a"
