"""Write the ledger: each checkable claim of the papers, and what the committed results say of it.

    python -m experiments.claims

Reads results/*/results.jsonl; writes results/claims.md, the ledger, results/headline.md, one line
a claim, and results/figures/; puts the decided claims and their figure into the README beside
results/, between its markers. Nothing is trained.
"""

import pathlib
from collections.abc import Sequence

from absl import flags

from experiments.ledger import plots
from experiments.ledger.claim_list import CLAIMS
from softmax_research.study import claims, command, ledger, markdown, workdir
from softmax_research.study.blocks import Plot
from softmax_research.study.claims import Ruling
from softmax_research.study.figure_style import to_svg

_RESULTS = flags.DEFINE_string("results", "results", "Directory of the committed results.")

_BEGIN, _END = "<!-- headline: begin, by make results -->", "<!-- headline: end -->"
_MADE = "Made by `python -m experiments.claims`."
_HEADLINE = (
  "A claim that is tested in several places counts once, by the first test that decides. "
  "[The ledger](claims.md) has every test, with intervals, p-values and rules."
)


def main() -> None:
  directory = pathlib.Path(_RESULTS.value)
  if not directory.is_dir():
    raise ValueError(f"Got --results={directory}, which is no directory.")
  rulings = judge(directory)
  path = write(directory, rulings)
  for ruling in claims.decisive(rulings):
    why = f" ({ruling.reason})" if ruling.reason else ""
    print(f"{ruling.claim.paper}: {ruling.claim.text}: {ruling.verdict}{why}")
  print(f"Ledger: {path}")


def judge(directory: pathlib.Path) -> list[Ruling]:
  """Judge all claims by the results in a directory, with a directory for each."""
  paths = sorted(directory.glob("*/results.jsonl"))
  return claims.judge(CLAIMS, {path.parent.name: workdir.read(path.parent) for path in paths})


def ledger_text(rulings: Sequence[Ruling]) -> str:
  """Return the ledger as Markdown: every test of every claim."""
  title = "# Claims of the papers, and what the results here say of them"
  return markdown.render([title, _MADE, *ledger.of_papers(rulings)])


def draw(directory: pathlib.Path, rulings: Sequence[Ruling]) -> list[Plot]:
  """Draw what the results say of the claims and, where there are tables, their errors."""
  drawn = (plots.claims_plot(rulings), plots.errors_plot(directory))
  return [plot for plot in drawn if plot is not None]


def headline_text(rulings: Sequence[Ruling], drawn: Sequence[Plot]) -> str:
  """Return one line a claim as Markdown: what is decided, what is indicated, what is not tested."""
  blocks = [
    "# What is decided of the papers' claims",
    _MADE,
    ledger.in_brief(rulings),
    _HEADLINE,
    ledger.counts(rulings),
    "## Tested",
    *ledger.REGIMES,
    ledger.headline(rulings),
    *drawn,
    "## Indications of short tests",
    ledger.indications(rulings),
    "## Not tested",
    ledger.untested(rulings),
  ]
  return markdown.render(blocks, {plot.name: f"figures/{plot.name}.svg" for plot in drawn})


def write(directory: pathlib.Path, rulings: Sequence[Ruling]) -> pathlib.Path:
  """Write claims.md, whose path is returned, headline.md, figures, and what the README shows."""
  drawn = draw(directory, rulings)
  (directory / "figures").mkdir(exist_ok=True)
  for plot in drawn:
    path = directory / "figures" / f"{plot.name}.svg"
    path.write_text(to_svg(plot.figure, plot.name), encoding="utf-8")
  path = directory / "claims.md"
  path.write_text(ledger_text(rulings), encoding="utf-8")
  (directory / "headline.md").write_text(headline_text(rulings, drawn), encoding="utf-8")
  readme = directory.absolute().parent / "README.md"
  if readme.is_file():
    blocks = [ledger.in_brief(rulings), ledger.headline(rulings, undecided=False), *drawn[:1]]
    figures = {plot.name: f"{directory.name}/figures/{plot.name}.svg" for plot in drawn[:1]}
    block = markdown.render(blocks, figures).rstrip("\n")
    text = insert(readme.read_text(encoding="utf-8"), block)
    readme.write_text(text, encoding="utf-8")
  return path


def insert(text: str, block: str) -> str:
  """Put a block between the markers of a text; a text without markers stays as it is.

  Example:
    >>> text = insert("a <!-- headline: begin, by make results -->b<!-- headline: end --> c", "new")
    >>> text.splitlines()[2]
    'new'
  """
  before, begin, rest = text.partition(_BEGIN)
  _, end, after = rest.partition(_END)
  if not (begin and end):
    return text
  return f"{before}{begin}\n\n{block}\n\n{end}{after}"


if __name__ == "__main__":
  command.run_script(main)
