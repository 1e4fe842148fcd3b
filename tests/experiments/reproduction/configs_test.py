"""The papers' configurations: each is valid, and its rows are those of its paper's numbers."""

import importlib

import pytest

from experiments.imbalanced.judging import JUDGEMENTS
from experiments.information.class_scores import ESTIMATORS
from experiments.reproduction import queue, studied
from experiments.reproduction.protocol import VARIANTS, make_protocol
from softmax_research import heads
from softmax_research.reporting.claim_list import CLAIMS

_PAPERS = (
  "agarap2018",
  "banerjee2020",
  "debrebisson2015",
  "guo2017",
  "li2020",
  "liu2016",
  "xuan2025",
)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", _PAPERS)
def test_a_papers_configuration_is_valid(name, variant):
  module = importlib.import_module(f"configs.{name}")
  protocol = make_protocol(module.get_config(), variant)
  assert protocol.paper.name == name and protocol.config.deviations
  assert protocol.config.seeds >= 5
  assert queue.make_cells(protocol)
  assert f"--config=configs/{name}.py" in module.__doc__ and protocol.paper.arxiv in module.__doc__


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", ["grave2016", "mikolov2013", "qin2019"])
def test_a_configuration_made_of_studies_is_valid_and_names_what_they_have(name, variant):
  module = importlib.import_module(f"configs.{name}")
  table = studied.make_table(module.get_config(), variant)
  assert table.paper.name == name and table.config.deviations
  assert f"--config=configs/{name}.py" in module.__doc__ and table.paper.arxiv in module.__doc__
  for setting in table.config.settings.values():
    study = table.config.studies[setting.study]
    assert study.seeds >= 5
    known = {estimator.name for estimator in ESTIMATORS}
    if study.script != "mutual_information":
      (path,) = (a for a in study.arguments if a.startswith("--config=configs/"))
      stem = path.removeprefix("--config=configs/").removesuffix(".py")
      config = importlib.import_module(f"configs.{stem}").get_config()
      known = set(heads.split(config.heads))
      if study.script == "imbalance":
        assert setting.where.setting in heads.split(config.settings, kind="setting")
        assert setting.where.judgement in JUDGEMENTS
    assert {own for _, own in setting.methods} <= known


def test_claims_name_settings_and_methods_that_the_tables_have():
  rows, metrics = {}, {}
  for name in _PAPERS:
    config = importlib.import_module(f"configs.{name}").get_config()
    for variant, directory in zip(VARIANTS, (name, f"{name}_cpu"), strict=True):
      settings = config[variant].settings
      rows[directory] = {s: {label for label, _ in settings[s].methods} for s in settings}
      metrics[directory] = {s: settings[s].metrics for s in settings}
  for claim in CLAIMS:
    for trial in claim.tests:
      if trial.results in rows:
        for comparison in trial.comparisons:
          assert {comparison.row, comparison.baseline} <= rows[trial.results][trial.setting], claim
          if comparison.metric.startswith(("PGD", "noise")):
            assert comparison.metric in metrics[trial.results][trial.setting], claim


@pytest.mark.parametrize(("steps", "dataset"), [(18_060, "mnist"), (18_025, "cifar10")])
def test_l_softmax_trains_for_the_papers_steps(steps, dataset):
  config = importlib.import_module("configs.liu2016").get_config().full.settings[dataset].train
  size = {"mnist": 54_000, "cifar10": 45_000}[dataset]
  assert config.num_epochs * (size // config.batch_size) == steps
