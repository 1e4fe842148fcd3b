"""The ledger: rulings on claims as blocks of a report, for papers and for a study of its own."""

import math
from collections.abc import Sequence

from softmax_research.study import claims, papers, record, statistics, verdicts
from softmax_research.study.blocks import Block, Cell, Table, table_of
from softmax_research.study.claims import Claim, Finding, Ruling
from softmax_research.study.measures import MISSING, format_p_value, measure_of

#: What verdicts, regimes and columns are.
RULES = (
  "Seeds are paired: each difference is of two runs with one seed. A claimed difference is "
  "**supported** where a paired t-test is significant in that direction, and **contradicted** "
  "where the interval excludes the paper's own difference or, where that was not read, where the "
  "test is significant in the other direction. It is **negligible** where the interval lies "
  "within the smallest difference of interest, and otherwise **undecided**. That two numbers are "
  "the same is supported where both one-sided tests reject that they differ by that much, and "
  "that one is no worse than the other where one such test does; either is contradicted where "
  "the whole interval lies beyond it.",
  "p (Holm) is corrected over all comparisons of a paper, each of which enters once, and "
  "intervals are at the level that this leaves to the comparison, of those that are not "
  "significant at 5 % over the number of all; it stands behind them. The "
  "smallest difference of interest is half a point of accuracy and no more than a tenth of the "
  "baseline's errors, of other measures a tenth of the baseline's, unless the claim says "
  "otherwise; where a difference is claimed, it is at most half of the paper's own. Detectable "
  "is the true difference that so many seeds, with their spread, would have shown with a "
  "probability of 80 %. Accuracies, errors and ECE are in percent, and their differences in "
  "points.",
)
#: Where tests stand to the papers.
REGIMES = (
  "Each test has a regime: **paper** is the paper's protocol, its deviations named; **modern** "
  "is a net and training as good practice has them today, tuned for each row at equal budget on "
  "validation; **short** has the paper's nets or data cut down. Verdicts come from the "
  "first two alone. What short tests show is an indication, for or against; it refutes nobody.",
)
#: What a study's own verdicts are of.
OWN = (
  "This is what the runs of this report say of the claims. Where they have a paper's nets or data "
  "cut down, that is an indication, for or against, which refutes no paper; the ledger of the "
  "papers' claims says which do. It corrects over the comparisons of all results, here they are "
  "those of this report: it may leave undecided what is decided here."
)
#: What is said of the papers' numbers.
ORIGINS = (
  "Papers' numbers were read in a transcription of the paper by others where they are marked "
  "secondary, and nowhere where they are marked unverified; those refute nobody either. Where the "
  "baseline has fewer errors here than in the paper, or a lower number of another measure, the "
  "paper's own difference is taken to be less in proportion before it can be excluded."
)


def counts(rulings: Sequence[Ruling]) -> Table:
  """Count the verdicts on each paper's claims, the decided ones by regime, and what short tests
  indicate of those untested.
  """
  chosen = claims.decisive(rulings)
  indicated, rows = claims.indicated(rulings), []
  for name in (*dict.fromkeys(ruling.claim.paper for ruling in chosen), "all"):
    own = [r for r in chosen if name in (r.claim.paper, "all")]
    found = [ruling.verdict for ruling in own]
    hints = [_verdict(r, r.verdict) for r in indicated if name in (r.claim.paper, "all")]
    numbers = {"claims": len(own), **{of: found.count(of) for of in verdicts.VERDICTS}}
    decided = [r.test.regime for r in own if r.findings and r.verdict != verdicts.UNDECIDED]
    numbers |= {f"decided: {of}": decided.count(of) for of in ("paper", "modern")}
    numbers |= {f"short tests: {of}": hints.count(of) for of in ("for", "against")}
    # Most counts are zero: left blank, they let the others be seen.
    rows.append((name, {title: str(number or "") for title, number in numbers.items()}))
  return table_of(rows, "paper", "counts")


def headline(rulings: Sequence[Ruling], *, undecided: bool = True) -> Table:
  """List the claims that a test decides, each with what decides, and those it leaves undecided."""
  tested = [ruling for ruling in claims.decisive(rulings) if ruling.findings]
  chosen = [r for r in tested if undecided or r.verdict != verdicts.UNDECIDED]
  return _overview(chosen, "headline")


def in_brief(rulings: Sequence[Ruling]) -> str:
  """Say in two sentences how many claims are decided, and how, and how many are not."""
  chosen = claims.decisive(rulings)
  found = [ruling.verdict for ruling in chosen]
  regimes = [r.test.regime for r in chosen if r.findings and r.verdict != verdicts.UNDECIDED]
  of = {verdict: f"{found.count(verdict)} {verdict}" for verdict in verdicts.VERDICTS}
  return (
    f"Of {len(chosen)} claims {len(regimes)} are decided, {regimes.count('paper')} in the paper's "
    f"protocol and {regimes.count('modern')} in one of today's: {of[verdicts.SUPPORTED]}, "
    f"{of[verdicts.CONTRADICTED]}, {of[verdicts.NEGLIGIBLE]}. Of the others "
    f"{found.count(verdicts.UNDECIDED)} were tested and are undecided, "
    f"{found.count(verdicts.NOT_TESTED)} wait for a test."
  )


