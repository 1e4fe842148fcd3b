"""Write the ledger: each checkable claim of the papers, and what the committed results say of it.

    python -m experiments.claims

Reads results/*/results.jsonl; writes results/claims.md, the ledger, results/headline.md, one line
a claim, and results/figures/; puts counts and figures into the README beside results/, between its
markers. Nothing is trained.
"""

import pathlib

from absl import flags

from experiments import command
from experiments.reproduction import published_errors
from softmax_research.reporting import claims, headline, ledger
from softmax_research.reporting.claim_list import CLAIMS
from softmax_research.training import results

_RESULTS = flags.DEFINE_string("results", "results", "Directory of the committed results.")


_COMMAND = "python -m experiments.claims"


def main() -> None:
  """Write the ledger and what the README shows of it."""
  directory = pathlib.Path(_RESULTS.value)
  with command.errors_explained():
    if not directory.is_dir():
      raise ValueError(f"Got --results={directory}, which is no directory.")
    rulings = claims.rule(CLAIMS, read_results(directory))
    ledger_path = directory / "claims.md"
    texts = {
      ledger_path: ledger.make_ledger(rulings, command=_COMMAND),
      directory / "headline.md": headline.make_headline(rulings, command=_COMMAND),
    }
    figures = draw(directory, rulings)
    readme = directory.absolute().parent / "README.md"
    if readme.is_file():
      before = readme.read_text(encoding="utf-8")
      texts[readme] = headline.insert(before, headline.make_block(rulings, figures))
    for path, text in texts.items():
      path.write_text(text, encoding="utf-8")
  for ruling in rulings:
    print(f"{ruling.claim.paper}: {ruling.claim.text}: {ruling.verdict}")
  print(f"Ledger: {ledger_path}")


def read_results(directory: pathlib.Path) -> dict[str, list[dict]]:
  """Return the records of each directory of results."""
  paths = sorted(directory.glob("*/results.jsonl"))
  return {path.parent.name: results.read(path) for path in paths}


def draw(directory: pathlib.Path, rulings: list[claims.Ruling]) -> list[tuple[str, str]]:
  """Write the figures; return what each shows with its path, as seen from beside `directory`.

  What there are no results for yet is not drawn.
  """
  # Matplotlib takes long to import.
  from softmax_research.reporting import (  # noqa: PLC0415
    claims_plot,
    figure_style,
    published_plot,
  )

  points = published_errors.points(directory)
  drawn = (
    ("claims", "How far the seeds speak for each claim", claims_plot.claims_plot(rulings)),
    ("errors", "Test errors here and in the papers", published_plot.published_plot(points)),
  )
  found = []
  for name, text, figure in drawn:
    path = directory / "figures" / f"{name}.svg"
    path.unlink(missing_ok=True)
    if figure is not None:
      path.parent.mkdir(exist_ok=True)
      path.write_text(figure_style.to_svg(figure, name), encoding="utf-8")
      found.append((text, f"{directory.name}/figures/{name}.svg"))
  return found


if __name__ == "__main__":
  command.run(main)
