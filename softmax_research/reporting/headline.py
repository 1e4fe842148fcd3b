"""Headline: one verdict a claim, counted by paper, as the README shows it."""

from collections.abc import Sequence

from softmax_research.reporting import verdicts
from softmax_research.reporting.claims import Ruling
from softmax_research.reporting.markdown import markdown_table
from softmax_research.reporting.observations import measure_of
from softmax_research.reporting.tables import Cell, Row, Table

_NOT_TESTED = "not tested"
_KINDS = (verdicts.HOLDS, verdicts.DOES_NOT_HOLD, verdicts.UNDECIDED, _NOT_TESTED)
_BEGIN, _END = "<!-- headline: begin, by make results -->", "<!-- headline: end -->"
_RULE = (
  "A claim that is tested in several places counts once, by the test nearest to the paper's "
  "protocol. [The ledger](claims.md) has every test, with intervals, p-values and rules."
)


def decisive(rulings: Sequence[Ruling]) -> list[Ruling]:
  """Return for each claim the ruling that counts: its first with results, or else its first.

  Args:
    rulings: of `claims.rule`, which has the tests nearest to the paper's protocol first.
  """
  chosen: dict = {}
  for ruling in rulings:
    if ruling.claim not in chosen or (ruling.findings and not chosen[ruling.claim].findings):
      chosen[ruling.claim] = ruling
  return list(chosen.values())


def kind(ruling: Ruling) -> str:
  """Return a verdict without its reason: `holds`, `not tested` and so on."""
  return next(name for name in _KINDS if ruling.verdict.startswith(name))


def counts_table(rulings: Sequence[Ruling]) -> Table:
  """Count the verdicts of each paper, and of all."""
  chosen = decisive(rulings)
  rows = []
  for paper in dict.fromkeys(ruling.claim.paper for ruling in chosen):
    own = [kind(ruling) for ruling in chosen if ruling.claim.paper == paper]
    rows.append(_row(paper, own))
  rows.append(_row("all", [kind(ruling) for ruling in chosen]))
  return Table(
    ("claims", "hold", "do not hold", "undecided", "not tested"), tuple(rows), name_column="paper"
  )


def claims_table(rulings: Sequence[Ruling]) -> Table:
  """List the claims, each with the test that counts."""
  rows = []
  for ruling in decisive(rulings):
    cells = (
      Cell(ruling.claim.paper),
      Cell(ruling.verdict, strong=bool(ruling.findings)),
      Cell(ruling.test.results if ruling.findings else ""),
      Cell("; ".join(_difference(finding) for finding in ruling.findings)),
    )
    rows.append(Row(ruling.claim.text, cells))
  columns = ("paper", "verdict", "results", "difference, 95% interval, n")
  return Table(columns, tuple(rows), name_column="claim")


def make_headline(rulings: Sequence[Ruling], *, command: str) -> str:
  """Render the counts and the claims as Markdown."""
  blocks = ["# Which claims hold, at a glance", f"Made by `{command}`.", _RULE]
  blocks += [markdown_table(counts_table(rulings)), markdown_table(claims_table(rulings))]
  return "\n\n".join(blocks) + "\n"


def make_block(rulings: Sequence[Ruling], figures: Sequence[tuple[str, str]]) -> str:
  """Render what stands in the README: the counts, and figures as pairs of a text and a path."""
  pictures = [f"![{text}]({path})" for text, path in figures]
  return "\n\n".join([markdown_table(counts_table(rulings)), *pictures])


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


def _row(name: str, found: Sequence[str]) -> Row:
  numbers = (len(found), *(found.count(kind) for kind in _KINDS))
  return Row(name, tuple(Cell(str(number)) for number in numbers))


def _difference(finding) -> str:
  measure, paired = measure_of(finding.comparison.metric), finding.paired
  low, high = (measure.format(end, signed=True) for end in (paired.low, paired.high))
  unit = measure.difference_unit or measure.label
  mean = measure.format(paired.mean, signed=True)
  return f"{mean} [{low}, {high}] {unit}, n = {paired.n}"
