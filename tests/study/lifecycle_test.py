"""The life of a process: signals that ask to stop, flags that join it with others, their loss."""

import os
import signal

import jax
import pytest

from softmax_research.study import command, lifecycle
from softmax_research.study.lifecycle import interruptible
from softmax_research.training.loop import Progress


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_asks_to_stop(number, status):
  before = signal.getsignal(number)
  with interruptible() as asked_to_stop:
    assert not asked_to_stop()
    os.kill(os.getpid(), number)
    assert asked_to_stop() and asked_to_stop.exit_status == status
  assert signal.getsignal(number) is before


def test_a_second_signal_acts_as_ever():
  # What a shell starts in the background ignores SIGINT, and so would these tests.
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  try:
    with pytest.raises(KeyboardInterrupt), interruptible():
      os.kill(os.getpid(), signal.SIGINT)
      os.kill(os.getpid(), signal.SIGINT)
  finally:
    signal.signal(signal.SIGINT, before)


def test_the_time_can_be_over_without_a_signal():
  with interruptible(minutes=1e-9) as asked_to_stop:
    assert asked_to_stop() and asked_to_stop.exit_status == 143
  with interruptible(minutes=60) as asked_to_stop:
    assert not asked_to_stop()


@pytest.mark.parametrize("kind", [ValueError, jax.errors.JaxRuntimeError])
def test_the_loss_of_a_process_is_told_whichever_error_jax_raises(kind, monkeypatch, capsys):
  monkeypatch.setattr(jax, "process_count", lambda: 2)
  with pytest.raises(SystemExit), command.errors_explained():
    raise kind("UNKNOWN: Gloo all-reduce failed: Connection reset by peer")
  told = capsys.readouterr().err
  assert "has lost another one" in told and "Gloo all-reduce failed" in told
  assert not lifecycle.tells_of_a_loss(ValueError("Got --order=3."))


_PROGRESS = Progress(2, 20, 120, 1200, 0.5, 0.91, 5000.0, 270.0)


def test_a_run_says_now_and_then_how_it_is_doing_and_how_it_ended(capsys, monkeypatch):
  clock = iter([0.0, 30.0, 60.0, 61.0])
  monkeypatch.setattr(lifecycle.time, "monotonic", lambda: next(clock))
  display = lifecycle.Display()
  display.start("softmax, seed 0", 0, 2)
  display.update(Progress(1, 20, 0, 1200, None, None, 0.0))
  display.update(_PROGRESS)
  display.update(_PROGRESS)  # So soon after the last line nothing is said.
  display.finish("softmax, seed 0", "test accuracy 97.00%")
  compiling, measured, ended = capsys.readouterr().out.splitlines()
  assert compiling == "[1/2] softmax, seed 0: epoch 1/20, compiling"
  assert measured.endswith("validation 91.00%, 5,000 images/s, 270 s left in this run")
  assert ended == "[1/2] softmax, seed 0: test accuracy 97.00%"
