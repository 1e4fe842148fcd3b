"""Make the report of a study anew from its results, without training.

    python -m experiments.report --results=runs/digits
    python -m experiments.report --results=runs/digits --out=paper --formats=md,csv,latex,pdf

Any study's: its config.json says which. The report and its figures lie beside the results, or where
--out says.
"""

import pathlib

from absl import flags

from experiments import studies
from softmax_research.study import command, report, workdir

_RESULTS = flags.DEFINE_string(
  "results", None, "Working directory of a study, or its results.jsonl.", required=True
)
_OUT = flags.DEFINE_string("out", None, "Directory of the report; by default beside the results.")
_TITLE = flags.DEFINE_string("title", None, "Title; by default the report's own.")
_FORMATS = flags.DEFINE_list("formats", ["md", "html"], f"Of {', '.join(report.FORMATS)}.")


def main() -> None:
  path = pathlib.Path(_RESULTS.value).expanduser()
  directory = path if path.is_dir() else path.parent
  if not list(directory.glob("results*.jsonl")):
    raise ValueError(f"Got --results={path}, where there is no results.jsonl of a study.")
  of = studies.find(workdir.read_config(directory)[0])
  formats = tuple(_FORMATS.value)
  out = pathlib.Path(_OUT.value or directory).expanduser()
  with command.errors_explained(out):
    written = command.remake(of, directory, out, title=_TITLE.value, formats=formats)
  print(f"Report: {written[0]}" if written else "There is nothing to report yet.")


if __name__ == "__main__":
  command.run_script(main)
