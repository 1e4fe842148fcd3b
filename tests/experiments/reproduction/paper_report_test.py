"""A table's report: numbers, figures and captions, made of records by hand."""

import pytest

from configs import default, tables
from experiments import reproduce
from experiments.reproduction import paper_report
from softmax_research.study import figure_style


def _settings(paper, names, metrics):
  methods = (("softmax", "softmax"), ("m=2", "sm"))
  settings = {
    name: tables.setting(default.get_config(), methods, metrics=metrics) for name in names
  }
  variant = tables.variant(settings, seeds=2)
  config = tables.table(paper, full=variant, cpu=variant)
  config.variant = "cpu"
  return reproduce.choose(config)


def _record(setting, method, seed, status="finished", **measured):
  return {
    "cell": {"setting": setting, "method": method},
    "seed": seed,
    "status": status,
    "metrics": {"test": {"error": 0.004, "accuracy": 0.9}} if status == "finished" else {},
    "measured": {"uncalibrated": {"ece": 0.02}, "temperature scaling": {"ece": 0.01}} | measured,
  }


def test_rows_have_the_mean_the_papers_number_and_what_is_not_finished():
  settings = _settings("liu2016", ["mnist"], ("error",))
  records = [
    _record("mnist", "m=2", 1, selected={"error": 0.003}),
    _record("mnist", "m=2", 0, selected={"error": 0.005}),
    _record("mnist", "softmax", 0, "diverged"),
    _record("mnist", "softmax", None, "failed", error="out of luck"),
  ]
  table = paper_report.table(records, settings, "mnist", "error")
  assert table.columns == ("n", "error, %, last", "error, %, selected", "paper", "not finished")
  softmax, margin = ([cell.value for cell in row.cells] for row in table.rows)
  assert softmax[:3] == ["0", "–", "–"] and softmax[4] == "1 diverged, 1 not run, failed"
  assert margin == ["2", "0.40", "0.40", "0.32 (secondary)", "–"]
  assert table.rows[1].cells[2].spread == "± 0.14"
  finished = [_record("mnist", method, seed) for method in ("softmax", "m=2") for seed in (0, 1)]
  assert paper_report.table(finished, settings, "mnist", "error").columns[-1] == "paper"
  with pytest.raises(ValueError, match=r"'eror', which no finished record has.*'error'"):
    paper_report.table(finished, settings, "mnist", "eror")


def test_measures_have_figures_and_settings_with_runs_have_panels():
  metrics = ("error", "uncalibrated/ece", "temperature scaling/ece")
  settings = _settings("guo2017", ["mnist", "cifar10"], metrics)
  records = [_record("mnist", method, seed) for method in ("softmax", "m=2") for seed in (0, 1)]
  records.append(_record("cifar10", "softmax", 0, "diverged"))
  error, ece = paper_report.plots(records, settings)
  assert (error.name, ece.name) == ("error", "ece")
  assert error.heading == "Error beside the paper's"
  drawn = figure_style.to_svg(error.figure, error.name)
  assert ">mnist<" in drawn and "cifar10" not in drawn
  drawn = figure_style.to_svg(ece.figure, ece.name)
  for text in ("mnist, softmax", "mnist, m=2", "temperature scaling", "uncalibrated"):
    assert f">{text}<" in drawn
  assert paper_report.plots([], settings) == []


def test_a_caption_says_which_examples_judge():
  settings = _settings("agarap2018", ["mnist"], ("accuracy", "cv_accuracy"))
  test, folds = paper_report.plots([_record("mnist", "softmax", 0, cv_accuracy=0.8)], settings)
  assert test.caption.startswith("On the test split.")
  assert folds.caption.startswith("On the examples left out of the folds.")
