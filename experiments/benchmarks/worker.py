"""Worker: one side of one case in a process of its own, which runs when it is told to.

A process of its own has its own peak memory and its own threads. Lines of JSON go both ways: a line
in asks for work of at least so many seconds, the answer is the time of a unit of it in ms; an empty
line asks for the peak memory in MB and ends the process.
"""

import contextlib
import importlib
import json
import os
import pathlib
import resource
import subprocess
import sys
import time


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
    self._process = subprocess.Popen(
      [sys.executable, "-m", __name__, benchmark, case, side, str(threads)],
      cwd=pathlib.Path(__file__).parents[2],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )

  def wait_until_ready(self) -> None:
    """Return when everything is made and compiled.

    Raises:
      SideFailedError: the side cannot run.
    """
    self._answer()

  def milliseconds(self, seconds: float) -> float:
    """Work for at least so many seconds; return the time of a unit of work."""
    return self._ask(json.dumps(seconds))

  def finish(self) -> float:
    """End the process; return its peak memory in MB."""
    peak = self._ask("")
    self._process.communicate()
    return peak

  def kill(self) -> None:
    """End the process, if it runs."""
    self._process.kill()
    self._process.wait()

  def _ask(self, line: str) -> float:
    print(line, file=self._process.stdin, flush=True)
    return self._answer()

  def _answer(self) -> float:
    line = self._process.stdout.readline()
    if not line:
      raise SideFailedError(self._process.communicate()[1])
    return json.loads(line)


def peak_mb(usage: resource.struct_rusage) -> float:
  """Return a process's peak memory in MB."""
  return usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e6 / 1024)


def use_cores(count: int) -> None:
  """Keep this process on so many cores: XLA and PyTorch make a thread for each that they see."""
  if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def _serve(benchmark: str, case: str, side: str, threads: str) -> None:
  use_cores(int(threads))
  answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
  with contextlib.redirect_stdout(sys.stderr):
    cases = importlib.import_module(f"experiments.benchmarks.{benchmark}").cases()
    run = next(c for c in cases if c.name == case).sides[side]()
    run()
    print(0, file=answers, flush=True)
    for line in sys.stdin:
      if not line.strip():
        break
      print(_milliseconds(run, json.loads(line)), file=answers, flush=True)
    print(peak_mb(resource.getrusage(resource.RUSAGE_SELF)), file=answers, flush=True)


def _milliseconds(run, seconds: float) -> float:
  began, units = time.perf_counter(), 0.0
  while True:
    units += run()
    passed = time.perf_counter() - began
    if passed >= seconds:
      return 1e3 * passed / units


if __name__ == "__main__":
  _serve(*sys.argv[1:])
