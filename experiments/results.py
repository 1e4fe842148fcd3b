"""Make the reports of committed results anew, without training.

    python -m experiments.results

Every directory under results/ that a comparison of heads, a paper's table or a study left gets its
report and figures again, made from results.jsonl and config.json alone. Where a report needs more,
as that of localisation, which shows maps, it is left as it is: it comes from its own command, run
again in a copy of the directory.
"""

import pathlib

from absl import flags

from experiments import command, committed

_RESULTS = flags.DEFINE_string("results", "results", "Directory of the committed results.")


def main() -> None:
  """Rebuild what can be rebuilt."""
  with command.errors_explained():
    for path in sorted(pathlib.Path(_RESULTS.value).glob("*/config.json")):
      made = committed.remake(path.parent)
      print(f"{path.parent}: {'made anew' if made else 'left as it is'}")


if __name__ == "__main__":
  command.run(main)
