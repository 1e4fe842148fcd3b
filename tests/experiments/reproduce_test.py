"""A whole table: trained, its failing cell reported, gone on with, reported, estimated."""

import pytest

from experiments import assembly
from experiments.reproduction import measures, paper_table
from softmax_research.study import runner, workdir
from tests.experiments.reproduction import tiny
from tests.experiments.scripts import run_script


def _options(directory, **changes):
  options = runner.Options(
    directory, "python it", formats=("md",), devices=assembly.device_options()
  )
  return options._replace(**changes)


@pytest.fixture(name="made", scope="module")
def _made(tmp_path_factory):
  """The working directory of the tiny table, and the names of the cells that failed."""
  directory = tmp_path_factory.mktemp("table")
  with pytest.MonkeyPatch.context() as patch:
    # The others, which have tests of their own, take seconds to fit.
    one = {"temperature scaling": measures.CALIBRATIONS["temperature scaling"]}
    patch.setattr(measures, "CALIBRATIONS", one)
    failed = runner.run(paper_table.STUDY, tiny.variant(), _options(directory))
  return directory, failed


def _records(directory, setting, *, trials=False):
  return [
    made
    for made in workdir.read(directory)
    if made["cell"]["setting"] == setting and ("trial" in made["cell"]) == trials
  ]


def test_all_cells_but_the_failing_one_are_recorded(made):
  directory, failed = made
  assert failed == ["failing / m=2, seeds 0, 1"]
  assert [r["seed"] for r in _records(directory, "folds")] == [0, 1]
  (failure,) = _records(directory, "failing")
  assert failure["status"] == "failed" and "nothing can be measured" in failure["measured"]["error"]
  folds = _records(directory, "folds")[0]["measured"]
  assert {"cv_accuracy", "fold1_accuracy", "fold2_accuracy", "num_parameters"} <= set(folds)


def test_a_run_has_the_selected_epoch_and_all_measures(made):
  first = _records(made[0], "mnist")[0]
  assert first["config"]["variant"] == "cpu" and len(first["curves"]["test_accuracy"]) == 2
  measured = first["measured"]
  best = max(first["curves"]["validation_accuracy"])
  assert measured["selected"]["validation_accuracy"] == best
  assert 0 < measured["temperature scaling"]["ece"] < 1
  attacked = measured["PGD 8"]
  assert attacked["worst_accuracy"] <= attacked["margin_accuracy"] <= attacked["clean_accuracy"]
  assert len(measured["plane"]["points"]) == 10 and measured["num_parameters"] > 500


def test_runs_take_what_the_trials_chose_without_the_test_split(made):
  trials, runs = (_records(made[0], "mnist", trials=of) for of in (True, False))
  assert [r["seed"] for r in trials] == [1000, 1000]
  assert all(list(r["metrics"]) == ["validation"] for r in trials)
  assert not any("test_accuracy" in r["curves"] for r in trials)
  assert all(r["measured"]["values"] == {"optimizer.learning_rate": 0.01} for r in runs)
  assert runs[0]["config"]["search"] == [["optimizer.learning_rate", [1e-6, 1e-2]]]
  assert "learning_rate" not in runs[0]["config"]["train"]["optimizer"]
  assert trials[0]["config"]["train"]["optimizer"]["learning_rate"] == 1e-6


def test_the_report_has_ours_beside_the_papers(made):
  report = (made[0] / "report.md").read_text()
  assert "Variant: cpu" in report and "- Digits in place of MNIST." in report
  assert "99.68" in report  # The paper's m=2.
  assert "learning_rate=0.01" in report and "2 not run, failed" in report
  for name in ("accuracy", "ece", "cv_accuracy", "mnist_plane"):
    assert f"(figures/{name}.svg)" in report and (made[0] / "figures" / f"{name}.svg").is_file()
  assert not (made[0] / "checkpoints" / "mnist").exists()


def test_what_is_left_is_listed_and_what_is_finished_compared(made, capsys):
  directory, _ = made
  runner.run(paper_table.STUDY, tiny.variant(), _options(directory, dry_run=True, only="folds"))
  assert "0 cells" in capsys.readouterr().out
  options = _options(directory, dry_run=True, estimate_all=True, only="folds")
  runner.run(paper_table.STUDY, tiny.variant(), options)
  printed = capsys.readouterr().out
  assert "folds / m=2, seeds 0, 1: about" in printed
  assert " times" in printed.splitlines()[-1]


def test_methods_whose_trials_are_elsewhere_wait_for_them(tmp_path, capsys):
  options = _options(tmp_path, only="mnist / m=2$")
  assert runner.run(paper_table.STUDY, tiny.variant(), options) == []
  assert "skipped: its search lacks learning_rate=1e-06" in capsys.readouterr().out


def test_the_command_line_has_variants_and_says_what_is_wrong():
  usage = run_script("reproduce", "--config=configs/liu2016.py", "--help").stdout
  assert "--variant: Full, the paper's protocol" in usage and "--estimate_all" in usage
  with pytest.raises(ValueError, match="the variants are cpu, full"):
    tiny.variant("huge")
