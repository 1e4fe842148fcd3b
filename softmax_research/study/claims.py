"""Claims: what is said of rows, as comparisons, and what the records of their seeds say of it.

    CLAIMS = (
      claims.Claim(
        "liu2016", "L-Softmax with m = 4 beats softmax on MNIST",
        (claims.Test("liu2016", "paper", "its protocol", (
           claims.Comparison("m=4", "softmax", "accuracy", "higher"),), {"setting": "mnist"}),)),
    )

The ledger of papers' claims and a study's report of its own are judged by these rules alone.
"""

import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from softmax_research.study import papers, record, statistics, verdicts
from softmax_research.study.measures import Measure, measure_of

#: How near a test is to the paper: its own protocol; a net and training as good practice has them
#: today, tuned for each row at equal budget on validation; nets, data or training cut down.
REGIMES = ("paper", "modern", "short")
#: Records of each directory of results by its name; None names a study's own.
Results = Mapping[str | None, Sequence[Mapping[str, Any]]]
#: A row: the method or head of its cells, or items that its cells have.
Row = str | Mapping[str, Any]

_POINTS, _SHARE = 0.005, 0.1


class Comparison(NamedTuple):
  """State how a number of one row is to that of another, over the seeds that both have.

  Attributes:
    row: of which something is claimed.
    baseline: what it is compared with; a number where that is known exactly.
    metric: its path in a record, as `record.look_up` takes it.
    direction: one of `verdicts.DIRECTIONS`.
    baseline_metric: the baseline's, where it is another.
    published: setting, row and baseline among the paper's numbers, where it has such.
    smallest: the smallest difference of interest, in the records' unit; None for the rule of
      `smallest_of_interest`.
  """

  row: Row
  baseline: Row | float
  metric: str
  direction: str
  baseline_metric: str = ""
  published: tuple[str, str, str] | None = None
  smallest: float | None = None

  @property
  def measure(self) -> Measure:
    """Say how the numbers are printed."""
    return measure_of(self.metric)


class Test(NamedTuple):
  """Say where a claim is tested.

  Attributes:
    results: a directory's name below `results/`; None for the records of the study that asks.
    regime: one of `REGIMES`; empty where a study asks of its own records.
    protocol: how far it is the paper's, in words.
    comparisons: all of which must hold.
    where: items that the cells of both rows have.
    each: regular expressions for further items: the comparisons are made for each combination of
      values that cells have and that match.
    row_hours: the hours that all runs of one row take on one core; NaN where that is not known.
  """

  results: str | None
  regime: str
  protocol: str
  comparisons: tuple[Comparison, ...]
  where: Mapping[str, Any] = {}
  each: Mapping[str, str] = {}
  row_hours: float = math.nan

  __test__ = False  # It is no test of pytest's.

  @property
  def decides(self) -> bool:
    """Say whether its verdict counts; a shortened test is an indication alone."""
    return self.regime != "short"


class Claim(NamedTuple):
  """Hold a claim: who says so, its text, its tests, the nearest to the paper's protocol first.

  `limits` say on what the verdict depends, and `untested` why no test decides it, if none does.
  """

  paper: str
  text: str
  tests: tuple[Test, ...] = ()
  limits: str = ""
  untested: str = ""


class Finding(NamedTuple):
  """Hold what the seeds say of one comparison.

  Attributes:
    comparison: what was compared.
    where: the items of both rows' cells.
    row: summary over the common seeds.
    baseline: the same of the baseline.
    paired: their differences.
    left_out: seeds that one row lacks, or where it diverged or has no finite number.
    effect: the paper's own difference as `in_proportion` has it; NaN where it is not known.
    smallest: the smallest difference of interest.
    p_value: of its test.
    p_corrected: the same after Holm's correction over the family, as what follows is.
    interval: of the mean difference, at the comparison's level.
    detectable: the true difference that would have been found with a probability of 80%.
    verdict: one of `verdicts.VERDICTS`.
  """

  comparison: Comparison
  where: Mapping[str, Any]
  row: statistics.Summary
  baseline: statistics.Summary
  paired: statistics.PairedDifference
  left_out: int
  effect: float
  smallest: float
  p_value: float
  p_corrected: float = math.nan
  interval: verdicts.Interval = verdicts.Interval(math.nan, math.nan, math.nan)
  detectable: float = math.nan
  verdict: str = verdicts.UNDECIDED


