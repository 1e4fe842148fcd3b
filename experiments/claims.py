"""Write the ledger: each checkable claim of the papers, and what the committed results say of it.

    python -m experiments.claims

Reads results/*/results.jsonl; writes results/claims.md, the ledger, results/headline.md, one line
a claim, and results/figures/; puts counts and figures into the README beside results/, between its
markers. Nothing is trained.
"""

import pathlib

from absl import flags

from experiments.ledger import writing
from softmax_research.study import claims, command

_RESULTS = flags.DEFINE_string("results", "results", "Directory of the committed results.")


def main() -> None:
  """Write the ledger and what the README shows of it."""
  directory = pathlib.Path(_RESULTS.value)
  if not directory.is_dir():
    raise ValueError(f"Got --results={directory}, which is no directory.")
  rulings = writing.judge(directory)
  path = writing.write(directory, rulings)
  for ruling in claims.decisive(rulings):
    why = f" ({ruling.reason})" if ruling.reason else ""
    print(f"{ruling.claim.paper}: {ruling.claim.text}: {ruling.verdict}{why}")
  print(f"Ledger: {path}")


if __name__ == "__main__":
  command.run_script(main)
