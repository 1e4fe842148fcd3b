"""Time ours against peers that do the same.

    python -m experiments.benchmark training
    python -m experiments.benchmark training --case=mlp --repeats=9 --json

Prints a table, or with --json one JSON object a row. Each side runs in a process of its own, on
--threads cores, and the sides take turns; times are medians of the repeats. PyTorch comes with
`pip install -e ".[peers]"`.
"""

import importlib.metadata
import importlib.util
import json
import statistics

import rich.console
import rich.table
from absl import flags

from experiments import command
from experiments.benchmarks import registry
from experiments.benchmarks.case import OURS, Case
from experiments.benchmarks.worker import Worker
from softmax_research.training import environment

_JSON = flags.DEFINE_bool("json", False, "Print one JSON object a row instead of a table.")
_CASE = flags.DEFINE_string("case", "", "Only cases whose name contains this.")
_PEER = flags.DEFINE_string("peer", "", "Only peers whose name contains this.")
_REPEATS = flags.DEFINE_integer("repeats", 5, "How often each side runs.", lower_bound=1)
_SECONDS = flags.DEFINE_float("seconds", 0.5, "The least time of a repeat.", lower_bound=0)
_THREADS = flags.DEFINE_integer("threads", 2, "Cores for each side.", lower_bound=1)


def measure(benchmark: str, case: Case, peers: list[str], *, repeats, seconds, threads):
  """Time all sides of a case in turns; return a row for each peer."""
  workers = {}
  try:
    for side in (OURS, *peers):
      workers[side] = Worker(benchmark, case.name, side, threads=threads)
      workers[side].wait_until_ready()
    times = {side: [] for side in workers}
    for _ in range(repeats):
      for side, worker in workers.items():
        times[side].append(worker.milliseconds(seconds))
    peaks = {side: worker.finish() for side, worker in workers.items()}
  finally:
    for worker in workers.values():
      worker.kill()
  medians = {side: statistics.median(values) for side, values in times.items()}
  return [
    {
      "benchmark": benchmark,
      "case": case.name,
      "peer": peer,
      "ours_ms": medians[OURS],
      "peer_ms": medians[peer],
      "speedup": medians[peer] / medians[OURS],
      "repeats": repeats,
      "ours_peak_mb": peaks[OURS],
      "peer_peak_mb": peaks[peer],
      "device": environment.device(),
      "versions": environment.versions() | {"torch": importlib.metadata.version("torch")},
    }
    for peer in peers
  ]


def main() -> None:
  benchmark = command.arguments()[0]
  for case in registry.cases(benchmark).values():
    if _CASE.value in case.name:
      peers = [p for p in case.peers() if _PEER.value in p]
      for row in measure(benchmark, case, peers, repeats=_REPEATS.value, seconds=_SECONDS.value, threads=_THREADS.value):
        print(json.dumps({k: v for k, v in row.items() if k not in ("device", "versions")}), flush=True)


if __name__ == "__main__":
  command.run(main, positional=True)
