"""Two processes on one host: they train as one does, and one that is killed stops the other."""

import signal
import socket
import time

import numpy as np
import pytest

from softmax_research.study import lifecycle, workdir
from tests.experiments.scripts import TINY, expect_error, finish, run_script, start_script

_BATCH_NORM = "--config.backbone.batch_norm=true"
_RUN = (*TINY, "--config.num_epochs=12", _BATCH_NORM, "--head=taylor", "--formats=")


def _be_impatient():
  lifecycle._HEARTBEAT_SECONDS = 10


def _start(directory, *arguments, apart=((), ())):
  """Start both processes; the second is given a directory that it has no business with."""
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
  both = []
  for number in (0, 1):
    flags = (f"--coordinator=127.0.0.1:{port}", "--num_processes=2", f"--process_id={number}")
    place = directory if number == 0 else directory.with_name("other")
    more = (f"--workdir={place}", *arguments, *apart[number])
    both.append(start_script("train", "--distributed", *flags, *more, before=_be_impatient))
  return both


def test_one_killed_stops_the_other_and_a_restart_ends_as_one_process_does(tmp_path):
  directory = tmp_path / "run"
  first, second = _start(directory, *_RUN)
  try:
    deadline = time.monotonic() + 300
    while not list(directory.glob("checkpoints/*/*.npz")) and time.monotonic() < deadline:
      assert first.is_alive(), finish(first)
      time.sleep(0.05)
    second.kill()
    left = finish(first)
    # Either the script notices first, or JAX does, which then ends the process itself.
    if left.returncode == -signal.SIGABRT:
      assert "another task died" in left.stderr
    else:
      assert left.returncode == 2 and "Start all" in left.stderr
      assert "error: process 0 of 2 has lost another one" in left.stderr
  finally:
    first.kill(), second.kill()

  both = _start(directory, *_RUN)
  ended = [finish(process) for process in both]
  assert [done.returncode for done in ended] == [0, 0], ended
  assert "resuming at step" in ended[0].stdout and "seed 0: accuracy" not in ended[1].stdout
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
    done = finish(process)
    assert done.returncode == 2 and "same command" in done.stderr
    assert "Processes 1 have other settings" in done.stderr
  assert not (tmp_path / "run").exists()


def test_flags_that_lack_a_coordinator_are_refused(tmp_path):
  two = ("--coordinator=localhost:1", "--num_processes=2", "--process_id=2")
  for flags, told in (((), "coordinator"), (two, "process_id=2")):
    message = expect_error("train", f"--workdir={tmp_path / 'run'}", "--distributed", *flags)
    assert "--coordinator=HOST:PORT" in message and told in message.partition("Pass")[0]
  assert not (tmp_path / "run").exists()
