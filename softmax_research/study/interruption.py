"""Interruption: SIGTERM, SIGINT or a limit of time ask a run to stop where it can be resumed."""

import contextlib
import math
import signal
import time
from collections.abc import Iterator


class Interruption:
  """Say whether a signal asked to stop, or the time is over; as a function it answers yes or no.

  Args:
    minutes: after which the answer is yes; 0 for never.

  Attributes:
    signal: the signal's number, or None.
  """

  def __init__(self, minutes: float = 0):
    self.signal: int | None = None
    self._end = time.monotonic() + 60 * minutes if minutes else math.inf

  def __call__(self) -> bool:
    return self.signal is not None or time.monotonic() >= self._end

  @property
  def exit_status(self) -> int:
    """Return what a shell reports of a process that the signal ended: 143 or 130.

    Where the time is over, or another process of several was asked to stop, it is 143.
    """
    return 128 + (self.signal or signal.SIGTERM)


@contextlib.contextmanager
def interruptible(minutes: float = 0) -> Iterator[Interruption]:
  """Turn the first SIGTERM or SIGINT into a question answered yes; the second acts as ever.

  Args:
    minutes: after which the answer is yes without a signal; 0 for never.

  Example:
    >>> import os
    >>> with interruptible() as asked_to_stop:
    ...   os.kill(os.getpid(), signal.SIGTERM)
    ...   print(asked_to_stop(), asked_to_stop.exit_status)
    True 143
  """
  interruption = Interruption(minutes)
  signals = (signal.SIGTERM, signal.SIGINT)
  former = {number: signal.getsignal(number) for number in signals}

  def restore():
    for number, handler in former.items():
      signal.signal(number, handler)

  def notice(number, frame):
    interruption.signal = number
    restore()

  for number in signals:
    signal.signal(number, notice)
  try:
    yield interruption
  finally:
    restore()
