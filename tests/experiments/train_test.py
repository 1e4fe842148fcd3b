"""The training script: a resumed run ends where an undisturbed one does."""

import json
import subprocess
import sys
import time

import numpy as np

from tests.experiments.scripts import REPOSITORY, TINY, expect_error, run_script

_ARGUMENTS = ("--head=taylor:order=4", "--seed=3", *TINY, "--config.num_epochs=40")


def _outcome(workdir):
  record = json.loads((workdir / "results.jsonl").read_text())
  (path,) = (workdir / "predictions").glob("*.npz")
  with np.load(path) as file:
    return record, file["test"]


def test_a_killed_run_resumes_to_the_same_bits(tmp_path):
  run_script("train", f"--workdir={tmp_path / 'whole'}", *_ARGUMENTS, "--tensorboard")
  killed = tmp_path / "killed"
  command = [sys.executable, "-m", "experiments.train", f"--workdir={killed}", *_ARGUMENTS]
  with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL) as process:
    deadline = time.monotonic() + 120
    while not list(killed.glob("checkpoints/*[0-9]")) and time.monotonic() < deadline:
      time.sleep(0.02)
    process.kill()
  assert not (killed / "results.jsonl").exists(), "the run ended before it was killed"
  done = run_script("train", f"--workdir={killed}", *_ARGUMENTS)
  assert "resuming at step" in done.stdout
  (whole, probs), (resumed, resumed_probs) = _outcome(tmp_path / "whole"), _outcome(killed)
  np.testing.assert_array_equal(probs, resumed_probs)
  assert whole["metrics"] == resumed["metrics"]
  assert whole["curves"]["train_loss"] == resumed["curves"]["train_loss"]
  assert list((tmp_path / "whole" / "events").iterdir())
  again = run_script("train", f"--workdir={killed}", *_ARGUMENTS)
  assert "Finished before" in again.stdout


def test_two_heads_are_refused(tmp_path):
  message = expect_error("train", f"--workdir={tmp_path}", "--head=softmax,taylor")
  assert "experiments.compare" in message
