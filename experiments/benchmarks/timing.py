"""Timing: ours and its peers, each in a process of its own, run in turns; a row for each peer.

A process of its own has its own peak memory and its own threads. Lines of JSON go both ways: a line
in asks for work of at least so many seconds, the answer is the time of a unit of it in ms; an empty
line asks for the peak memory in MB and ends the process.

A first step is timed from the command `experiments.train` on: the side starts a process that trains
as that script does, with its flags, and leaves when the first step is done.
"""

import contextlib
import functools
import importlib
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import resource
import runpy
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax

from softmax_research.training import environment

OURS = "ours"
#: Does some work, returns when it is finished, and says how many units it was.
Run = Callable[[], float]
#: Makes whatever the work needs, in the process that it is timed in, and returns the work.
Side = Callable[[], Run]

_OTHERS = ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS")


class Options(NamedTuple):
  """Hold what the command line chooses: parts of the names of cases and peers, and the timing."""

  case: str = ""
  peer: str = ""
  repeats: int = 5
  seconds: float = 0.5
  threads: int = 2


class Case(NamedTuple):
  """Hold what is compared: the sides are `ours` and the peers, by name."""

  name: str
  sides: dict[str, Side]

  def peers(self, part: str = "") -> list[str]:
    """List the peers whose name contains a text."""
    return [name for name in self.sides if name != OURS and part in name]


class Measured(NamedTuple):
  """Hold a side's times of a unit of work, in ms, and its peak memory in MB: a GPU's, if there."""

  times: Sequence[float]
  peak_mb: float


def measure(benchmark: str, cases: list[Case], options: Options) -> Iterator[dict[str, Any]]:
  """Time cases, and yield a row for each of their peers.

  The sides of a case take turns, so that whatever else slows the machine slows them all; while one
  runs the others sleep.
  """
  for case in cases:
    peers = case.peers(options.peer)
    if peers and options.case in case.name:
      measured = _take_turns(benchmark, case.name, [OURS, *peers], options)
      for peer in peers:
        yield make_row(benchmark, case.name, peer, measured[OURS], measured[peer])


def _take_turns(benchmark, case, sides, options) -> dict[str, Measured]:
  workers = {}
  try:
    for side in sides:
      workers[side] = Worker(benchmark, case, side, options.threads)
      workers[side].answer()  # Everything is made and compiled.
    times = {side: [] for side in sides}
    for _ in range(options.repeats):
      for side, worker in workers.items():
        times[side].append(worker.ask(json.dumps(options.seconds)))
    return {side: Measured(times[side], worker.ask("")) for side, worker in workers.items()}
  finally:
    for worker in workers.values():
      worker.kill()


def make_row(
  benchmark: str, case: str, peer: str, ours: Measured, theirs: Measured
) -> dict[str, Any]:
  """Make the row of a case and a peer from what was measured.

  Example:
    >>> row = make_row("training", "mlp", "PyTorch", Measured([2.0], 90.0), Measured([3.0], 95.0))
    >>> row["speedup"], row["repeats"]
    (1.5, 1)
  """
  ours_ms, peer_ms = statistics.median(ours.times), statistics.median(theirs.times)
  return {
    "benchmark": benchmark,
    "case": case,
    "peer": peer,
    "ours_ms": ours_ms,
    "peer_ms": peer_ms,
    "speedup": peer_ms / ours_ms,
    "repeats": len(ours.times),
    "ours_peak_mb": ours.peak_mb,
    "peer_peak_mb": theirs.peak_mb,
    "ours_ms_range": [min(ours.times), max(ours.times)],
    "peer_ms_range": [min(theirs.times), max(theirs.times)],
  } | _made_on()


@functools.cache
def _made_on() -> dict[str, Any]:
  versions = environment.versions()
  if importlib.util.find_spec("torch"):
    versions |= {"torch": importlib.metadata.version("torch")}
  revision = environment.git_revision()
  return {"device": environment.device(), "versions": versions, "revision": revision}


class Worker:
  """A side in a process of its own, on so many cores."""

  def __init__(self, benchmark: str, case: str, side: str, threads: int):
    self._process = subprocess.Popen(
      [sys.executable, "-m", __name__, "side", benchmark, case, side, str(threads)],
      cwd=pathlib.Path(__file__).parents[2],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )

  def ask(self, line: str) -> float:
    """Send a line, and return the answer."""
    print(line, file=self._process.stdin, flush=True)
    return self.answer()

  def answer(self) -> float:
    """Return the next answer; a RuntimeError with what the process printed if there is none."""
    line = self._process.stdout.readline()
    if not line:
      raise RuntimeError(self._process.communicate()[1])
    return json.loads(line)

  def kill(self) -> None:
    """End the process, if it runs."""
    self._process.kill()
    self._process.wait()


def _serve(benchmark: str, case: str, side: str, threads: str) -> None:
  # XLA and PyTorch make a thread for each core that they see.
  if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(threads)])
  answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
  with contextlib.redirect_stdout(sys.stderr):
    cases = importlib.import_module(f"experiments.benchmarks.{benchmark}").cases()
    run = next(c for c in cases if c.name == case).sides[side]()
    run()
    print(0, file=answers, flush=True)
    for line in sys.stdin:
      if not line.strip():
        break
      print(milliseconds(run, json.loads(line)), file=answers, flush=True)
    del run  # Before the process is killed, so that what it has on the disk goes with it.
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    most = max(usage.ru_maxrss for usage in usages)
    of_process = most / (1e6 if sys.platform == "darwin" else 1e6 / 1024)
    print(device_peak_mb() or of_process, file=answers, flush=True)


def device_peak_mb() -> float:
  """Return the most of a GPU's memory that this process has held, by PyTorch or JAX; 0 on CPU."""
  torch = sys.modules.get("torch")
  if torch and torch.cuda.is_available() and (peak := torch.cuda.max_memory_allocated()):
    return peak / 1e6
  return (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0) / 1e6


def milliseconds(run: Run, seconds: float) -> float:
  """Return the time of a unit of work, of so many seconds of it."""
  began, units = time.perf_counter(), 0.0
  while True:
    units += run()
    passed = time.perf_counter() - began
    if passed >= seconds:
      return 1e3 * passed / units


def first_step(arguments: Sequence[str], *, kept: bool) -> Run:
  """Return a function that trains a first step, with what earlier calls compiled or without."""
  cache = tempfile.TemporaryDirectory()

  def run():
    with tempfile.TemporaryDirectory() as workdir:
      # Programs are kept where a user's are, and not where this process keeps its own.
      env = {name: value for name, value in os.environ.items() if name not in _OTHERS}
      subprocess.run(
        [sys.executable, "-m", __name__, "first_step", *arguments, f"--workdir={workdir}"],
        cwd=pathlib.Path(__file__).parents[2],
        env=env | {"SOFTMAX_RESEARCH_CACHE": cache.name if kept else f"{workdir}/cache"},
        stdout=subprocess.DEVNULL,
        check=True,
      )
    return 1

  return run


def _train_one_step() -> None:
  from softmax_research.study import lifecycle  # noqa: PLC0415  # The sides' processes stay small.

  def leave(_, progress):
    if progress.loss is not None:  # The first step is over.
      os._exit(0)  # Nothing is left to be written.

  lifecycle.Display.update = leave
  runpy.run_module("experiments.train", run_name="__main__")


if __name__ == "__main__":
  if sys.argv.pop(1) == "side":
    _serve(*sys.argv[1:])
  else:
    _train_one_step()
