"""The benchmarks by name: one line in `BENCHMARKS` makes a new one known."""

import importlib

from experiments.benchmarks.case import Case

#: Modules, each with a function `cases() -> list[Case]`.
BENCHMARKS: dict[str, str] = {
  "training": "experiments.benchmarks.training",
}


def cases(benchmark: str) -> dict[str, Case]:
  """Return a benchmark's cases by their names.

  Raises:
    ValueError: there is no such benchmark; the message lists those that exist.

  Example:
    >>> sorted(cases("training"))[-1]
    'mlp 784-512-512-10'
  """
  if benchmark not in BENCHMARKS:
    raise ValueError(
      f"Got the benchmark {benchmark!r}; the benchmarks are {', '.join(sorted(BENCHMARKS))}."
    )
  found = importlib.import_module(BENCHMARKS[benchmark]).cases()
  return {case.name: case for case in found}
