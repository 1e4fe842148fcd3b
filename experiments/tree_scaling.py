"""Plot how a step of training grows with the number of classes, for trees and for the dense layer.

    python -m experiments.benchmark classes --case='tree of' --json > runs/trees.jsonl
    python -m experiments.tree_scaling --results=runs/trees.jsonl --workdir=runs/trees

Writes report.md and figures/ with the exponents a of the fits time = c x^a, by least squares on
logarithms, x being the tree's depth or the number of classes.
"""

import math
import pathlib
import shlex
import sys
from typing import Any

import numpy as np
from absl import flags

from experiments import command
from experiments.benchmarks import classes
from softmax_research.reporting import line_plot, note, tables
from softmax_research.training import results

_RESULTS = flags.DEFINE_string("results", None, "Rows of the benchmark, as JSON.", required=True)
_WORKDIR = command.define_workdir()


def exponent(places: list[float], times: list[float]) -> tuple[float, float]:
  """Fit time = c x^a; return a and its standard error, NaN for fewer than three points."""
  x, y = np.log(places), np.log(times)
  if len(x) < 3:
    return math.nan, math.nan
  design = np.stack([x, np.ones_like(x)], axis=1)
  fit, *_ = np.linalg.lstsq(design, y, rcond=None)
  spread = np.sum((y - design @ fit) ** 2) / (len(x) - 2)
  return float(fit[0]), float(np.sqrt(spread / np.sum((x - x.mean()) ** 2)))


def write_report(workdir: pathlib.Path, rows: list[dict[str, Any]], line: str) -> pathlib.Path:
  """Write the report of the benchmark's rows.

  Raises:
    ValueError: fewer than two of the trees' cases are among them.
  """
  by_case = {row["case"]: row for row in rows}
  found = [
    (k, by_case[classes.tree_name(k)])
    for k in classes.TREE_CLASSES
    if classes.tree_name(k) in by_case
  ]
  if len(found) < 2:
    raise ValueError(
      f"Got {len(found)} of the trees' cases; run the benchmark 'classes' with --case='tree of' "
      "and --json, and give its output."
    )
  sizes = [k for k, _ in found]
  depths = [math.ceil(math.log2(k)) for k in sizes]
  trees = [row["ours_ms"] for _, row in found]
  dense = [(k, row) for k, row in found if row["peer"] == classes.DENSE]
  dense_sizes, dense_times = [k for k, _ in dense], [row["peer_ms"] for _, row in dense]
  lines = [_line("tree", sizes, [row for _, row in found], "ours")]
  lines += [_line(classes.DENSE, dense_sizes, [row for _, row in dense], "peer")] if dense else []
  by_depth, by_size = exponent(depths, trees), exponent(sizes, trees)
  of_dense = exponent(dense_sizes, dense_times)
  table = tables.Table(
    ("depth", "tree, ms", "dense, ms", "dense / tree"),
    tuple(
      tables.Row(
        f"{k:,}",
        (
          tables.Cell(str(depth)),
          tables.Cell(f"{row['ours_ms']:.2f}"),
          *(
            (tables.Cell(f"{row['peer_ms']:.1f}"), tables.Cell(f"{row['speedup']:.0f}"))
            if row["peer"] == classes.DENSE
            else (tables.Cell("–"), tables.Cell("–"))
          ),
        ),
      )
      for (k, row), depth in zip(found, depths, strict=True)
    ),
    name_column="classes",
  )
  panel = line_plot.Panel("ms a step", "classes", lines, ("log", "log"))
  caption = "Medians, with the range of the repeats as a band."
  last = found[-1][1]
  return note.write_note(
    workdir,
    title="Time of a training step by the number of classes",
    blocks=[
      "A step is the loss, its gradients and Adam's update, for {} examples of {} features. "
      "Time = c x^a, with a ± its standard error:".format(*classes.TREE),
      f"- tree, x the depth: a = {by_depth[0]:.2f} ± {by_depth[1]:.2f}\n"
      f"- tree, x the number of classes: a = {by_size[0]:.3f} ± {by_size[1]:.3f}\n"
      f"- {classes.DENSE}, x the number of classes: a = {of_dense[0]:.2f} ± {of_dense[1]:.2f}",
      note.make_plot("scaling", "Time of a step", caption, line_plot.line_plot([panel])),
      table,
    ],
    facts={
      "command": f"`{line}`",
      "repeats": last["repeats"],
      "device": last["device"],
      "versions": last["versions"],
    },
  )


def _line(name: str, sizes: list[int], rows: list[dict[str, Any]], side: str) -> line_plot.Line:
  low, high = zip(*(row[f"{side}_ms_range"] for row in rows), strict=True)
  return line_plot.Line(name, sizes, [row[f"{side}_ms"] for row in rows], (low, high))


def main() -> None:
  """Read, fit and report."""
  with command.errors_explained():
    path = pathlib.Path(_RESULTS.value)
    if not path.is_file():
      raise ValueError(f"Got --results={path}, which is no file.")
    workdir = command.prepare_workdir(_WORKDIR.value)
    line = shlex.join(["python", "-m", "experiments.tree_scaling", *sys.argv[1:]])
    report = write_report(workdir, results.read(path), line)
  print(f"Report: {report}")


if __name__ == "__main__":
  command.run(main)