def indications(rulings: Sequence[Ruling]) -> Table:
  """List what the short tests show."""
  short = [ruling for ruling in rulings if ruling.findings and not ruling.test.decides]
  return _overview(short, "indications")


def untested(rulings: Sequence[Ruling]) -> Table:
  """List the claims that nothing decides, and why."""
  rows = [
    (r.claim.text, {"paper": r.claim.paper, "why": _reason(r)})
    for r in claims.decisive(rulings)
    if not r.findings
  ]
  return table_of(rows, "claim", "untested")


def findings(rulings: Sequence[Ruling], *, of_papers: bool = True) -> Table:
  """List every comparison of tests; of papers, also where each was tested and what they have."""
  rows = []
  for ruling in rulings:
    for finding in ruling.findings:
      measure, paper = finding.comparison.measure, ruling.claim.paper
      where = [ruling.test.results, record.describe(finding.where)]
      cells = {
        "regime": ruling.test.regime,
        "comparison": describe(finding.comparison),
        "n": _n(finding),
        "ours": measure.format(finding.row.mean),
        "baseline": measure.format(finding.baseline.mean),
        "baseline in the paper": _papers_baseline(paper, finding.comparison),
        "paper's difference": _papers_difference(paper, finding.comparison),
        "difference": _difference(finding),
        "p (Holm)": format_p_value(finding.p_corrected),
        "smallest of interest": measure.format(finding.smallest),
        "detectable": measure.format_detectable(finding.detectable),
        "verdict": _verdict(ruling, finding.verdict),
      }
      if not of_papers:
        for title in ("regime", "baseline in the paper", "paper's difference"):
          del cells[title]
      rows.append((", ".join(part for part in where if part), cells))
  return table_of(rows, "results" if of_papers else "where", "findings")


def of_papers(rulings: Sequence[Ruling]) -> list[Block]:
  """Return the whole ledger: for each claim its tests, those that decide before the short ones."""
  blocks: list[Block] = [*RULES, *REGIMES, ORIGINS, counts(rulings)]
  for name in dict.fromkeys(ruling.claim.paper for ruling in rulings):
    paper = papers.load(name)
    blocks.append(f"## {name}")
    arxiv = f", arXiv {paper.arxiv}" if paper.arxiv else ""
    blocks.append(f'{paper.citation}, "{paper.title}"{arxiv}.')
    own = [ruling for ruling in rulings if ruling.claim.paper == name]
    for chosen in claims.decisive(own):
      claim = chosen.claim
      blocks.append(f"### {claim.text}: {chosen.verdict}{_because(chosen)}")
      if claim.limits:
        blocks.append(claim.limits)
      of_claim = [ruling for ruling in own if ruling.claim is claim and ruling.test]
      if of_claim:
        blocks.append("\n".join(f"- {_describe_test(ruling)}" for ruling in of_claim))
      for decides, title in ((True, "Tests that decide:"), (False, "Indications:")):
        shown = [r for r in of_claim if r.findings and r.test.decides == decides]
        if shown:
          blocks += [title, findings(shown)]
  return blocks


def of_study(list_of: Sequence[Claim], records: Sequence[dict]) -> list[Block]:
  """Return what a study's report says of its own claims; nothing where no record tests one."""
  tested = [r for r in claims.judge(list_of, {None: records}) if r.findings]
  if not tested:
    return []
  rows = []
  for ruling in tested:
    verdict = Cell(_verdict(ruling, ruling.verdict), strong=ruling.test.decides)
    cells = {"by": ruling.claim.paper, "verdict": verdict, "difference": _summary(ruling)}
    rows.append((ruling.claim.text, cells))
  table = table_of(rows, "claim", "claims")
  return ["## Claims", OWN, *RULES, table, findings(tested, of_papers=False)]


def describe(comparison: claims.Comparison) -> str:
  """Say what is compared and what is claimed of it."""
  word = {"same": "the same as", "no_worse": "no worse than"}.get(
    comparison.direction, f"{comparison.direction} than"
  )
  measure = comparison.measure
  ours = _name(comparison.row, comparison.metric)
  if isinstance(comparison.baseline, int | float):
    return f"{measure.label} of {ours} {word} {measure.format(comparison.baseline)}"
  other = comparison.baseline_metric or comparison.metric
  theirs = _name(comparison.baseline, other)
  label = measure_of(other).label
  of_theirs = "that" if label == measure.label else f"the {label}"
  return f"{measure.label} of {ours} {word} {of_theirs} of {theirs}"


