"""Make the reports of committed results anew, without training.

    python -m experiments.results

Every directory under results/ that a study left gets its report, figures and all, made from
results.jsonl and config.json alone.
"""

import pathlib

from absl import app, flags

from experiments import studies
from softmax_research import study
from softmax_research.study import command, workdir

_RESULTS = flags.DEFINE_string("results", "results", "Directory of the committed results.")
_FORMATS = flags.DEFINE_list("formats", ["md"], "Of the reports: md, html, csv, latex, svg, pdf.")


def main(argv: list[str]) -> None:
  """Make all reports."""
  with command.errors_explained():
    if argv[1:]:
      raise ValueError(f"Got {' '.join(argv[1:])}, which no flag takes.")
    for path in sorted(pathlib.Path(_RESULTS.value).glob("*/config.json")):
      name, _ = workdir.read_config(path.parent)
      study.remake(studies.find(name), path.parent, formats=_FORMATS.value)
      print(f"{path.parent}: made anew")


if __name__ == "__main__":
  app.run(main)
