"""The study of tuned methods from end to end on noisy digits, and what it refuses."""

import re

import pytest

from configs import cifar10_modern, label_noise_mnist, mnist_modern
from experiments import assembly, classifiers, tune
from experiments.ledger.claim_list import CLAIMS
from softmax_research import training
from softmax_research.study import claims, ensembles, runner, workdir


def _config():
  config = label_noise_mnist.get_config()
  config.datasets = "label_noise:of=digits:rate=0.4"
  config.methods = (("softmax", "softmax", (1e-6, 1e-2)), ("ova", "one_vs_all", (1e-2, 1e-6)))
  config.num_train, config.num_epochs, config.seeds = 400, 3, 2
  config.backbone.widths = (8,)
  config.trial_epochs, config.measures = 2, ("predictions", "class_separation", "mirrors")
  return config


def test_a_configuration_of_today_as_it_stands_judges_the_claims_of_its_directory():
  for name, config in {
    "mnist_modern": mnist_modern.get_config(),
    "cifar10_modern_full": cifar10_modern.get_config("full"),
  }.items():
    config.seeds, config.data_dir = 3, "elsewhere"
    assert tune.STUDY.claims(config) == claims.within(CLAIMS, name) != ()
    config.num_epochs = 1
    assert tune.STUDY.claims(config) == ()


def test_a_dry_run_measures_a_heads_trials_once_and_its_runs_once(tmp_path, monkeypatch, capsys):
  measured = []

  def estimate(context, config, splits, head, **options):
    measured.append((head, "trial" in context.cell))
    return 60.0

  monkeypatch.setattr(classifiers, "estimate", estimate)
  options = runner.Options(tmp_path, dry_run=True, devices=assembly.device_options())
  runner.run(tune.STUDY, _config(), options)
  heads = ("softmax", "one_vs_all")
  assert sorted(measured) == sorted((head, trial) for head in heads for trial in (True, False))
  assert "8 cells, 8 runs, about 8 min 0 s" in capsys.readouterr().out


def test_methods_train_with_their_best_trials(tmp_path, monkeypatch):
  config, made, parallelise = _config(), [], training.parallelise
  monkeypatch.setattr(training, "parallelise", lambda *of: made.append(of) or parallelise(*of))
  options = runner.Options(tmp_path, "command", devices=assembly.device_options())
  assert runner.run(tune.STUDY, config, options) == []
  # Trials of a method share theirs, and so do its seeds, where no two others were made between.
  assert len(made) == 5
  records = workdir.read(tmp_path)
  trials = [made for made in records if "trial" in made["cell"]]
  assert [made["seed"] for made in trials] == [1000] * 4
  assert all(made["curves"]["epoch"] == [1, 2] for made in trials)
  # A seed of all methods comes before the next.
  assert [made["seed"] for made in records if "trial" not in made["cell"]] == [0, 0, 1, 1]
  assert all("test" not in made["metrics"] for made in trials)
  for method, head in (("softmax", "softmax"), ("ova", "one_vs_all")):
    cell = {"setting": config.datasets, "method": method}
    own = [made for made in records if made["cell"] == cell]
    assert [made["seed"] for made in own] == [0, 1]
    for made in own:
      assert made["measured"]["values"] == {"heads": head, "optimizer.learning_rate": 1e-2}
      kept = ensembles.decode(made["measured"]["predictions"])
      accuracy = made["metrics"]["test"]["accuracy"]
      assert ensembles.is_right(kept).mean() == pytest.approx(accuracy)
      assert 0 < made["measured"]["class_separation"] < 1
      assert made["measured"]["mirrors"]["accuracy"] != accuracy
      # A perfect classifier would be right for three labels in five.
      assert made["metrics"]["test"]["accuracy"] > made["metrics"]["validation"]["accuracy"]
  text = (tmp_path / "report.md").read_text()
  assert "Chosen: softmax: heads=softmax, learning_rate=0.01; ova: heads=one_vs_all" in text
  assert re.search(r"\| ova +\| +2 \| .*\(", text)
  assert "two of them agree on" in text and "| agreement " in text


@pytest.mark.parametrize(
  ("key", "value", "message"),
  [
    ("methods", (("a", "softmax", (0.1,)), ("b", "hinge", (0.1, 0.2))), "equally many"),
    ("methods", (("a", "softmax", (0.1,)),) * 2, "each name once"),
    ("methods", (), "at least one"),
    ("methods", ("softmax",), "Got the method 'softmax'; write it as"),
    ("methods", (("softmax", "softmax", 0.1),), "Got the method .*0.1.*; write it as"),
    ("methods", (("a", "softmacks", (0.1,)),), "head 'softmacks'"),
    ("datasets", "label_noise:of=minst:rate=0.1", "dataset 'minst'"),
    ("num_train", -1, "num_train=-1"),
    ("trial_epochs", -1, "trial_epochs=-1"),
    ("measures", ("class_separations",), "measure 'class_separations'"),
    ("heads", "softmax", "heads too many"),
  ],
)
def test_bad_configurations(key, value, message):
  config = _config()
  config[key] = value
  with pytest.raises(ValueError, match=message):
    tune.check(config)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({}, "Got examples of float32"),
    ({"measures": (), "backbone": "cnn"}, r"Got inputs of shape \(2,\); a CNN takes images"),
  ],
)
def test_what_does_not_fit_the_data_is_refused_before_any_work(changes, message, tmp_path):
  config = _config()
  config.datasets, config.num_train = "spiral", 0
  with config.ignore_type():
    for key, value in changes.items():
      config[key] = value
  with pytest.raises(ValueError, match=message):
    runner.run(tune.STUDY, config, runner.Options(tmp_path))
  assert workdir.read(tmp_path) == []
