"""Rebuild the report of an experiment from its results file.

    python -m experiments.report --results=runs/digits/results.jsonl

Writes report.html, report.md and figures/ beside the results, or where --out says. The first head
of the last run's configuration is the one that the others are compared with.
"""

import pathlib

from absl import flags

from experiments import command
from softmax_research import reporting

_RESULTS = flags.DEFINE_string("results", None, "JSON-lines file of an experiment.", required=True)
_OUT = flags.DEFINE_string("out", None, "Directory of the report; by default beside the results.")
_TITLE = flags.DEFINE_string("title", None, "Title; by default made from heads and data set.")


def main() -> None:
  """Write the report and say where it is."""
  results = pathlib.Path(_RESULTS.value)
  with command.errors_explained():
    pages = reporting.write_report(results, _OUT.value or results.parent, title=_TITLE.value)
  print(f"Report: {pages.html}")


if __name__ == "__main__":
  command.run(main)
