"""Row: one comparison of a benchmark, as it is printed."""

import functools
import importlib.metadata
import importlib.util
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from softmax_research.training import environment

OURS = "ours"


class Options(NamedTuple):
  """Hold what the command line chooses.

  Attributes:
    case: a part of the names of the cases to run.
    peer: a part of the names of the peers to run.
    repeats: how often each side is timed.
    seconds: the least time of a repeat.
    threads: the cores of each side.
  """

  case: str = ""
  peer: str = ""
  repeats: int = 5
  seconds: float = 0.5
  threads: int = 2


class Measured(NamedTuple):
  """Hold a side's times of a unit of work, in ms, and its peak memory in MB."""

  times: Sequence[float]
  peak_mb: float


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
  return {
    "device": environment.device(),
    "versions": versions,
    "revision": environment.git_revision(),
  }
