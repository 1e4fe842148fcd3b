"""The papers' configurations: each is valid, and its rows are those of its paper's numbers."""

import importlib

import jax
import pytest

from experiments import assembly, reproduce, tune
from softmax_research import training
from softmax_research.study import papers

_PAPERS = (
  "agarap2018",
  "banerjee2020",
  "debrebisson2015",
  "grave2016",
  "guo2017",
  "li2020",
  "liu2016",
  "mikolov2013",
  "qin2019",
  "xuan2025",
)


@pytest.mark.parametrize("variant", ["full", "cpu"])
@pytest.mark.parametrize("name", _PAPERS)
def test_a_papers_configuration_is_valid(name, variant):
  module = importlib.import_module(f"configs.{name}")
  config = module.get_config()
  config.variant = variant
  settings = reproduce.choose(config)
  reproduce.check(settings)
  cells = reproduce.cells(settings)
  assert cells and settings.deviations
  assert all(len(reproduce.seeds(settings, c)) >= 5 for c in cells if "trial" not in c)
  paper = papers.load(settings.paper)
  assert paper.name == name
  assert f"--config=configs/{name}.py" in module.__doc__ and paper.arxiv in module.__doc__


@pytest.mark.parametrize("name", ["cifar10_modern", "cifar10_modern:full", "mnist_modern"])
def test_a_study_with_a_net_of_today_is_valid(name):
  module, _, variant = name.partition(":")
  module = importlib.import_module(f"configs.{module}")
  config = module.get_config(*[variant] * bool(variant))
  tune.check(config)
  methods = [method for method, *_ in config.methods]
  assert methods[0] == "softmax" and len(methods) >= 15
  assert f"--config=configs/{name}.py".replace(":full.py", ".py:full") in module.__doc__
  assert config.trial_epochs < config.num_epochs and config.seeds >= 5
  # Averaged weights and groups of parameters: each pattern fits parameters of the net.
  optimizer = training.make_optimizer(config.optimizer, num_steps=10)
  shape = (16, 16, 3)
  params = jax.eval_shape(lambda: assembly.make_backbone(config).init(jax.random.key(0), shape)[0])
  jax.eval_shape(optimizer.init, params)


@pytest.mark.parametrize(("steps", "dataset"), [(18_060, "mnist"), (18_025, "cifar10")])
def test_l_softmax_trains_for_the_papers_steps(steps, dataset):
  config = importlib.import_module("configs.liu2016").get_config().full.settings[dataset].train
  size = {"mnist": 54_000, "cifar10": 45_000}[dataset]
  assert config.num_epochs * (size // config.batch_size) == steps
