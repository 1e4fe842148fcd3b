"""Classifiers on a study's context: checkpoints, signals, divergence, and a full disk."""

import errno

import jax
import numpy as np
import pytest

from configs import digits
from experiments import assembly, classifiers, compare
from softmax_research import study, training
from softmax_research.study import workdir
from softmax_research.study.lifecycle import Interruption

_SEEDS = (0, 1, 2)


@pytest.fixture(name="config", scope="module")
def _config():
  config = digits.get_config()
  config.batch_size, config.num_epochs, config.heads = 128, 3, "softmax"
  with config.ignore_type():
    config.backbone, config.optimizer = "mlp:widths=(8,)", "sgd:learning_rate=0.1"
  return config


@pytest.fixture(name="splits", scope="module")
def _splits(config):
  return assembly.load_splits(config)


@pytest.fixture(name="make_context")
def _make_context(config, tmp_path):
  def make(seed_devices=1, interruption=None):
    options = assembly.device_options()
    options.seed = seed_devices
    return study.Context(
      compare.STUDY,
      config,
      {"head": "softmax"},
      _SEEDS,
      workdir=tmp_path,
      interruption=interruption or Interruption(),
      devices=options,
    )

  return make


def test_seeds_killed_go_on_with_another_number_of_devices(
  config, splits, make_context, tmp_path, capsys
):
  def kill(programs, states, curves):
    if curves[0]["epoch"][-1] == 3:  # Not saved yet.
      raise KeyboardInterrupt

  def train(context, **options):
    return classifiers.train(
      context, config, splits, "softmax", seconds_between_saves=0.0, **options
    )

  with pytest.raises(KeyboardInterrupt):
    train(make_context(seed_devices=2), on_epoch=kill)  # Two seeds and two, one repeated.
  resumed = train(make_context())
  assert "softmax: resuming at step 20, after 2 epochs" in capsys.readouterr().out
  workdir.remove(make_context().directory)
  whole = train(make_context())
  for one, other in zip(whole, resumed, strict=True):
    assert one.record["seed"] == other.record["seed"]
    assert len(other.record["curves"]["epoch"]) == 3
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), one.predictions, other.predictions
    )


def test_a_seed_that_diverged_is_recorded_so_and_the_others_are_finished(
  config, splits, make_context, monkeypatch
):
  fit = training.fit
  diverged = [None, training.Divergence(step=4, last_finite_loss=2.5), None]
  monkeypatch.setattr(training, "fit", lambda *a, **k: fit(*a, **k)._replace(diverged=diverged))
  trained = classifiers.train(make_context(), config, splits, "softmax")
  assert [of.record["status"] for of in trained] == ["finished", "diverged", "finished"]
  assert [of.predictions is None for of in trained] == [False, True, False]
  lost = trained[1].record
  assert (lost["cell"], lost["seed"], lost["metrics"]) == ({"head": "softmax"}, 1, {})
  assert lost["measured"]["diverged"] == {"step": 4, "last_finite_loss": 2.5}


def test_a_signal_saves_and_exits_with_its_status(config, splits, make_context, capsys):
  interruption = Interruption()
  interruption.signal = 15
  context = make_context(interruption=interruption)
  with pytest.raises(SystemExit) as left:
    classifiers.train(context, config, splits, "softmax")
  assert left.value.code == 143
  assert "Interrupted at step 1 and saved; the same command goes on" in capsys.readouterr().out
  assert training.Checkpoints(context.directory).steps() == [1]


def test_what_cannot_be_written_is_told_from_a_cells_own_fault(
  config, splits, make_context, monkeypatch, tmp_path
):
  def full(*arguments):
    raise OSError(errno.ENOSPC, "no space left")

  monkeypatch.setattr(training.Checkpoints, "save", full)
  with pytest.raises(workdir.StorageError, match="no space left"):
    classifiers.train(make_context(), config, splits, "softmax", seconds_between_saves=0.0)
  workdir.remove(make_context().directory)
  (tmp_path / "checkpoints").touch()
  with pytest.raises(workdir.StorageError):
    classifiers.train(make_context(), config, splits, "softmax", seconds_between_saves=0.0)


def test_an_estimate_is_of_the_size_of_what_training_takes(config, splits, make_context):
  context = make_context()
  trained = classifiers.train(context, config, splits, "softmax")
  took = sum(of.record["time"]["seconds"] for of in trained)
  estimated = classifiers.estimate(context, config, splits, "softmax")
  # The programs are compiled by now, which is most of what so short a run takes.
  assert 0 < estimated < 3 * took
  assert classifiers.estimate(context, config, splits, "softmax", extras=lambda *_: 1e6) > 1e6
