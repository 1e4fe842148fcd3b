"""Time ours against peers that do the same.

    python -m experiments.benchmark losses
    python -m experiments.benchmark attention
    python -m experiments.benchmark training
    python -m experiments.benchmark classes --case=linear
    python -m experiments.benchmark training --case=mlp --repeats=9 --json
    python -m experiments.benchmark seeds --case=bfloat16
    python -m experiments.benchmark --device_report

Prints a table, or with --json one JSON object a row. Every side runs in a process of its own on
--threads cores, and the sides take turns; times are medians of the repeats, `speedup` is the peer's
time divided by ours. PyTorch comes with `pip install -e ".[peers]"`.

--device_report takes the figures that are aimed at on a GPU, made for nine minutes of an H100 or
H200, and prints each when it is taken. On CPU, and with --tiny, it only shows that it can.
"""

import importlib
import importlib.util
import json
import os
from collections.abc import Sequence
from typing import Any

import jax
from absl import app, flags

from experiments.benchmarks.timing import Options, measure
from softmax_research.study import command, markdown
from softmax_research.study.blocks import table_of
from softmax_research.training import environment

#: Names of modules of `experiments.benchmarks`, each with `cases()`, and with `rows(options)` where
#: these have more than their times.
BENCHMARKS = ("attention", "classes", "losses", "seeds", "training")
_WITHOUT_PYTORCH = ("seeds",)
_SIDES = ("ours", "peer")

_JSON = flags.DEFINE_bool("json", False, "Print one JSON object a row instead of a table.")
_CASE = flags.DEFINE_string("case", "", "Only cases whose name contains this.")
_PEER = flags.DEFINE_string("peer", "", "Only peers whose name contains this.")
_REPEATS = flags.DEFINE_integer("repeats", 5, "How often each side is timed.", lower_bound=1)
_SECONDS = flags.DEFINE_float("seconds", 0.5, "The least time of a repeat.", lower_bound=0)
_THREADS = flags.DEFINE_integer("threads", 2, "Cores of each side.", lower_bound=1)
_DEVICE_REPORT = flags.DEFINE_bool("device_report", False, "Take all figures aimed at on a GPU.")
_TINY = flags.DEFINE_bool("tiny", False, "Take the device report's figures at tiny sizes.")


def main(argv: list[str]) -> None:
  """Run a benchmark and print its rows."""
  of_cases = (_CASE, _PEER, _REPEATS, _SECONDS, _THREADS)
  with command.errors_explained():
    if _DEVICE_REPORT.value:
      _refuse("--device_report", of_cases)
      report_device()
      return
    _refuse("a benchmark without --device_report", (_TINY,))
    if len(argv) != 2:
      given = " ".join(argv[1:]) or "no name"
      raise ValueError(f"Got {given}; name one benchmark of {', '.join(BENCHMARKS)}.")
    # The processes of all sides share a GPU; by default the first would take its memory.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    module = load(argv[1])
    options = Options(*(flag.value for flag in of_cases))
    if hasattr(module, "rows"):
      rows = module.rows(options)
    else:
      rows = measure(argv[1], module.cases(), options)
  if _JSON.value:
    for row in rows:
      print(json.dumps(row), flush=True)
    return
  show(list(rows))


def _refuse(what: str, idle: Sequence[flags.FlagHolder]) -> None:
  """Raise a ValueError where a flag is given that would do nothing."""
  for flag in idle:
    if flag.present:
      raise ValueError(f"Got --{flag.name}, which {what} has no use for. Leave it away.")


def report_device() -> None:
  """Print the rows of the device report as they come, so that one that is killed loses none."""
  from experiments.benchmarks import device_report  # noqa: PLC0415  # It is the only one to run here.

  tiny = _TINY.value or jax.default_backend() == "cpu"
  if not _JSON.value:
    print(environment.device(), environment.versions(), "", device_report.HEADING, sep="\n")
  for row in device_report.rows(device_report.TINY if tiny else device_report.Sizes()):
    print(json.dumps(row) if _JSON.value else device_report.show(row), flush=True)


def load(name: str):
  """Import a benchmark's module.

  Raises:
    ValueError: there is no such benchmark, or its peer is not installed.
  """
  if name not in BENCHMARKS:
    raise ValueError(f"Got the benchmark {name!r}; the benchmarks are {', '.join(BENCHMARKS)}.")
  if name not in _WITHOUT_PYTORCH and importlib.util.find_spec("torch") is None:
    raise ValueError(
      f"The benchmark {name} compares with PyTorch, which is not installed. Install the extra "
      '`peers`: pip install -e ".[peers]".'
    )
  return importlib.import_module(f"experiments.benchmarks.{name}")


def show(rows: list[dict[str, Any]]) -> None:
  """Print rows as a table, and below it where they were measured."""
  made = []
  for row in rows:
    cells = {"peer": row["peer"]}
    cells |= {f"{side} ms": _with_range(row, side) for side in _SIDES}
    cells["speedup"] = f"{row['speedup']:.2f}"
    cells |= {f"{side} MB": f"{row[f'{side}_peak_mb']:.0f}" for side in _SIDES}
    if "ours_tflops" in row:
      cells |= {f"{side} TFLOP/s": f"{row[f'{side}_tflops']:.3g}" for side in _SIDES}
    made.append((row["case"], cells))
  print(markdown.table(table_of(made, "case", "benchmark")))
  if rows:
    versions = ", ".join(f"{k} {v}" for k, v in rows[0]["versions"].items())
    print(f"Medians (and ranges) of {rows[0]['repeats']} repeats. {rows[0]['device']}; {versions}")


def _with_range(row: dict[str, Any], side: str) -> str:
  low, high = row[f"{side}_ms_range"]
  return f"{row[f'{side}_ms']:.3g} ({low:.3g}-{high:.3g})"


if __name__ == "__main__":
  app.run(main)
