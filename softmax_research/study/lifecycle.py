"""The life of a run's process: what it shows, signals that stop it, others that it works with."""

import contextlib
import hashlib
import json
import math
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from softmax_research.training import environment
from softmax_research.training.loop import Progress

#: The flags that say how processes find each other; none where they run under SLURM, Open MPI or
#: Kubernetes.
DETAILS = ("coordinator", "num_processes", "process_id")
# It should be seen that a run is alive, and what matters not be buried.
_SECONDS_PER_LINE = 10.0

# A process that has sent no sign of life for so long is taken for dead, and the others stop.
_HEARTBEAT_SECONDS = 30
_JAX_STATUS = re.compile(r"(UNKNOWN|UNAVAILABLE|INTERNAL|ABORTED|CANCELLED|DEADLINE_EXCEEDED): ")


class Display:
  """Show how runs that train together are doing, by a line now and then.

  Call `start` once, `update` often, and `finish` for each.
  """

  def start(self, name: str, runs_done: int, num_runs: int) -> None:
    self._name, self._done, self._num_runs = name, runs_done, num_runs
    self._printed = time.monotonic()

  def update(self, progress: Progress) -> None:
    if (now := time.monotonic()) - self._printed >= _SECONDS_PER_LINE:
      self._printed, seconds = now, progress.seconds_left
      left = "" if seconds is None else f", {seconds:.0f} s left in this run"
      place = f"[{self._done + 1}/{self._num_runs}]"
      print(f"{place} {self._name}: {describe(progress)}{left}", flush=True)

  def finish(self, name: str, summary: str) -> None:
    self._done += 1
    print(f"[{self._done}/{self._num_runs}] {name}: {summary}", flush=True)


def describe(progress: Progress) -> str:
  """Say in a line how a run is doing.

  Example:
    >>> describe(Progress(2, 20, 120, 1200, 0.5, 0.91, 5000.0))
    'epoch 2/20, loss 0.5000, validation 91.00%, 5,000 images/s'
    >>> describe(Progress(1, 20, 0, 1200, None, None, 0.0))
    'epoch 1/20, compiling'
  """
  if progress.loss is None:
    return f"epoch {progress.epoch}/{progress.num_epochs}, compiling"
  parts = [f"epoch {progress.epoch}/{progress.num_epochs}", f"loss {progress.loss:.4f}"]
  if progress.validation_accuracy is not None:
    parts.append(f"validation {progress.validation_accuracy:.2%}")
  if progress.images_per_second:
    parts.append(f"{progress.images_per_second:,.0f} images/s")
  return ", ".join(parts)


class Interruption:
  """Say whether a signal asked to stop, or so many minutes are over; 0 minutes are never."""

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
  """Turn the first SIGTERM or SIGINT into a question answered yes; the second acts as ever."""
  interruption = Interruption(minutes)
  former = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

  def restore():
    for number, handler in former.items():
      signal.signal(number, handler)

  def notice(number, frame):
    interruption.signal = number
    restore()

  for number in former:
    signal.signal(number, notice)
  try:
    yield interruption
  finally:
    restore()


def connect(details: Mapping[str, str | int]) -> None:
  """Connect the processes of `--distributed`, before JAX touches a device, or raise a ValueError.

  Of process 0 alone the standard output is kept.
  """
  try:
    jax.distributed.initialize(
      *map(details.get, DETAILS), heartbeat_timeout_seconds=_HEARTBEAT_SECONDS
    )
  except (ValueError, RuntimeError) as error:
    raise ValueError(
      f"Got --distributed, but the processes cannot be connected: {error} Pass --coordinator="
      "HOST:PORT --num_processes=N --process_id=I, the last one different in each process."
    ) from None
  if not environment.is_first():
    sys.stdout = open(os.devnull, "w")


def check_processes_agree(tell: Callable[[], Any]) -> None:
  """Raise a ValueError in every process if one of them tells something else than process 0."""
  if jax.process_count() == 1:
    return
  digest = hashlib.sha256(json.dumps(tell(), sort_keys=True).encode()).digest()
  digests = multihost_utils.process_allgather(np.frombuffer(digest, np.uint8))
  other = np.flatnonzero((digests != digests[0]).any(axis=1))
  if len(other):
    raise ValueError(
      f"Processes {', '.join(map(str, other))} have other settings, versions or another revision "
      "than process 0. Start all of them with the same command, from the same checkout."
    )


def tells_of_a_loss(error: BaseException) -> bool:
  """Say whether an error is what another process's end causes in this one."""
  # JAX raises a ValueError in place of its own where the loss is met on the way out of a program.
  told = isinstance(error, jax.errors.JaxRuntimeError) or _JAX_STATUS.match(str(error))
  return bool(told) and jax.process_count() > 1


class _Quiet:
  """Pass text on until its reader is gone or its disk full, and swallow it from then on."""

  def __init__(self, stream: Any):
    self._stream = stream

  def write(self, text: str) -> int:
    self._call(self._stream.write, text)
    return len(text)

  def flush(self) -> None:
    self._call(self._stream.flush)

  def __getattr__(self, name: str) -> Any:
    return getattr(self._stream, name)

  def _call(self, function: Callable[..., Any], *arguments: Any) -> None:
    try:
      function(*arguments)
    except OSError:
      # Python flushes the stream once more when it ends.
      os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


def guard_output() -> None:
  """Let no reader that went away, and no terminal of few letters, cost a run."""
  if sys.stdout is None:
    sys.stdout = open(os.devnull, "w", encoding="utf-8")
  elif hasattr(sys.stdout, "reconfigure"):
    sys.stdout.reconfigure(errors="backslashreplace")
    sys.stdout = _Quiet(sys.stdout)