# Where the parts of a path stand says nothing to a reader.
_PLACES = ("metrics", "measured", "estimators", "localisation", "maps", "test", "stairs")


def _name(row: claims.Row, metric: str) -> str:
  *parts, _ = [part for part in metric.split("/") if not part.isdigit()]
  parts = [part for part in parts if part not in _PLACES]
  name = row if isinstance(row, str) else record.describe(row)
  parts = [part for part in parts if part != name]
  if not name:
    return " ".join(parts)
  return f"{name} ({', '.join(parts)})" if parts else name


# Of a short test a verdict is but an indication.
_INDICATED = {verdicts.SUPPORTED: "for", verdicts.CONTRADICTED: "against"}


def _verdict(ruling: Ruling, verdict: str) -> str:
  return verdict if ruling.test.decides else _INDICATED.get(verdict, verdict)


def _overview(rulings: Sequence[Ruling], name: str) -> Table:
  rows = []
  for ruling in rulings:
    finding = _decider(ruling)
    comparison, measure = finding.comparison, finding.comparison.measure
    cells = {
      "paper": ruling.claim.paper,
      "verdict": Cell(_verdict(ruling, ruling.verdict), strong=ruling.test.decides),
      "regime": ruling.test.regime,
      "results": ruling.test.results or "",
      "difference, corrected interval, n, detectable": _summary(ruling),
      "baseline here": f"{measure.format(finding.baseline.mean)} {measure.unit}".strip(),
      "baseline in the paper": _papers_baseline(ruling.claim.paper, comparison),
    }
    rows.append((ruling.claim.text, cells))
  return table_of(rows, "claim", name)


def _decider(ruling: Ruling) -> Finding:
  """Return the comparison that the verdict hangs on."""
  deciding = [f for f in ruling.findings if f.verdict == ruling.verdict]
  if ruling.verdict in (verdicts.SUPPORTED, verdicts.UNDECIDED):
    return max(deciding, key=lambda f: f.p_corrected)
  return deciding[0]


def _summary(ruling: Ruling) -> str:
  finding, count = _decider(ruling), len(ruling.findings)
  measure = finding.comparison.measure
  difference = f"{_difference(finding)} {measure.difference_unit or measure.label}".strip()
  detectable = measure.format_detectable(finding.detectable)
  of_several = f" (1 of {count} comparisons)" * (count > 1)
  needed = ""
  if finding.verdict == verdicts.UNDECIDED:
    level = 1 - finding.interval.confidence
    pairs = statistics.pairs_needed(finding.paired.std, finding.smallest, level=level)
    needed = f", {pairs:,} seeds would find the smallest of interest" if pairs else ""
  return f"{difference}, n = {_n(finding)}, detectable {detectable}{needed}{of_several}"


def _difference(finding: Finding) -> str:
  measure, interval = finding.comparison.measure, finding.interval
  ends = measure.format_interval(interval.low, interval.high, signed=True)
  level = "" if ends == MISSING else f" ({100 * interval.confidence:.3g} %)"
  return f"{measure.format(finding.paired.mean, signed=True)} {ends}{level}"


def _n(finding: Finding) -> str:
  left_out = f" ({finding.left_out} left out)" if finding.left_out else ""
  return f"{finding.paired.n}{left_out}"


def _papers_baseline(paper: str, comparison: claims.Comparison) -> str:
  if isinstance(comparison.baseline, int | float) or comparison.baseline_metric == "truth":
    return "exact"
  numbers = claims.published(paper, comparison)
  return numbers[1].format() if numbers else papers.UNKNOWN


def _papers_difference(paper: str, comparison: claims.Comparison) -> str:
  """Return the paper's own difference, with the weaker mark of its two numbers."""
  numbers = claims.published(paper, comparison)
  if numbers is None:
    return papers.UNKNOWN
  difference = comparison.measure.format(numbers[0].raw - numbers[1].raw, signed=True)
  notes = [number.note for number in numbers]
  note = next((of for of in ("unverified", "secondary", *notes) if of in notes), "")
  return f"{difference} ({note})" if note else difference


def _describe_test(ruling: Ruling) -> str:
  test = ruling.test
  where = record.describe(test.where)
  place = f"results/{test.results}" + (f", {where}" if where else "")
  verdict = _verdict(ruling, ruling.verdict)
  return f"{place} ({test.regime}: {test.protocol}): **{verdict}**{_because(ruling)}"


def _because(ruling: Ruling) -> str:
  return f" ({_reason(ruling)})" if ruling.reason else ""


def _reason(ruling: Ruling) -> str:
  if math.isnan(ruling.hours):
    return ruling.reason
  hours = f"{ruling.hours:,.{0 if ruling.hours >= 10 else 1}f}"
  return f"{ruling.reason}; about {hours} hours on one core would test it"
