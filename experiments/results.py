"""Make the reports of committed results anew, without training.

    python -m experiments.results

Every directory under results/ that a study left gets its report.md and its figures again, made from
results.jsonl and config.json alone; figures that its report no longer has are removed.
"""

import pathlib

from absl import app, flags

from experiments import studies
from softmax_research.study import command, workdir

_RESULTS = flags.DEFINE_string("results", "results", "Directory of the committed results.")


def main(argv: list[str]) -> None:
  """Make all reports."""
  with command.errors_explained():
    if argv[1:]:
      raise ValueError(f"Got {' '.join(argv[1:])}, which no flag takes.")
    for path in sorted(pathlib.Path(_RESULTS.value).glob("*/config.json")):
      remake(path.parent)
      print(path.parent)


def remake(directory: pathlib.Path) -> None:
  """Make the report of a directory by the study that its config.json names."""
  name, _ = workdir.read_config(directory)
  written = command.remake(studies.find(name), directory, formats=("md",))
  for figure in (directory / "figures").glob("*"):
    if figure not in written:
      figure.unlink()


if __name__ == "__main__":
  app.run(main)
