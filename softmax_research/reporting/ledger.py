"""The ledger of claims as Markdown: the paper's number, ours, the test and the verdict."""

from collections.abc import Sequence

from softmax_research.reporting import measures, papers
from softmax_research.reporting.claims import Finding, Ruling, published_difference
from softmax_research.reporting.markdown import markdown_table
from softmax_research.reporting.observations import measure_of
from softmax_research.reporting.statistics import Summary
from softmax_research.reporting.tables import Cell, Row, Table

_METHOD = (
  "A claim of a difference holds if the paired t-test over the common seeds is significant at 5% "
  "in that direction; it does not hold if it is significant in the other, or if the whole interval "
  "is too small to matter. A claim of no difference holds if the whole interval is that small. Too "
  "small to matter: within half a point of accuracy and a tenth of the baseline's errors, of other "
  "measures a tenth of the baseline's. All else is undecided. p (Holm) is corrected over all "
  "comparisons of a paper. Effect size: mean over standard deviation of the differences. "
  "Detectable: the true difference that so many seeds would have shown with 80% power, given "
  'their spread. Paper: the paper\'s own difference; "unverified" numbers are recalled and were '
  "read in no source."
)


def make_ledger(rulings: Sequence[Ruling], *, command: str) -> str:
  """Render rulings.

  Args:
    rulings: of `claims.rule`.
    command: that makes the ledger.

  Returns:
    Markdown text.
  """
  blocks = ["# Claims of the papers, and which hold here", f"Made by `{command}`.", _METHOD]
  blocks.append(markdown_table(_overview(rulings)))
  names = list(dict.fromkeys(ruling.claim.paper for ruling in rulings))
  for name in names:
    paper = papers.load(name)
    blocks.append(f'## {name}\n\n{paper.citation}, "{paper.title}", arXiv {paper.arxiv}.')
    of_paper = [ruling for ruling in rulings if ruling.claim.paper == name]
    for claim in dict.fromkeys(ruling.claim for ruling in of_paper):
      blocks.append(f"### {claim.text}")
      if claim.limits:
        blocks.append(claim.limits)
      own = [ruling for ruling in of_paper if ruling.claim == claim]
      blocks.append("\n".join(f"- {_where(r)}: **{r.verdict}**" for r in own))
      if any(ruling.findings for ruling in own):
        blocks.append(markdown_table(_findings(paper, own)))
  return "\n\n".join(blocks) + "\n"


def _where(ruling: Ruling) -> str:
  if ruling.test is None:
    return "nowhere"
  setting = f", {ruling.test.setting}" if ruling.test.setting else ""
  return f"results/{ruling.test.results}{setting} ({ruling.test.protocol})"


def _overview(rulings: Sequence[Ruling]) -> Table:
  rows = [
    Row(
      r.claim.text, (Cell(r.claim.paper), Cell(r.test.results if r.test else ""), Cell(r.verdict))
    )
    for r in rulings
  ]
  return Table(("paper", "results", "verdict"), tuple(rows), name_column="claim")


def _findings(paper: papers.Paper, rulings: Sequence[Ruling]) -> Table:
  columns = (
    "comparison",
    "paper",
    "ours",
    "baseline",
    "n",
    "difference",
    "p (Holm)",
    "effect size",
    "verdict",
    "detectable",
  )
  rows = [
    Row(ruling.test.results, _cells(paper, finding))
    for ruling in rulings
    for finding in ruling.findings
  ]
  return Table(columns, tuple(rows), name_column="results")


def _cells(paper: papers.Paper, finding: Finding) -> tuple[Cell, ...]:
  comparison, paired = finding.comparison, finding.paired
  measure = measure_of(comparison.metric)

  def interval(low, high, *, signed=False):
    return f"[{measure.format(low, signed=signed)}, {measure.format(high, signed=signed)}]"

  def ours(summary: Summary) -> Cell:
    return Cell(measure.format(summary.mean), detail=interval(summary.low, summary.high))

  return (
    Cell(describe(finding)),
    Cell(published_difference(paper, comparison)),
    ours(finding.row),
    ours(finding.baseline),
    Cell(str(paired.n)),
    Cell(
      measure.format(paired.mean, signed=True),
      detail=interval(paired.low, paired.high, signed=True),
    ),
    Cell(measures.format_p_value(finding.p_corrected)),
    Cell(measures.format_number(paired.effect_size, 2, signed=True)),
    Cell(finding.verdict),
    Cell(measure.format(finding.detectable)),
  )


def describe(finding: Finding) -> str:
  """Say what is compared and what is claimed of it.

  Example:
    >>> from softmax_research.reporting.claims import Comparison
    >>> describe(Finding(Comparison("m=2", "softmax", "error", -1), *[None] * 7))
    'error of m=2 lower than that of softmax'
  """
  comparison = finding.comparison
  word = {1: "higher than", -1: "lower than", 0: "the same as"}[comparison.sign]
  label = measure_of(comparison.metric).label
  row, baseline = (
    f"{name} ({metric.rpartition('/')[0]})" if "/" in metric else name
    for name, metric in (
      (comparison.row, comparison.metric),
      (comparison.baseline, comparison.baseline_metric or comparison.metric),
    )
  )
  return f"{label} of {row} {word} that of {baseline}"
