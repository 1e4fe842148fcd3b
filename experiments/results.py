"""Make the reports of committed results anew, without training.

    python -m experiments.results

Every directory under results/ that a study left gets its report.md and its figures again, made from
results.jsonl and config.json alone; figures that its report no longer has are removed.
"""

import pathlib

from absl import flags

from experiments import studies
from softmax_research.study import command, workdir

_RESULTS = flags.DEFINE_string("results", "results", "Directory of the committed results.")


def main() -> None:
  for path in sorted(pathlib.Path(_RESULTS.value).glob("*/config.json")):
    name, _ = workdir.read_config(path.parent)
    written = command.remake(studies.find(name), path.parent, formats=("md",))
    for figure in (path.parent / "figures").glob("*"):
      if figure not in written:
        figure.unlink()
    print(path.parent)


if __name__ == "__main__":
  command.run_script(main)
