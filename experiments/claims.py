"""Write the ledger: each checkable claim of the papers, and what the committed results say of it.

    python -m experiments.claims

Reads results/*/results.jsonl and writes results/claims.md. Nothing is trained.
"""

import pathlib

from absl import flags

from experiments import command
from softmax_research.reporting import claims, ledger
from softmax_research.reporting.claim_list import CLAIMS
from softmax_research.training import results

_RESULTS = flags.DEFINE_string("results", "results", "Directory of the committed results.")


def main() -> None:
  """Write the ledger and say how many claims are decided."""
  directory = pathlib.Path(_RESULTS.value)
  with command.errors_explained():
    if not directory.is_dir():
      raise ValueError(f"Got --results={directory}, which is no directory.")
    records = {
      path.parent.name: results.read(path) for path in sorted(directory.glob("*/results.jsonl"))
    }
    rulings = claims.rule(CLAIMS, records)
    path = directory / "claims.md"
    path.write_text(
      ledger.make_ledger(rulings, command="python -m experiments.claims"), encoding="utf-8"
    )
  for ruling in rulings:
    print(f"{ruling.claim.paper}: {ruling.claim.text}: {ruling.verdict}")
  print(f"Ledger: {path}")


if __name__ == "__main__":
  command.run(main)