class Ruling(NamedTuple):
  """Hold what one test says of a claim.

  `reason` says why a verdict is none, and `hours` what the runs that it lacks take on one core; NaN
  where that is not known.
  """

  claim: Claim
  test: Test | None
  findings: tuple[Finding, ...]
  verdict: str
  reason: str = ""
  hours: float = math.nan


def judge(claims: Sequence[Claim], results: Results) -> list[Ruling]:
  """Decide claims by the records that there are.

  P-values are corrected by Holm's method over all comparisons of a paper, tests of equivalence and
  of non-inferiority included; a comparison that several claims make is one test.

  Returns:
    For each claim a ruling a test, or one that says why there is none.

  Raises:
    ValueError: a direction or a regime is unknown, a row fits several cells, or a study's own
      claim has a metric that no finished record of its row has.
  """
  results = {name: record.unique(records) for name, records in results.items()}
  families: dict[str, dict[str, Finding | None]] = {}  # by the paper and the comparison
  asked: list[tuple[Claim, Test | None, list[str]]] = []
  for claim in claims:
    findings = families.setdefault(claim.paper, {})
    for test in claim.tests:
      _check(test)
      keys = []
      for comparison, where in _comparisons(test, results.get(test.results, ())):
        keys.append(json.dumps([test.results, where, comparison], sort_keys=True))
        if keys[-1] not in findings:
          findings[keys[-1]] = _find(claim.paper, test, comparison, where, results)
      asked.append((claim, test, keys))
    if not claim.tests:
      asked.append((claim, None, []))
  decided = {paper: _decide_family(findings) for paper, findings in families.items()}
  return [_rule(claim, test, keys, decided[claim.paper], results) for claim, test, keys in asked]


def decisive(rulings: Sequence[Ruling]) -> list[Ruling]:
  """Return of each claim the ruling that counts: the first that decides, or why there is none."""
  chosen = []
  for _, group in itertools.groupby(rulings, key=lambda ruling: id(ruling.claim)):
    own = list(group)
    claim = own[0].claim
    deciding = [r for r in own if r.findings and r.test.decides]
    if deciding:
      chosen.append(deciding[0])
      continue
    reason = claim.untested or "no results yet"
    if any(ruling.findings for ruling in own):
      reason = claim.untested or "shortened protocols alone, which are indications"
    hours = [r.hours for r in own if r.test and r.test.decides and not math.isnan(r.hours)]
    least = min(hours, default=math.nan)
    chosen.append(Ruling(claim, None, (), verdicts.NOT_TESTED, reason, least))
  return chosen


def indicated(rulings: Sequence[Ruling]) -> list[Ruling]:
  """Return of each claim that no test decides what its first short test shows, if there is one."""
  decided = {id(ruling.claim) for ruling in decisive(rulings) if ruling.findings}
  first: dict[int, Ruling] = {}
  for ruling in rulings:
    if ruling.findings and id(ruling.claim) not in decided:
      first.setdefault(id(ruling.claim), ruling)
  return list(first.values())


def at(claims: Sequence[Claim], *places: tuple[str, str, str], **where: Any) -> tuple[Claim, ...]:
  """Return a study's claims about its own records as claims about directories of results.

  Each has a test a place for every test of its own, or for those whose cells have the items that
  are named; places are directory, regime and protocol, as `Test` has them, the nearest to the paper
  first.
  """
  return tuple(
    claim._replace(
      tests=tuple(
        test._replace(results=results, regime=regime, protocol=protocol)
        for results, regime, protocol in places
        for test in claim.tests
        if _has(test.where, where)
      )
    )
    for claim in claims
  )


def within(claims: Sequence[Claim], results: str) -> tuple[Claim, ...]:
  """Return the claims that a directory of results tests, as a study's about its own records."""
  own = (
    claim._replace(
      tests=tuple(t._replace(results=None) for t in claim.tests if t.results == results)
    )
    for claim in claims
  )
  return tuple(claim for claim in own if claim.tests)


