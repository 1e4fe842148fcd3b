"""Resumable training: a group of seeds goes on from its checkpoint, on other devices too."""

import jax
import numpy as np
import pytest

from configs import digits
from experiments import assembly, resumable, runs
from softmax_research import training
from softmax_research.study.interruption import Interruption
from softmax_research.training import results


@pytest.fixture(name="config", scope="module")
def _config():
  config = digits.get_config()
  config.batch_size, config.num_epochs = 128, 3
  config.backbone.widths = (8,)
  return config


@pytest.fixture(name="splits", scope="module")
def _splits(config):
  return assembly.load_splits(config)


@pytest.fixture(name="train")
def _train(config, splits):
  def train(directory, seed_devices=1, on_epoch=lambda states, curves: None, interruption=None):
    layout = training.make_layout(seed=seed_devices)
    return resumable.train(
      config,
      splits,
      assembly.make_parallel_programs(config, splits, "sm_taylor", layout),
      "sm_taylor",
      range(3),
      directory=directory,
      interruption=interruption or Interruption(),
      on_progress=lambda progress: None,
      on_epoch=on_epoch,
    )

  return train


def test_a_group_killed_goes_on_with_another_number_of_devices(train, tmp_path, capsys):
  whole = train(tmp_path / "whole")

  def kill(states, curves):
    if curves[0]["epoch"][-1] == 3:  # Not saved yet.
      raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    train(tmp_path / "killed", seed_devices=2, on_epoch=kill)  # Two seeds and two, one repeated.
  resumed = train(tmp_path / "killed")
  assert "seeds 0, 1, 2: resuming at step 20, after 2 epochs" in capsys.readouterr().out
  for (record, predictions), (ours, our_predictions) in zip(whole, resumed, strict=True):
    assert ours["seed"] == record["seed"] and len(ours["curves"]["epoch"]) == 3
    jax.tree.map(
      lambda one, other: np.testing.assert_allclose(one, other, atol=1e-4),
      predictions,
      our_predictions,
    )


def test_a_seed_that_diverged_is_recorded_so_and_the_others_are_finished(
  train, tmp_path, monkeypatch
):
  fit = training.fit
  diverged = [None, training.Divergence(step=4, last_finite_loss=2.5), None]
  monkeypatch.setattr(training, "fit", lambda *a, **k: fit(*a, **k)._replace(diverged=diverged))
  outcomes = train(tmp_path)
  assert [record["status"] for record, _ in outcomes] == ["finished", "diverged", "finished"]
  assert [predictions is None for _, predictions in outcomes] == [False, True, False]
  lost, _ = outcomes[1]
  assert (lost["head"], lost["seed"], lost["metrics"]) == ("sm_taylor", 1, None)
  assert lost["diverged"] == {"step": 4, "last_finite_loss": 2.5}


def test_runs_that_trained_together_are_recorded_together(tmp_path, monkeypatch):
  """Were some left out by a kill, the rest would train without them, to other last digits."""
  predictions = runs.Predictions(np.zeros((2, 3)), np.zeros((4, 3)))
  outcomes = [({"head": "softmax", "seed": seed}, predictions) for seed in (0, 1)]
  save = runs.save_predictions
  with monkeypatch.context() as patched:
    patched.setattr(
      runs, "save_predictions", lambda path, p: save(path, p) if "seed0" in path.name else 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
      runs.keep(tmp_path, outcomes)
  assert not (tmp_path / "results.jsonl").exists()
  runs.keep(tmp_path, outcomes)
  assert results.read(tmp_path / "results.jsonl") == [record for record, _ in outcomes]


def test_a_signal_saves_and_exits_with_its_status(train, tmp_path, capsys):
  interruption = Interruption()
  interruption.signal = 15
  with pytest.raises(SystemExit) as exit:
    train(tmp_path, interruption=interruption)
  assert exit.value.code == 143
  assert "Interrupted at step 1 and saved" in capsys.readouterr().out
  assert training.Checkpoints(tmp_path).steps() == [1]
