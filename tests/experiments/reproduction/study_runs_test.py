"""Study runs: what is missing runs, the table is made of what there is, bad input is refused."""

import json
import pathlib
import sys

import pytest

from configs import studies, tables
from experiments.reproduction import studied, study_runs


def _config(seeds=2, **changes):
  study = studies.study("many_classes", "--config.seeds={seeds}", seeds=seeds, seconds=90)
  methods = (("full", "softmax"), ("adaptive", "adaptive"))
  setting = studies.setting("words", methods, metrics=("perplexity",), published="text8")
  variant = studies.variant({"words": study}, {"words": setting}, deviations=("Another text.",))
  variant.update(changes)
  return tables.table("grave2016", full=variant, cpu=variant)


def _record(head, seed):
  return {
    "head": head,
    "seed": seed,
    "status": "finished",
    "metrics": {"test": {"perplexity": 100.0 + seed}},
    "curves": {"seconds": [12.0], "steps": [600]},
    "versions": {"jax": "1"},
    "device": "cpu",
    "git_revision": "0",
    "finished_at": "now",
  }


class _Study:
  """Stand in for a study's process: it appends records of the heads and counts its calls."""

  def __init__(self, *heads, status=0):
    self.heads, self.status, self.calls = heads, status, []

  def __call__(self, argv):
    self.calls.append(argv)
    (directory,) = (a.removeprefix("--workdir=") for a in argv if a.startswith("--workdir="))
    path = pathlib.Path(directory) / "results.jsonl"
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
      for head in self.heads:
        file.writelines(json.dumps(_record(head, seed)) + "\n" for seed in (0, 1))
    return self.status


def test_a_study_runs_until_it_is_finished_and_the_table_has_the_papers_numbers(tmp_path, capsys):
  table = studied.make_table(_config(), "cpu")
  half = _Study("softmax", status=1)
  assert study_runs.run(table, tmp_path, ["words"], typed="it", call=half) == ["words"]
  report = (tmp_path / "report.md").read_text()
  assert "100.5 ± 0.7" in report and "2 not run" in report and "- Another text." in report
  assert "| full " in report and "144.0" in report  # The paper's.
  assert "D-softmax*" in report.partition("nothing here stands beside")[2]
  study_runs.list_studies(table, tmp_path, ["words"])
  assert "words: about 45 s" in capsys.readouterr().out

  rest = _Study("adaptive")
  assert study_runs.run(table, tmp_path, ["words"], typed="it", call=rest) == []
  assert rest.calls[0][1:4] == ["-m", "experiments.many_classes", "--config.seeds=2"]
  assert study_runs.run(table, tmp_path, ["words"], typed="it", call=rest) == []
  assert len(rest.calls) == 1  # A finished study is not run again.
  records = (tmp_path / "results.jsonl").read_text().splitlines()
  assert len(records) == 4 and json.loads(records[0])["paper"] == "grave2016"
  assert "not run" not in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (lambda c: c.cpu.studies.words.update(script="train"), "scripts of studies are"),
    (lambda c: c.cpu.studies.words.update(seeds=0), "seeds=0"),
    (lambda c: c.cpu.settings.words.update(study="none"), "the studies are words"),
    (lambda c: c.cpu.settings.words.update(methods=()), "at least one"),
    (lambda c: c.update(paper="nobody1999"), "the papers are"),
  ],
)
def test_a_bad_table_is_refused(change, message):
  config = _config().copy_and_resolve_references()
  change(config)
  with pytest.raises(ValueError, match=message):
    studied.make_table(config, "cpu")


def test_a_study_that_was_made_with_other_arguments_is_not_taken_for_this_one(tmp_path):
  table = studied.make_table(_config(), "cpu")
  (tmp_path / "config.json").write_text(json.dumps(table.describe()))
  (tmp_path / "words").mkdir()
  studied.check_unchanged(table, tmp_path)
  config = _config(seeds=9).copy_and_resolve_references()
  studied.check_unchanged(studied.make_table(config, "cpu"), tmp_path)
  config.cpu.studies.words.arguments = ("--config.seconds=99",)
  changed = studied.make_table(config, "cpu")
  with pytest.raises(ValueError, match="other arguments now"):
    studied.check_unchanged(changed, tmp_path)
  studied.check_unchanged(changed, tmp_path / "new")


def test_studies_can_be_chosen():
  table = studied.make_table(_config(), "cpu")
  assert studied.choose(table, "") == studied.choose(table, "^w") == ["words"]
  with pytest.raises(ValueError, match="they are words"):
    studied.choose(table, "wrods")
  with pytest.raises(ValueError, match="regular expression"):
    studied.choose(table, "(")


def test_a_signal_goes_on_to_the_study_and_ends_the_table_after_it(capsys):
  assert study_runs._call([sys.executable, "-c", "raise SystemExit(3)"]) == 3
  kill = "import os, signal, time; os.kill(os.getppid(), signal.SIGTERM); time.sleep(600)"
  with pytest.raises(SystemExit) as stopped:
    study_runs._call([sys.executable, "-c", kill])
  assert stopped.value.code == 143 and "goes on" in capsys.readouterr().out
