"""First step: the time from the command `experiments.train` to its first finished step."""

import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from experiments.benchmarks.row import Measured, Options, make_row
from experiments.benchmarks.worker import peak_mb

_CASES = {
  "first step, digits, mlp": ["--config=configs/digits.py"],
  "first step, digits, cnn with batch norm": [
    "--config=configs/cifar10_cnn.py",
    "--config.dataset=digits",
  ],
}
_OTHERS = ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS")
_COLD = "no compiled programs kept"


def rows(benchmark: str, options: Options) -> Iterator[dict[str, Any]]:
  """Yield a row a case: with the programs that a run before kept, against none."""
  for case, arguments in _CASES.items():
    if options.case not in case or options.peer not in _COLD:
      continue
    with tempfile.TemporaryDirectory() as folder:
      folder = pathlib.Path(folder)
      _time(arguments, folder, "kept")
      turns = [
        (_time(arguments, folder, "kept"), _time(arguments, folder, f"none{i}"))
        for i in range(options.repeats)
      ]
    sides = ([turn[side] for turn in turns] for side in (0, 1))
    kept, none = (Measured([t for t, _ in side], max(p for _, p in side)) for side in sides)
    yield make_row(benchmark, case, _COLD, kept, none)


def _time(arguments, folder, cache) -> tuple[float, float]:
  """Return the ms to the first step, and the peak memory in MB."""
  # Programs are kept where a user's are, and not where this process keeps its own.
  env = {name: value for name, value in os.environ.items() if name not in _OTHERS}
  began = time.perf_counter()
  with tempfile.TemporaryDirectory() as workdir:
    process = subprocess.Popen(
      [
        sys.executable,
        "-m",
        "experiments.benchmarks.until_first_step",
        *arguments,
        f"--workdir={workdir}",
      ],
      cwd=pathlib.Path(__file__).parents[2],
      env=env | {"SOFTMAX_RESEARCH_CACHE": str(folder / cache)},
      stdout=subprocess.DEVNULL,
      stderr=subprocess.PIPE,
      text=True,
    )
    message = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
      raise RuntimeError(message)
  return 1e3 * (time.perf_counter() - began), peak_mb(usage)
