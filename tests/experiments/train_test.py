"""The training script: what it leaves and prints, and what SIGTERM does to it."""

import time

import numpy as np
import pytest

from softmax_research import data
from softmax_research.study import workdir
from tests.experiments.scripts import TINY, expect_error, finish, run_script, start_script


def test_a_run_leaves_results_events_and_its_summary(tmp_path):
  pytest.importorskip("tensorboardX")
  arguments = ("train", f"--workdir={tmp_path}", *TINY, "--head=sm:margin=0.5", "--seed=3")
  done = run_script(*arguments, "--tensorboard")
  (record,) = workdir.read(tmp_path)
  assert (record["cell"], record["seed"]) == ({"head": "sm:margin=0.5"}, 3)
  assert record["status"] == "finished" and "tensorboard" not in record["config"]
  assert record["measured"]["devices"]["seeds_together"] == [3]
  (events,) = (tmp_path / "events").iterdir()
  for name in (b"train_loss", b"validation_nll", b"test_accuracy"):
    assert name in events.read_bytes()
  assert "test: {" in done.stdout and list(tmp_path.glob("checkpoints/*/*"))
  # Finished already, so only the report is made again.
  assert "test: {" not in run_script(*arguments).stdout
  _expect_predictions(tmp_path, record)


def _expect_predictions(directory, record):
  """What was trained predicts anew, in a process that knows nothing of the network."""
  images, labels = data.digits().test
  np.savez(directory / "digits.npz", images=images)
  run_script("predict", f"--workdir={directory}", "--head=sm:margin=0.5", "--seed=3",
             f"--images={directory / 'digits.npz'}")  # fmt: skip
  names, *rows = (directory / "predicted.csv").read_text().splitlines()
  assert names.startswith("image,class,probability,log p(0),log p(1)")
  found = np.array([row.split(",") for row in rows], float)
  assert np.mean(found[:, 1] == labels) == pytest.approx(record["metrics"]["test"]["accuracy"])
  nll = -found[np.arange(len(labels)), 3 + labels].mean()
  assert nll == pytest.approx(record["metrics"]["test"]["nll"], rel=1e-4)


def test_sigterm_saves_and_the_same_command_goes_on(tmp_path):
  arguments = (f"--workdir={tmp_path}", *TINY, "--config.num_epochs=30")
  process = start_script("train", *arguments)
  deadline = time.monotonic() + 120
  while not list(tmp_path.glob("checkpoints/*/*[0-9]")) and time.monotonic() < deadline:
    time.sleep(0.02)
  process.terminate()
  done = finish(process)
  assert done.returncode == 143 and "saved; the same command goes on" in done.stdout
  step = done.stdout.partition("Interrupted at step ")[2].split()[0]
  done = run_script("train", *arguments)
  assert f"resuming at step {step}" in done.stdout
  (record,) = workdir.read(tmp_path)
  assert len(record["curves"]["epoch"]) == 30


def test_two_heads_are_refused(tmp_path):
  message = expect_error("train", f"--workdir={tmp_path / 'run'}", "--head=softmax,taylor")
  assert "experiments.compare" in message and not (tmp_path / "run").exists()
