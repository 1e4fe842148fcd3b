"""The papers' claims: every test of committed results finds its rows, and no data count twice."""

import json
import pathlib
import re

import pytest

from configs import modern
from experiments import claims as script
from experiments.ledger.claim_list import CLAIMS
from softmax_research.study import claims, ledger, papers

_RESULTS = pathlib.Path(__file__).resolve().parents[3] / "results"


@pytest.fixture(scope="module")
def rulings():
  return script.judge(_RESULTS)


def test_every_claim_is_tested_or_says_why_not():
  for claim in CLAIMS:
    assert claim.paper in papers.names()
    assert bool(claim.tests) != bool(claim.untested), claim.text
    regimes = [claims.REGIMES.index(test.regime) for test in claim.tests]
    assert regimes[:1] == sorted(regimes)[:1], claim.text
  assert len({(claim.paper, claim.text) for claim in CLAIMS}) == len(CLAIMS)


def test_published_numbers_are_in_the_papers_data():
  comparisons = [
    (claim.paper, comparison)
    for claim in CLAIMS
    for test in claim.tests
    for comparison in test.comparisons
    if comparison.published
  ]
  assert comparisons
  for paper, comparison in comparisons:
    assert claims.published(paper, comparison), (paper, comparison)


def test_rows_of_nets_of_today_are_methods_of_their_studies():
  for test in (test for claim in CLAIMS for test in claim.tests):
    if "_modern" in test.results:
      methods = {name for name, *_ in modern.methods(0.1)}
      for comparison in test.comparisons:
        assert {comparison.row, comparison.baseline} - {0.94} <= methods, comparison


def test_tests_of_committed_results_find_their_rows(rulings):
  # Of the studies with nets of today what there is is committed while they go on.
  committed = {path.parent.name for path in _RESULTS.glob("*/results.jsonl")}
  committed = {name for name in committed if "_modern" not in name}
  for ruling in rulings:
    if ruling.test and ruling.test.results in committed:
      assert ruling.findings, (ruling.claim.text, ruling.test.results, ruling.reason)


def test_no_data_count_twice(rulings):
  seen = {}
  for ruling in rulings:
    for finding in ruling.findings:
      paired, comparison = finding.paired, finding.comparison
      if paired.mean == paired.std == 0:
        continue
      direction = comparison.direction
      kind = "difference" if direction in ("higher", "lower") else direction
      data = (ruling.claim.paper, kind, f"{abs(paired.mean):.12g}", f"{paired.std:.9g}", paired.n)
      name = json.dumps([ruling.test.results, finding.where, comparison[:3]])
      assert seen.setdefault(data, name) == name


def test_intervals_in_the_documentation_are_the_ledgers(rulings):
  # Correction makes an interval depend on all comparisons of its paper, so that new ones change it.
  text = (_RESULTS.parent / "docs" / "papers.rst").read_text(encoding="utf-8")
  text = text.partition("What is decided\n---")[2].partition("With nets of today\n---")[0]
  stated = re.findall(r"\[(-?[\d.]+),\s+(-?[\d.]+)\]", text)
  assert len(stated) > 15
  findings = [finding for ruling in rulings for finding in ruling.findings]
  scaled = [(f.comparison.measure.scale, f.interval) for f in findings]
  known = [(scale * found.low, scale * found.high) for scale, found in scaled]
  known += [(-high, -low) for low, high in known]  # What is behind may be said to be so.
  for ends in stated:
    half = 0.5 * 10.0 ** -len(ends[0].partition(".")[2]) + 1e-9
    assert any(
      all(abs(float(end) - value) <= half for end, value in zip(ends, pair, strict=True))
      for pair in known
    ), ends


def test_claims_ask_for_no_less_than_their_words():
  [reached] = [claim for claim in CLAIMS if claim.paper == "jordan2024"]
  # 94 % is not reached by 93.5 %, which counts as the same accuracy elsewhere.
  assert reached.tests[0].comparisons[0].smallest <= 0.001
  [little] = [claim for claim in CLAIMS if claim.paper == "musgrave2020"]
  # A margin that does harm gains little too.
  [comparison] = little.tests[0].comparisons
  assert (comparison.row, comparison.direction) == ("cosine", "no_worse")


def test_short_tests_decide_nothing(rulings):
  for ruling in claims.decisive(rulings):
    assert not ruling.findings or ruling.test.regime in ("paper", "modern")


def test_the_committed_ledger_is_what_the_results_give(rulings):
  text = (_RESULTS / "claims.md").read_text(encoding="utf-8")
  for block in ledger.of_papers(rulings):
    if isinstance(block, str):
      assert block in text
  assert text == script.ledger_text(rulings)
  headline = script.headline_text(rulings, script.draw(_RESULTS, rulings))
  assert (_RESULTS / "headline.md").read_text(encoding="utf-8") == headline
