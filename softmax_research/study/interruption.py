"""Interruption: SIGTERM and SIGINT ask a run to stop where it can be resumed."""

import contextlib
import signal
from collections.abc import Iterator


class Interruption:
  """Say whether a signal asked to stop; as a function it answers yes or no.

  Attributes:
    signal: the signal's number, or None.
  """

  def __init__(self):
    self.signal: int | None = None

  def __call__(self) -> bool:
    return self.signal is not None

  @property
  def exit_status(self) -> int:
    """Return what a shell reports of a process that the signal ended: 143 or 130.

    Where another process of several was asked to stop, it is 143.
    """
    return 128 + (self.signal or signal.SIGTERM)


@contextlib.contextmanager
def interruptible() -> Iterator[Interruption]:
  """Turn the first SIGTERM or SIGINT into a question answered yes; the second acts as ever.

  Example:
    >>> import os
    >>> with interruptible() as asked_to_stop:
    ...   os.kill(os.getpid(), signal.SIGTERM)
    ...   print(asked_to_stop(), asked_to_stop.exit_status)
    True 143
  """
  interruption = Interruption()
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
