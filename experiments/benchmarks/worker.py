"""Worker: one side of one case in a process of its own, which runs when it is told to.

A process of its own has a peak memory of its own and threads of its own, and two of them can still
take turns, so that whatever else slows the machine slows both. Lines of JSON go both ways:
a line in asks for a run of at least so many seconds, the answer is the time of a unit of work;
an empty line in asks for the peak memory and ends the process.
"""

import contextlib
import json
import os
import pathlib
import resource
import subprocess
import sys
import time

from experiments.benchmarks import registry


class SideFailedError(RuntimeError):
  """A side could not run; the message is what its process printed."""


class Worker:
  """A side in a process of its own.

  Args:
    benchmark: the benchmark's name.
    case: the case's name.
    side: the side's name.
    threads: how many cores, and so threads, it may use.
  """

  def __init__(self, benchmark: str, case: str, side: str, *, threads: int):
    self.threads = threads
    self._process = subprocess.Popen(
      [sys.executable, "-m", __name__, benchmark, case, side, str(threads)],
      cwd=pathlib.Path(__file__).parents[2],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )

  def wait_until_ready(self) -> None:
    """Return when everything is made and compiled."""
    self._answer()

  def milliseconds(self, seconds: float) -> float:
    """Run for at least so many seconds; return the time of a unit of work."""
    return self._ask(json.dumps(seconds))

  def finish(self) -> float:
    """End the process; return its peak memory in MB."""
    peak = self._ask("")
    self._process.communicate()
    return peak

  def kill(self) -> None:
    """End the process whatever it does."""
    self._process.kill()
    self._process.communicate()

  def _ask(self, line: str) -> float:
    self._process.stdin.write(line + "\n")
    self._process.stdin.flush()
    return self._answer()

  def _answer(self) -> float:
    line = self._process.stdout.readline()
    if not line:
      raise SideFailedError(self._process.communicate()[1])
    return json.loads(line)


def main(benchmark: str, case: str, side: str, threads: str) -> None:
  """Serve one side."""
  answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
  if hasattr(os, "sched_setaffinity"):  # Both XLA and PyTorch make as many threads as cores.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(threads)])

  def answer(number):
    print(json.dumps(number), file=answers, flush=True)

  with contextlib.redirect_stdout(sys.stderr):
    chosen = registry.cases(benchmark)[case]
    run = chosen.sides[side]()
    run()
    answer(0.0)
    for line in sys.stdin:
      if not line.strip():
        break
      answer(_time(run, json.loads(line)) / chosen.count * 1e3)
    answer(_peak_mb())


def _time(run, seconds: float) -> float:
  """Return the mean time of as many runs as fill the seconds, and of one at least."""
  began, runs = time.perf_counter(), 0
  while True:
    run()
    runs += 1
    passed = time.perf_counter() - began
    if passed >= seconds:
      return passed / runs


def _peak_mb() -> float:
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return peak / (1e6 if sys.platform == "darwin" else 1e6 / 1024)


if __name__ == "__main__":
  main(*sys.argv[1:])
