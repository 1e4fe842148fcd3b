"""A paper's table: its cells, what is refused, and one trained, gone on with and reported."""

import importlib
import pathlib

import pytest

from configs import default, tables
from experiments import assembly, reproduce
from softmax_research import data, study
from softmax_research.study import record, runner, workdir
from softmax_research.study.study import check_configs, missing, tasks
from softmax_research.training import calibration
from tests.experiments.reproduction import tiny
from tests.experiments.scripts import run_script

_RESULTS = pathlib.Path(__file__).resolve().parents[2] / "results"
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
  return reproduce.choose(config)


def _config(settings, cell):
  return study.study.config_of(reproduce.STUDY, settings, cell)


def test_cells_are_settings_by_methods_with_trials_before_a_methods_own():
  names = [(t.cell["setting"], t.cell["method"]) for t in tasks(reproduce.STUDY, _settings())]
  each = [("cifar10", "softmax"), ("cifar10", "m=2"), ("mnist", "softmax"), ("mnist", "m=2")]
  assert names == each  # Settings by the alphabet.
  searched = _settings(search=(("batch_size", (32, 64)),), search_seeds=2)
  found = tasks(reproduce.STUDY, searched, only="mnist / m=2")
  assert [record.describe(task.cell) for task in found] == [
    "mnist / m=2 / batch_size=32",
    "mnist / m=2 / batch_size=64",
    "mnist / m=2",
  ]
  assert [task.seeds for task in found] == [(1000, 1001), (1000, 1001), (0, 1, 2)]


def test_a_setting_can_have_another_number_of_seeds():
  settings = _settings()
  settings.settings.mnist.seeds = 2
  of = {task.cell["setting"]: len(task.seeds) for task in tasks(reproduce.STUDY, settings)}
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
    (lambda s: s.settings.folds.update(methods=()), "folds: Got the methods"),
    (lambda s: s.settings.folds.update(protocol="guess"), "train, cross_validation"),
    (lambda s: s.settings.folds.update(methods=("softmax",)), "folds: Got the method 'softmax'"),
    (lambda s: s.settings.folds.update(folds=1), "folds: got folds=1"),
    (lambda s: s.settings.folds.update(seeds=-1), "folds: Got seeds=-1"),
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
  reproduce.check(settings)
  change(settings)
  with pytest.raises(ValueError, match=message):
    reproduce.check(settings)


def test_a_metric_that_runs_do_not_have_is_refused_as_soon_as_there_is_one():
  settings, cell = tiny.variant(), {"setting": "folds", "method": "m=2"}
  settings.settings.folds.metrics = ("cv_acuracy",)
  measured = {"cv_accuracy": 0.9}
  made = {"cell": cell, "status": "finished", "metrics": {}, "measured": measured}
  context = study.Context(reproduce.STUDY, settings, cell, (1,), finished=[made])
  with pytest.raises(ValueError, match=r"'cv_acuracy', which no .* have cv_accuracy\."):
    next(reproduce.run(cell, context))


def test_more_folds_than_examples_of_a_class_are_refused_before_any_work():
  settings = tiny.variant()
  settings.settings.folds.folds = 300
  reproduce.check(settings)
  with pytest.raises(ValueError, match="folds: n_splits=300"):
    reproduce.prepare(settings, [{"setting": "folds", "method": "m=2"}])


def test_a_network_that_does_not_fit_the_data_is_refused_before_any_work():
  settings = tiny.variant()
  with settings.settings.folds.train.ignore_type():
    settings.settings.folds.train.backbone = "cnn:stages=8-8-8-8"
  reproduce.check(settings)
  with pytest.raises(ValueError, match="folds: Got images of 8 by 8, too small"):
    reproduce.prepare(settings, [{"setting": "folds", "method": "m=2"}])


def test_what_is_no_configuration_of_a_paper_is_refused():
  config = default.get_config()
  with config.unlocked():
    config.variant = "cpu"
  with pytest.raises(ValueError, match="without a paper"):
    reproduce.choose(config)


def test_optional_settings_without_data_are_skipped_and_others_refused(monkeypatch):
  def load_splits(setting):
    raise data.DataUnavailableError("prepare it first")

  monkeypatch.setattr(reproduce.protocols, "load_splits", load_splits)
  settings, cell = tiny.variant(), {"setting": "folds", "method": "m=2"}
  with pytest.raises(data.DataUnavailableError):
    reproduce.prepare(settings, [cell])
  settings.settings.folds.optional = True
  prepared = reproduce.prepare(settings, [cell])
  context = study.Context(reproduce.STUDY, settings, cell, (0,), prepared=prepared)
  with pytest.raises(study.SkippedError, match="prepare it first"):
    next(reproduce.run(cell, context))


@pytest.mark.parametrize("name", _TABLES)
def test_committed_tables_are_whole_and_of_todays_configuration(name):
  config = importlib.import_module(f"configs.{name.removesuffix('_cpu')}").get_config()
  config.variant = "cpu"
  settings = reproduce.choose(config)
  assert study.study.to_json(settings) == workdir.read_config(_RESULTS / name)[1]
  wanted, records = tasks(reproduce.STUDY, settings), workdir.read(_RESULTS / name)
  check_configs(reproduce.STUDY, settings, wanted, records)
  assert missing(reproduce.STUDY, wanted, records) == []


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
    one = {"temperature scaling": calibration.FITS["temperature scaling"]}
    patch.setattr(calibration, "FITS", one)
    failed = runner.run(reproduce.STUDY, tiny.variant(), _options(directory))
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


def test_the_report_is_made_of_joined_records_without_the_data(made, tmp_path, monkeypatch):
  def refuse(*arguments, **options):
    raise data.DataUnavailableError("there are none")

  monkeypatch.setattr(data, "load", refuse)
  lines = (made[0] / "results.jsonl").read_bytes().splitlines(keepends=True)
  (tmp_path / "results.jsonl").write_bytes(b"".join(lines[1::2] + lines[::2]))
  (tmp_path / "config.json").write_bytes((made[0] / "config.json").read_bytes())
  study.remake(reproduce.STUDY, tmp_path, formats=("md",))
  assert (tmp_path / "report.md").read_bytes() == (made[0] / "report.md").read_bytes()


def test_what_is_left_is_listed_and_what_is_finished_compared(made, capsys):
  directory, _ = made
  runner.run(reproduce.STUDY, tiny.variant(), _options(directory, dry_run=True, only="folds"))
  assert "0 cells" in capsys.readouterr().out
  options = _options(directory, dry_run=True, estimate_all=True, only="folds")
  runner.run(reproduce.STUDY, tiny.variant(), options)
  printed = capsys.readouterr().out
  assert "folds / m=2, seeds 0, 1: about" in printed
  assert " times" in printed.splitlines()[-1]


def test_methods_whose_trials_are_elsewhere_wait_for_them(tmp_path, capsys):
  options = _options(tmp_path, only="mnist / m=2$")
  assert runner.run(reproduce.STUDY, tiny.variant(), options) == []
  assert "skipped: its search lacks learning_rate=1e-06" in capsys.readouterr().out


def test_the_command_line_has_variants_and_says_what_is_wrong():
  usage = run_script("reproduce", "--config=configs/liu2016.py", "--help").stdout
  assert "--variant: Full, the paper's protocol" in usage and "--estimate_all" in usage
  with pytest.raises(ValueError, match="the variants are cpu, full"):
    tiny.variant("huge")
