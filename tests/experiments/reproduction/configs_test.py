"""The papers' configurations: each is valid, and its rows are those of its paper's numbers."""

import importlib

import pytest

from experiments.reproduction import queue
from experiments.reproduction.protocol import VARIANTS, make_protocol
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
