"""Figures of a table: one a measure, with the settings that have finished runs as panels."""

from configs import default, tables
from experiments.reproduction import figures
from experiments.reproduction.protocol import make_protocol
from experiments.reproduction.queue import Merged


def _protocol():
  methods = (("softmax", "softmax"), ("m=2", "sm"))
  metrics = ("error", "uncalibrated/ece", "temperature scaling/ece")
  settings = {
    name: tables.setting(default.get_config(), methods, metrics=metrics)
    for name in ("mnist", "cifar10")
  }
  variant = tables.variant(settings, deviations=())
  return make_protocol(tables.table("liu2016", full=variant, cpu=variant), "full")


def _run(status="finished"):
  return {
    "status": status,
    "metrics": {"test": {"error": 0.004}},
    "measured": {"uncalibrated": {"ece": 0.02}, "temperature scaling": {"ece": 0.01}},
  }


def test_measures_have_figures_and_settings_have_panels():
  runs = {("mnist", method, seed): _run() for method in ("softmax", "m=2") for seed in (0, 1)}
  runs["cifar10", "softmax", 0] = _run("diverged")
  error, ece = figures.plots(_protocol(), Merged(runs, {}, 0))
  assert (error.name, ece.name) == ("error", "ece")
  assert error.heading == "Error beside the paper's"
  assert ">mnist<" in error.svg and "cifar10" not in error.svg
  for text in ("mnist, softmax", "mnist, m=2", "temperature scaling", "uncalibrated"):
    assert f">{text}<" in ece.svg


def test_a_caption_says_which_examples_judge():
  methods = (("softmax", "softmax"),)
  metrics = ("accuracy", "cv_accuracy")
  settings = {"mnist": tables.setting(default.get_config(), methods, metrics=metrics)}
  variant = tables.variant(settings, deviations=())
  protocol = make_protocol(tables.table("agarap2018", full=variant, cpu=variant), "full")
  run = {
    "status": "finished",
    "metrics": {"test": {"accuracy": 0.9}},
    "measured": {"cv_accuracy": 0.8},
  }
  test, folds = figures.plots(protocol, Merged({("mnist", "softmax", 0): run}, {}, 0))
  assert test.caption.startswith("On the test split.")
  assert folds.caption.startswith("On the examples left out of the folds.")


def test_a_table_without_runs_has_no_figures():
  assert figures.plots(_protocol(), Merged({}, {}, 0)) == []
