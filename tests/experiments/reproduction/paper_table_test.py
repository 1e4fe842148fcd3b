"""A table as a study: its cells, seeds and configurations, and what is refused before any work."""

import importlib
import pathlib

import pytest

from configs import default, tables
from experiments.reproduction import paper_table
from softmax_research import data, study
from softmax_research.study import record, workdir
from softmax_research.study.study import check_configs, missing, tasks
from tests.experiments.reproduction import tiny

_RESULTS = pathlib.Path(__file__).resolve().parents[3] / "results"
_TABLES = sorted(path.name for path in _RESULTS.glob("*_cpu"))


def _settings(*, seeds=3, num_epochs=1, **options):
  train = default.get_config()
  train.num_epochs = num_epochs
  methods = (("softmax", "softmax"), ("m=2", "sm"))
  settings = {
    name: tables.setting(train.copy_and_resolve_references(), methods, **options)
    for name in ("mnist", "cifar10")
  }
  variant = tables.variant(settings, seeds=seeds)
  config = tables.table("liu2016", full=variant, cpu=variant)
  config.variant = "full"
  return paper_table.choose(config)


def _config(settings, cell):
  return study.study.config_of(paper_table.STUDY, settings, cell)


def test_cells_are_settings_by_methods_with_trials_before_a_methods_own():
  names = [(t.cell["setting"], t.cell["method"]) for t in tasks(paper_table.STUDY, _settings())]
  each = [("cifar10", "softmax"), ("cifar10", "m=2"), ("mnist", "softmax"), ("mnist", "m=2")]
  assert names == each  # Settings by the alphabet.
  searched = _settings(search=(("batch_size", (32, 64)),), search_seeds=2)
  found = tasks(paper_table.STUDY, searched, only="mnist / m=2")
  assert [record.describe(task.cell) for task in found] == [
    "mnist / m=2 / batch_size=32",
    "mnist / m=2 / batch_size=64",
    "mnist / m=2",
  ]
  assert [task.seeds for task in found] == [(1000, 1001), (1000, 1001), (0, 1, 2)]


def test_a_setting_can_have_another_number_of_seeds():
  settings = _settings()
  settings.settings.mnist.seeds = 2
  of = {task.cell["setting"]: len(task.seeds) for task in tasks(paper_table.STUDY, settings)}
  assert of == {"mnist": 2, "cifar10": 3}


def test_a_configuration_is_what_results_depend_on():
  cell = {"setting": "mnist", "method": "m=2"}
  config = _config(_settings(), cell)
  assert config["head"] == "sm" and config["train"]["num_epochs"] == 1
  assert not {"heads", "seeds", "data_dir"} & set(config["train"])
  assert _config(_settings(seeds=9), cell) == config
  for options in ({"num_epochs": 2}, {"num_train": 100}, {"measures": ("calibration",)}):
    assert _config(_settings(**options), cell) != config
  # What a search chose is a result; what it tries is not.
  searched = _settings(search=(("batch_size", (32, 64)),))
  assert _config(searched, cell)["search"] == [["batch_size", [32, 64]]]
  assert "batch_size" not in _config(searched, cell)["train"]
  trial = cell | {"trial": {"batch_size": 32}}
  assert _config(searched, trial)["train"]["batch_size"] == 32


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (lambda s: s.update(seeds=0), "seeds=0"),
    (lambda s: s.update(paper="nobody1999"), "the papers are"),
    (lambda s: s.settings.folds.update(methods=()), "folds: got the methods"),
    (lambda s: s.settings.folds.update(protocol="guess"), "train, cross_validation"),
    (lambda s: s.settings.folds.update(seeds=-1), "folds: got seeds=-1"),
    (lambda s: s.settings.folds.update(num_train=-1), "num_train=-1"),
    (lambda s: s.settings.folds.update(num_train=10), "batch_size=100 for 10"),
    (lambda s: s.settings.folds.update(transform="fold"), "the transforms are"),
    (lambda s: s.settings.folds.update(measures=("pgd",)), "under the protocol 'train'"),
    (lambda s: s.settings.mnist.update(search=(("rate", (1,)),)), "mnist: Got search='rate'"),
    (lambda s: s.settings.failing.update(methods=(("m", "none"),)), "failing: "),
  ],
)
def test_a_bad_table_is_refused_before_any_work(change, message):
  settings = tiny.variant()
  paper_table.check(settings)
  change(settings)
  with pytest.raises(ValueError, match=message):
    paper_table.check(settings)


def test_what_is_no_configuration_of_a_paper_is_refused():
  config = default.get_config()
  with config.unlocked():
    config.variant = "cpu"
  with pytest.raises(ValueError, match="without a paper"):
    paper_table.choose(config)


def test_optional_settings_without_data_are_skipped_and_others_refused(monkeypatch):
  def load_splits(setting):
    raise data.DataUnavailableError("prepare it first")

  monkeypatch.setattr(paper_table.protocols, "load_splits", load_splits)
  settings, cell = tiny.variant(), {"setting": "folds", "method": "m=2"}
  with pytest.raises(data.DataUnavailableError):
    paper_table.prepare(settings, [cell])
  settings.settings.folds.optional = True
  prepared = paper_table.prepare(settings, [cell])
  context = study.Context(paper_table.STUDY, settings, cell, (0,), prepared=prepared)
  with pytest.raises(study.SkippedError, match="prepare it first"):
    next(paper_table.run(cell, context))


@pytest.mark.parametrize("name", _TABLES)
def test_committed_tables_are_whole_and_of_todays_configuration(name):
  config = importlib.import_module(f"configs.{name.removesuffix('_cpu')}").get_config()
  config.variant = "cpu"
  settings = paper_table.choose(config)
  assert study.study.to_json(settings) == workdir.read_config(_RESULTS / name)[1]
  wanted, records = tasks(paper_table.STUDY, settings), workdir.read(_RESULTS / name)
  check_configs(paper_table.STUDY, settings, wanted, records)
  assert missing(paper_table.STUDY, wanted, records) == []
