"""Claims of papers: what each says as paired comparisons, and what our results say of it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from softmax_research.reporting import comparisons, papers, statistics, verdicts
from softmax_research.reporting.observations import observe

#: The records of each directory of results, by its name.
Results = Mapping[str, Sequence[Mapping[str, Any]]]

_POINTS, _SHARE = 0.5, 0.1
NO_RESULTS = "not tested (no results yet)"


class Comparison(NamedTuple):
  """State a difference between two rows over the seeds that both have.

  Attributes:
    row: the method, or head, of which something is claimed.
    baseline: the one it is compared with.
    metric: see `observations.observe`.
    sign: +1 or -1 where the row's number is claimed to be higher or lower, 0 where no different.
    baseline_metric: the baseline's, where it is another.
    published: setting, row, baseline and metric in the paper's data, if it has such numbers.
  """

  row: str
  baseline: str
  metric: str
  sign: int
  baseline_metric: str = ""
  published: tuple[str, str, str, str] | None = None


class Trial(NamedTuple):
  """Say where a claim is tested.

  Attributes:
    results: a directory's name under `results/`.
    protocol: how far its protocol is the paper's, in words.
    comparisons: all of them must hold.
    setting: of the records, where they have one.
  """

  results: str
  protocol: str
  comparisons: tuple[Comparison, ...]
  setting: str = ""


class Claim(NamedTuple):
  """Hold a claim.

  Attributes:
    paper: a name of `papers.names`.
    text: what is claimed.
    tests: where it is tested, the nearest to the paper's protocol first.
    limits: on what the verdict depends.
    untested: why it is not tested anywhere, if it is not.
  """

  paper: str
  text: str
  tests: tuple[Trial, ...] = ()
  limits: str = ""
  untested: str = ""


class Finding(NamedTuple):
  """Hold what the seeds say of one comparison; `row` and `baseline` are summaries."""

  comparison: Comparison
  row: statistics.Summary
  baseline: statistics.Summary
  paired: statistics.PairedDifference
  p_corrected: float
  detectable: float
  margin: float
  verdict: str


class Ruling(NamedTuple):
  """Hold what one test says of a claim; without findings the verdict says why."""

  claim: Claim
  test: Trial | None
  findings: tuple[Finding, ...]
  verdict: str


def rule(claims: Sequence[Claim], results: Results) -> list[Ruling]:
  """Decide claims, wherever there are results to decide them by.

  P-values are corrected by Holm's method over all comparisons of a paper.

  Args:
    claims: the claims.
    results: the records of each directory of results.

  Returns:
    For each claim a ruling a test, or one that says why it is not tested.
  """
  corrected = {}
  for paper in dict.fromkeys(claim.paper for claim in claims):
    pairs = {
      (test, comparison): _pair(test, comparison, results)
      for claim in claims
      if claim.paper == paper
      for test in claim.tests
      for comparison in test.comparisons
    }
    tested = {key: pair for key, pair in pairs.items() if pair is not None}
    p_values = [statistics.paired_difference(*pair).p_value for pair in tested.values()]
    level = comparisons.LEVEL / max(1, sum(not math.isnan(p) for p in p_values))
    for (key, pair), p in zip(tested.items(), statistics.holm(p_values), strict=True):
      corrected[paper, *key] = _find(key[1], *pair, float(p), level)
  return [ruling for claim in claims for ruling in _rulings(claim, corrected, results)]


def _rulings(claim: Claim, found: dict, results: Results) -> list[Ruling]:
  if not claim.tests:
    return [Ruling(claim, None, (), f"not tested ({claim.untested})")]
  rulings = []
  for test in claim.tests:
    findings = [found.get((claim.paper, test, comparison)) for comparison in test.comparisons]
    if None in findings:
      verdict = NO_RESULTS
      if test.results in results:
        verdict = "not tested (its rows have no two finished seeds in common)"
      rulings.append(Ruling(claim, test, (), verdict))
      continue
    verdict = verdicts.combine([finding.verdict for finding in findings])
    if verdict == verdicts.UNDECIDED:
      verdict += f" at n = {min(finding.paired.n for finding in findings)}"
    rulings.append(Ruling(claim, test, tuple(findings), verdict))
  return rulings


def _pair(test: Trial, comparison: Comparison, results: Results):
  """Return both rows' numbers over their common seeds, or None with fewer than two."""
  records = [
    record
    for record in results.get(test.results, ())
    if record.get("kind") == "run"
    and record.get("status") == "finished"
    and record.get("setting", "") == test.setting
  ]

  def numbers(row, metric):
    return {
      record["seed"]: observe(record, metric)
      for record in reversed(records)  # Of one seed the first counts, as in a table's report.
      if row in (record.get("method"), record.get("head"))
    }

  ours = numbers(comparison.row, comparison.metric)
  theirs = numbers(comparison.baseline, comparison.baseline_metric or comparison.metric)
  seeds = [
    seed
    for seed in ours
    if seed in theirs and math.isfinite(ours[seed]) and math.isfinite(theirs[seed])
  ]
  if len(seeds) < 2:
    return None
  return [ours[seed] for seed in seeds], [theirs[seed] for seed in seeds]


def _find(comparison: Comparison, ours, theirs, p_corrected: float, level: float) -> Finding:
  paired = statistics.paired_difference(ours, theirs)
  width = margin(comparison.metric, theirs)
  return Finding(
    comparison,
    statistics.summarise(ours),
    statistics.summarise(theirs),
    paired,
    p_corrected,
    statistics.detectable_difference(paired.std, paired.n, level=level, power=comparisons.POWER),
    width,
    verdicts.decide(comparison.sign, paired, p_corrected, width),
  )


def margin(metric: str, baseline: Sequence[float]) -> float:
  """Return the difference below which two numbers count as the same.

  Of accuracies half a point, but no more than a tenth of the baseline's errors; of anything else
  a tenth of the baseline.

  Example:
    >>> round(margin("accuracy", [97.0, 99.0]), 3), margin("accuracy", [50.0]), margin("nll", [2.0])
    (0.2, 0.5, 0.2)
  """
  mean = statistics.summarise(baseline).mean
  if metric.endswith("accuracy"):
    return min(_POINTS, _SHARE * (100 - mean))
  return min(_POINTS, _SHARE * mean) if metric.endswith("error") else _SHARE * abs(mean)


def published_difference(paper: papers.Paper, comparison: Comparison) -> str:
  """Return the paper's own difference, with the weaker mark of its two numbers.

  Example:
    >>> comparison = Comparison("m=4", "softmax", "accuracy", 1)
    >>> comparison = comparison._replace(published=("mnist", "m=4", "softmax", "accuracy"))
    >>> published_difference(papers.load("liu2016"), comparison)
    '+0.09'
  """
  if comparison.published is None:
    return "not available"
  setting, row, baseline, metric = comparison.published
  one, other = (paper.find(setting, method, metric) for method in (row, baseline))
  if one.value is None or other.value is None:
    return "not available"
  unread = not (one.verified and other.verified)
  return f"{one.value - other.value:+.2f}".replace("-", "−") + " (unverified)" * unread