def smallest_of_interest(
  comparison: Comparison, baseline: float, effect: float = math.nan
) -> float:
  """Return the difference below which two numbers count as the same, in the records' unit.

  Of accuracies and errors half a point, but no more than a tenth of the baseline's errors; of
  anything else a tenth of the baseline. Where a difference is claimed, it is never more than half
  of the paper's own, so that what is small in the paper is not called too small to matter.
  """
  width = comparison.smallest
  if width is None:
    of = comparison.measure
    width = _SHARE * abs(baseline)
    if of.unit == "%" and of.higher_is_better:  # A share of what is right, as an accuracy is.
      width = min(_POINTS, _SHARE * (1 - baseline))
    elif of.label == "error":
      width = min(_POINTS, width)
  if comparison.direction in ("higher", "lower") and abs(effect) > 0:  # False for NaN.
    width = min(width, abs(effect) / 2)
  return width


def in_proportion(comparison: Comparison, effect: float, theirs: float, ours: float) -> float:
  """Return a paper's difference, less in proportion where the baseline has less to gain here.

  Of accuracies it is the baseline's errors that count, of anything else its number: a net whose
  calibration error is 1 % cannot gain the 2 points that were gained on 3 %. A difference is never
  made larger, so that a weak baseline refutes nobody more easily.
  """
  if comparison.measure.unit == "%" and comparison.measure.higher_is_better:
    theirs, ours = 1 - theirs, 1 - ours
  return effect * min(1.0, ours / theirs) if theirs > 0 else effect


def published(paper: str, comparison: Comparison) -> tuple[papers.Number, papers.Number] | None:
  """Return the paper's own numbers of a row and its baseline; None where it has none."""
  if comparison.published is None:
    return None
  setting, *methods = comparison.published
  metric = comparison.metric.rpartition("/")[2]
  row, baseline = (papers.load(paper).find(setting, method, metric) for method in methods)
  return None if row.value is None or baseline.value is None else (row, baseline)


def _decide_family(findings: Mapping[str, Finding | None]) -> dict[str, Finding]:
  found = {key: finding for key, finding in findings.items() if finding}
  hypotheses = {key: _hypothesis(key, finding) for key, finding in found.items()}
  p_values = {hypotheses[key]: finding.p_value for key, finding in found.items()}
  levels = dict(zip(p_values, verdicts.holm_levels(list(p_values.values())), strict=True))
  corrected = dict(zip(p_values, statistics.holm(list(p_values.values())).tolist(), strict=True))
  decided = {}
  for key, finding in found.items():
    comparison, paired = finding.comparison, finding.paired
    direction, level = comparison.direction, levels[hypotheses[key]]
    interval = verdicts.interval(direction, paired, level)
    decided[key] = finding._replace(
      p_corrected=corrected[hypotheses[key]],
      interval=interval,
      detectable=statistics.detectable_difference(
        paired.std, paired.n, level=1 - interval.confidence
      ),
      verdict=verdicts.decide(
        direction,
        paired,
        finding.smallest,
        level,
        effect=finding.effect,
        higher_is_better=comparison.measure.higher_is_better,
      ),
    )
  return decided


def _check(test: Test) -> None:
  for comparison in test.comparisons:
    if comparison.direction not in verdicts.DIRECTIONS:
      known = ", ".join(verdicts.DIRECTIONS)
      raise ValueError(f"Got the direction {comparison.direction!r}; directions are {known}.")
  if test.regime not in REGIMES and not (test.regime == "" and test.results is None):
    known = ", ".join(REGIMES)
    raise ValueError(f"Got the regime {test.regime!r} of {test.results}; regimes are {known}.")


def _comparisons(
  test: Test, records: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[Comparison, dict[str, Any]]]:
  combinations = {}
  for made in records:
    cell = made["cell"]
    if _has(cell, test.where) and all(
      re.fullmatch(pattern, str(cell.get(name))) for name, pattern in test.each.items()
    ):
      chosen = {name: cell.get(name) for name in test.each}
      combinations.setdefault(json.dumps(chosen, sort_keys=True), chosen)
  for combination in combinations.values() if test.each else [{}]:
    for comparison in test.comparisons:
      yield comparison, {**test.where, **combination}


