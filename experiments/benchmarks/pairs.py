"""Pairs: ours and its peers, each in a process of its own, timed in turns."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from experiments.benchmarks.row import OURS, Measured, Options, make_row
from experiments.benchmarks.worker import Worker

#: Does some work, returns when it is finished, and says how many units it was.
Run = Callable[[], float]
#: Makes whatever the work needs, in the process that it is timed in, and returns the work.
Side = Callable[[], Run]


class Case(NamedTuple):
  """Hold what is compared: the sides are `ours` and the peers, by name."""

  name: str
  sides: dict[str, Side]

  def peers(self, part: str = "") -> list[str]:
    """List the peers whose name contains a text."""
    return [name for name in self.sides if name != OURS and part in name]


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
      workers[side] = Worker(benchmark, case, side, threads=options.threads)
      workers[side].wait_until_ready()
    times = {side: [] for side in sides}
    for _ in range(options.repeats):
      for side, worker in workers.items():
        times[side].append(worker.milliseconds(options.seconds))
    return {side: Measured(times[side], worker.finish()) for side, worker in workers.items()}
  finally:
    for worker in workers.values():
      worker.kill()
