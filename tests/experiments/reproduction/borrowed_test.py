"""Borrowed cells: a study makes what is missing, and what it recorded is taken over."""

import pytest

from configs import tables
from experiments import reproduce
from experiments.reproduction import borrowed
from softmax_research import study
from softmax_research.study import record, runner, workdir

_CALLS = []


def _run(cell, context):
  _CALLS.append((cell["head"], context.seeds))
  for seed in context.seeds:
    yield context.record(
      seed,
      seconds=12.0,
      metrics={"test": {"perplexity": 100.0 + seed}},
      curves={"seconds": [6.0, 12.0], "steps": [300, 600]},
    )


# A study of many classes, with heads of its own.
_LENDER = study.Study(
  settings=tables.table,
  cells=lambda settings: [{"head": head} for head in settings.heads.split(",")],
  run=_run,
  report=lambda records, settings: iter(["# It"]),
  name="many_classes",
  selects=("heads", "seeds"),
  seed_by_seed=True,
)


@pytest.fixture(name="settings")
def _settings(monkeypatch):
  monkeypatch.setattr(borrowed.studies, "find", lambda name: _LENDER)
  _CALLS.clear()
  own = {"heads": "softmax,adaptive", "seeds": 2, "seconds": 5.0}
  methods = (("full", {"head": "softmax"}), ("adaptive", {"head": "adaptive"}))
  metrics = ("perplexity", "minutes", "step_ms")
  settings = {
    name: tables.setting_of_study("words", methods, metrics=metrics, published="text8")
    for name in ("words", "again")
  }
  variant = tables.variant(
    settings,
    "Another text.",
    studies={"words": ("many_classes", own)},
  )
  config = tables.table("grave2016", full=variant, cpu=variant)
  config.variant = "cpu"
  return reproduce.choose(config)


def _make(directory, settings):
  options = runner.Options(directory, "python it", formats=("md",))
  assert runner.run(reproduce.STUDY, settings, options) == []
  return workdir.read(directory)


def test_a_cell_is_run_once_by_its_study_and_its_numbers_stand_beside_the_papers(
  tmp_path, settings
):
  records = _make(tmp_path, settings)
  # One seed of all cells before the next, as the study wants it; the second setting reads them.
  assert _CALLS == [(head, (seed,)) for seed in (0, 1) for head in ("softmax", "adaptive")]
  assert len(records) == 8 and {r["study"] for r in records} == {"reproduce"}
  first = next(r for r in records if r["cell"] == {"setting": "words", "method": "full"})
  numbers = [record.look_up(first, m) for m in ("perplexity", "minutes", "step_ms")]
  assert numbers == [100.0, 0.2, 20.0] and first["time"]["seconds"] == 12.0
  assert first["config"]["study"] == "many_classes"
  assert first["config"]["settings"] == {"seconds": 5.0}
  report = (tmp_path / "report.md").read_text()
  assert "100.5 ± 0.7" in report and "- Another text." in report and "144.0" in report
  assert "D-softmax" in report.partition("nothing here stands beside")[2]


def test_what_a_study_recorded_is_taken_over_unless_it_was_made_with_other_settings(
  tmp_path, settings
):
  own = study.Context(_LENDER, settings.studies.words.settings, {"head": "softmax"}, (0, 1))
  (tmp_path / "words").mkdir()
  made = [of | {"revision": "former"} for of in _run(own.cell, own)]
  record.append(tmp_path / "words" / "results.jsonl", *made)
  _CALLS.clear()
  records = _make(tmp_path, settings)
  assert {head for head, _ in _CALLS} == {"adaptive"}
  former = {r["revision"] == "former" for r in records if r["cell"]["method"] == "full"}
  assert former == {True}

  settings.studies.words.settings.seconds = 7.0
  cell = {"setting": "words", "method": "full"}
  context = study.Context(reproduce.STUDY, settings, cell, (0,), workdir=tmp_path)
  with pytest.raises(ValueError, match=r"seconds: 5\.0 -> 7\.0"):
    next(borrowed.run(context))


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (lambda s: s.studies.words.update(name="train"), "those with readers are"),
    (lambda s: s.settings.words.update(study="none"), "the studies are words"),
    (lambda s: s.settings.words.update(methods=(("full", {"head": "sm"}),)), "fits no cell"),
    (lambda s: s.settings.words.update(methods=()), "at least one"),
  ],
)
def test_a_bad_table_is_refused(settings, change, message):
  reproduce.check(settings)
  change(settings)
  with pytest.raises(ValueError, match=message):
    reproduce.check(settings)


def test_numbers_are_taken_out_of_each_studys_records():
  made = {
    "measured": {"truth": 1.5, "estimators": {"MINE": {"estimate": 1.4}, "NWJ": {"estimate": None}}}
  }
  read = borrowed.READERS["mutual_information.gaussians"]
  assert read(made, {"estimator": "MINE"}) == {
    "information": 1.4, "bias": pytest.approx(-0.1)
  }  # fmt: skip
  assert read(made, {"estimator": "NWJ"}) == {"information": None, "bias": None}
  judged = {"capped": {"as_is": {"accuracy": 0.9}}, "balanced": {"as_is": {"accuracy": 0.8}}}
  read = borrowed.READERS["imbalance"]
  assert read({"metrics": judged}, {"judgement": "capped"}) == {"accuracy": 0.9}