def _find(
  paper: str, test: Test, comparison: Comparison, where: Mapping[str, Any], results: Results
) -> Finding | None:
  """Return what the common seeds of both rows say, or None with fewer than two."""
  records = [
    r
    for r in results.get(test.results, ())
    if r["seed"] is not None and "trial" not in r["cell"] and _has(r["cell"], where)
  ]
  own = test.results is None
  ours = _values(records, comparison.row, comparison.metric, strict=own)
  if isinstance(comparison.baseline, int | float):
    theirs = dict.fromkeys(ours, float(comparison.baseline))
  else:
    metric = comparison.baseline_metric or comparison.metric
    theirs = _values(records, comparison.baseline, metric, strict=own)
  common = [
    seed
    for seed in ours
    if seed in theirs and math.isfinite(ours[seed]) and math.isfinite(theirs[seed])
  ]
  if len(common) < 2:
    return None
  left, right = [ours[seed] for seed in common], [theirs[seed] for seed in common]
  baseline, paired = statistics.summarise(right), statistics.paired_difference(left, right)
  numbers = published(paper, comparison)
  effect = numbers[0].raw - numbers[1].raw if numbers else math.nan
  if numbers:
    effect = in_proportion(comparison, effect, numbers[1].raw, baseline.mean)
  smallest = smallest_of_interest(comparison, baseline.mean, effect)
  # What was recalled and read nowhere refutes nobody.
  known = numbers is not None and all(number.verified for number in numbers)
  return Finding(
    comparison=comparison,
    where=where,
    row=statistics.summarise(left),
    baseline=baseline,
    paired=paired,
    left_out=len(set(ours) | set(theirs)) - len(common),
    effect=effect if known else math.nan,
    smallest=smallest,
    p_value=verdicts.p_value(
      comparison.direction,
      paired,
      smallest,
      higher_is_better=comparison.measure.higher_is_better,
    ),
  )


def _values(
  records: Sequence[Mapping[str, Any]], row: Row, metric: str, *, strict: bool
) -> dict[int, float]:
  own = [r for r in records if _is_of(r["cell"], row)]
  cells = {json.dumps(r["cell"], sort_keys=True) for r in own}
  if len(cells) > 1:
    raise ValueError(
      f"The row {row!r} fits the cells {', '.join(sorted(cells))}; say in `where` which is meant."
    )
  if strict:  # The ledger's directories may have been made with other settings.
    record.check_path(own, metric)
  return {
    r["seed"]: record.look_up(r, metric) if r["status"] == "finished" else math.nan for r in own
  }


def _is_of(cell: Mapping[str, Any], row: Row) -> bool:
  if isinstance(row, str):
    return row in (cell.get("method"), cell.get("head"))
  return _has(cell, row)


def _has(cell: Mapping[str, Any], items: Mapping[str, Any]) -> bool:
  return all(name in cell and cell[name] == value for name, value in items.items())


def _hypothesis(key: str, finding: Finding) -> str:
  """Name the test of a comparison: a difference is one test, whichever way it is claimed or put."""
  results, where, _ = json.loads(key)
  comparison = finding.comparison
  ends = [
    [comparison.row, comparison.metric],
    [comparison.baseline, comparison.baseline_metric or comparison.metric],
  ]
  if comparison.direction in ("higher", "lower"):
    kind = ["difference", *sorted(ends, key=json.dumps)]
  else:
    kind = [comparison.direction, *ends, finding.smallest]
  return json.dumps([results, where, kind], sort_keys=True)


def _rule(claim, test: Test | None, keys, findings: Mapping[str, Finding], results) -> Ruling:
  if test is None:
    return Ruling(claim, None, (), verdicts.NOT_TESTED, claim.untested)
  if not keys or not set(keys) <= set(findings):
    reason, hours = _lacking(test, results)
    return Ruling(claim, test, (), verdicts.NOT_TESTED, reason, hours)
  found = tuple(findings[key] for key in keys)
  return Ruling(claim, test, found, verdicts.combine([finding.verdict for finding in found]))


def _lacking(test: Test, results: Results) -> tuple[str, float]:
  """Say what a test lacks, and in how many hours of one core it can be had."""
  runs = [
    made["cell"]
    for made in results.get(test.results, ())
    if _has(made["cell"], test.where) and "trial" not in made["cell"]
  ]
  rows = [row for of in test.comparisons for row in (of.row, of.baseline)]
  names = {
    row if isinstance(row, str) else record.describe(row): None
    for row in rows
    if not isinstance(row, int | float) and not any(_is_of(cell, row) for cell in runs)
  }
  if not names:
    return "its rows have no two finished seeds in common", math.nan
  reason = f"no runs of {' and '.join(names)} yet" if runs else "no results yet"
  return reason, len(names) * test.row_hours
