"""Make the reports of committed results anew, without training.

    python -m experiments.results

Every directory under results/ that a study left gets its report.md and its figures again, made from
results.jsonl and config.json alone. A figure that the former report has and the new one has not is
removed; no other file is.
"""

import pathlib
import re

from absl import flags

from experiments import studies
from softmax_research.study import command, workdir

_RESULTS = flags.DEFINE_string("results", "results", "Directory of the committed results.")


def main() -> None:
  for path in sorted(pathlib.Path(_RESULTS.value).glob("*/config.json")):
    name, _ = workdir.read_config(path.parent)
    report = path.with_name("report.md")
    former = report.read_text(encoding="utf-8", errors="replace") if report.exists() else ""
    written = command.remake(studies.find(name), path.parent, formats=("md",))
    for figure in re.findall(r"\]\((figures/[\w=.-]+\.svg)\)", former):
      if path.parent / figure not in written:
        (path.parent / figure).unlink(missing_ok=True)
    print(path.parent)


if __name__ == "__main__":
  command.run_script(main)
