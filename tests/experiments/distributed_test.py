"""Two processes on one host: they train as one does, and one that is killed stops the other."""

import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from softmax_research.study import workdir
from tests.experiments.scripts import REPOSITORY, TINY, expect_error, run_script

_RUN = (*TINY, "--config.num_epochs=12", "--config.backbone.batch_norm=true", "--head=taylor")


def _start(directory, *arguments, apart=((), ())):
  """Start both processes; the second is given a directory that it has no business with."""
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
  both = []
  for number in (0, 1):
    flags = (f"--coordinator=127.0.0.1:{port}", "--num_processes=2", f"--process_id={number}")
    both.append(
      subprocess.Popen(
        [
          *(sys.executable, "-m", "experiments.train", "--distributed", *flags, *arguments),
          *apart[number],
          f"--workdir={directory if number == 0 else directory.with_name('other')}",
        ],
        cwd=REPOSITORY,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
      )
    )
  return both


def test_one_killed_stops_the_other_and_a_restart_ends_as_one_process_does(tmp_path):
  directory = tmp_path / "run"
  first, second = _start(directory, *_RUN)
  try:
    deadline = time.monotonic() + 300
    while not list(directory.glob("checkpoints/*/*[0-9]")) and time.monotonic() < deadline:
      assert first.poll() is None, first.communicate()
      time.sleep(0.05)
    second.send_signal(signal.SIGKILL)
    _, message = first.communicate(timeout=120)
    # Either the script notices first, or JAX does, which then ends the process itself.
    if first.returncode == -signal.SIGABRT:
      assert "another task died" in message
    else:
      assert first.returncode == 2
      assert "error: process 0 of 2 has lost another one" in message and "Start all" in message
  finally:
    first.kill(), second.kill()
    second.communicate()

  both = _start(directory, *_RUN)
  printed = [process.communicate(timeout=300) for process in both]
  assert [process.returncode for process in both] == [0, 0], printed
  assert "resuming at step" in printed[0][0] and "test accuracy" not in printed[1][0]
  assert not directory.with_name("other").exists()
  run_script("train", f"--workdir={tmp_path / 'alone'}", *_RUN)
  (record,), (alone,) = workdir.read(directory), workdir.read(tmp_path / "alone")
  laid_out = record["measured"]["devices"]
  assert (laid_out["processes"], laid_out["data_devices"]) == (2, 2)
  # Other orders of sums, which Adam magnifies where gradients are small.
  test, alone_test = (r["metrics"]["test"]["nll"] for r in (record, alone))
  assert test == pytest.approx(alone_test, rel=1e-3)
  np.testing.assert_allclose(*(r["curves"]["train_loss"] for r in (record, alone)), rtol=1e-4)


def test_processes_that_are_to_do_different_things_are_refused(tmp_path):
  first, second = _start(tmp_path / "run", *_RUN, apart=(["--seed=1"], ["--seed=2"]))
  for process in (first, second):
    _, message = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "Processes 1 have other settings" in message and "same command" in message
  assert not (tmp_path / "run").exists()


def test_flags_that_lack_a_coordinator_are_refused(tmp_path):
  message = expect_error("train", f"--workdir={tmp_path / 'run'}", "--distributed")
  assert "--coordinator=HOST:PORT" in message
  assert not (tmp_path / "run").exists()
