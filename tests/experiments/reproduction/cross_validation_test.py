"""Cross-validation: a fold that diverges spoils the run, whichever it is."""

import types

import numpy as np
import pytest

from experiments.reproduction import cross_validation
from softmax_research import training
from softmax_research.data import Split

_DIVERGENCE = training.Divergence(40, 1.0)


@pytest.mark.parametrize("carry_over", [False, True])
@pytest.mark.parametrize("bad_fold", [None, 0, 2, 4])
def test_a_run_is_finished_if_all_folds_are(monkeypatch, carry_over, bad_fold):
  calls = iter(range(5))

  def fit(*_, **__):
    bad = next(calls) == bad_fold
    accuracies = [0.9] if bad else [0.9, 0.97]  # It diverges after an epoch.
    curves = {"epoch": [1, 2][: len(accuracies)], "validation_accuracy": accuracies}
    states = types.SimpleNamespace(params={"kernel": np.zeros((1, 3))}, step=np.zeros(1))
    return training.Fit(states, [curves], [_DIVERGENCE if bad else None], 1.0, False)

  def run_record(*_, diverged, measured, **__):
    return {"status": "diverged" if diverged else "finished", "measured": measured}

  runs = types.SimpleNamespace(predict=lambda *_: ["predictions"], run_record=run_record)
  stub = types.SimpleNamespace(fit=fit)
  monkeypatch.setattr(cross_validation, "training", stub)
  monkeypatch.setattr(cross_validation, "runs", runs)
  config = types.SimpleNamespace(num_epochs=2, batch_size=5)
  splits = types.SimpleNamespace(train=Split(np.zeros((50, 2)), np.arange(50) % 2))
  programs = types.SimpleNamespace(layout=types.SimpleNamespace(describe=dict))
  options = {"folds": 5, "carry_over": carry_over, "on_progress": None, "should_stop": None}
  [(record, predictions)] = cross_validation.train(
    config, splits, programs, "softmax", [0], **options
  )
  assert record["status"] == ("finished" if bad_fold is None else "diverged")
  assert (predictions is None) == (bad_fold is not None) == (record["measured"] == {})
