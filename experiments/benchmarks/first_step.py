"""First step: the time from the command `experiments.train` to its first finished step.

Run as a program, this module trains as `experiments.train` does, with its flags, and leaves when
the first step is done.
"""

import os
import pathlib
import runpy
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from experiments.benchmarks.timing import Measured, Options, make_row, peak_mb
from softmax_research.study import lifecycle

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
      _time(arguments, folder / "kept")
      turns = [
        (_time(arguments, folder / "kept"), _time(arguments, folder / f"none{i}"))
        for i in range(options.repeats)
      ]
    kept, none = (
      Measured([ms for ms, _ in side], max(mb for _, mb in side))
      for side in zip(*turns, strict=True)
    )
    yield make_row(benchmark, case, _COLD, kept, none)


def _time(arguments: list[str], cache: pathlib.Path) -> tuple[float, float]:
  """Return the ms to the first step, and the peak memory in MB."""
  # Programs are kept where a user's are, and not where this process keeps its own.
  env = {name: value for name, value in os.environ.items() if name not in _OTHERS}
  began = time.perf_counter()
  with tempfile.TemporaryDirectory() as workdir:
    process = subprocess.Popen(
      [sys.executable, "-m", __name__, *arguments, f"--workdir={workdir}"],
      cwd=pathlib.Path(__file__).parents[2],
      env=env | {"SOFTMAX_RESEARCH_CACHE": str(cache)},
      stdout=subprocess.DEVNULL,
      stderr=subprocess.PIPE,
      text=True,
    )
    message = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
      raise RuntimeError(message)
  return 1e3 * (time.perf_counter() - began), peak_mb(usage)


class _Leave:
  """A display that ends the process when a step is reported."""

  def __enter__(self):
    return self

  def __exit__(self, *_):
    pass

  def start(self, *_):
    pass

  def update(self, progress):
    if progress.loss is not None:  # The first step is over.
      os._exit(0)  # Nothing is left to be written.


if __name__ == "__main__":
  lifecycle.display = _Leave
  runpy.run_module("experiments.train", run_name="__main__")
