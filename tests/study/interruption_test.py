"""Signals: the first asks to stop, and the second acts as it would have."""

import os
import signal

import pytest

from softmax_research.study.interruption import interruptible


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
