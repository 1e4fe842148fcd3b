"""Claims: verdicts on made-up records whose answers are known, and the list itself."""

import numpy as np
import pytest

from softmax_research.reporting import claims, ledger, papers
from softmax_research.reporting.claim_list import CLAIMS
from softmax_research.reporting.claims import Claim, Comparison, Trial


def _records(method, accuracies, **fields):
  return [
    {
      "kind": "run",
      "status": "finished",
      "head": f"head of {method}",
      "method": method,
      "setting": "mnist",
      "seed": seed,
      "metrics": {"test": {"accuracy": accuracy, "error": 1 - accuracy}},
    }
    | fields
    for seed, accuracy in enumerate(accuracies)
  ]


_BASE = np.array([0.950, 0.952, 0.949, 0.951, 0.953])
_NOISE = np.array([0.001, -0.001, 0.0005, -0.0005, 0.0])
_RESULTS = {
  "made_up": [
    *_records("softmax", _BASE),
    *_records("better", _BASE + 0.02 + _NOISE),
    *_records("worse", _BASE - 0.02 + _NOISE),
    *_records("same", _BASE + 0.1 * _NOISE),
    *_records("noisy", _BASE + 0.005 + 30 * _NOISE),
    *_records("lonely", _BASE[:1]),
    *_records("diverged", _BASE, status="diverged"),
  ]
}


def _rule(*comparisons, results="made_up", setting="mnist"):
  test = Trial(results, "in words", tuple(comparisons), setting)
  [ruling] = claims.rule([Claim("liu2016", "A claim", (test,))], _RESULTS)
  return ruling


@pytest.mark.parametrize(
  ("row", "sign", "verdict"),
  [
    ("better", 1, "holds"),
    ("better", -1, "does not hold"),
    ("better", 0, "does not hold"),
    ("worse", 1, "does not hold"),
    ("worse", -1, "holds"),
    ("same", 0, "holds"),
    ("same", 1, "does not hold"),
    ("noisy", 1, "undecided at n = 5"),
    ("noisy", 0, "undecided at n = 5"),
    ("lonely", 1, "not tested (its rows have no two finished seeds in common)"),
    ("diverged", 1, "not tested (its rows have no two finished seeds in common)"),
    ("absent", 1, "not tested (its rows have no two finished seeds in common)"),
  ],
)
def test_the_verdict_is_the_known_one(row, sign, verdict):
  assert _rule(Comparison(row, "softmax", "accuracy", sign)).verdict == verdict


def test_of_a_seed_that_stands_twice_the_first_counts():
  twice = {"made_up": [*_RESULTS["made_up"], *_records("better", _BASE - 0.5)]}
  test = Trial("made_up", "in words", (Comparison("better", "softmax", "accuracy", 1),), "mnist")
  [ruling] = claims.rule([Claim("liu2016", "A claim", (test,))], twice)
  assert ruling.verdict == "holds" and ruling.findings[0].paired.n == 5


def test_a_lower_error_is_a_claim_of_its_own():
  assert _rule(Comparison("better", "softmax", "error", -1)).verdict == "holds"


def test_all_parts_must_hold_and_one_can_refute():
  better = Comparison("better", "softmax", "accuracy", 1)
  noisy = Comparison("noisy", "softmax", "accuracy", 1)
  worse = Comparison("worse", "softmax", "accuracy", 1)
  assert _rule(better, noisy).verdict == "undecided at n = 5"
  assert _rule(better, noisy, worse).verdict == "does not hold"


def test_numbers_are_those_of_a_paired_test_by_scipy():
  from scipy import stats

  [finding] = _rule(Comparison("better", "softmax", "accuracy", 1)).findings
  expected = stats.ttest_rel(_BASE + 0.02 + _NOISE, _BASE).pvalue
  assert finding.p_corrected == pytest.approx(expected)
  assert finding.paired.mean == pytest.approx(2.0) and finding.row.mean == pytest.approx(97.1)
  assert 0 < finding.detectable < 1


def test_p_values_are_corrected_over_a_paper_and_no_further():
  better = Comparison("better", "softmax", "accuracy", 1)
  noisy = Comparison("noisy", "softmax", "accuracy", 1)
  alone = _rule(better).findings[0].p_corrected
  assert _rule(better, noisy).findings[0].p_corrected == pytest.approx(2 * alone)
  tests = [Trial("made_up", "", (c,), "mnist") for c in (better, noisy)]
  others = [Claim(p, "A claim", (t,)) for p, t in zip(("liu2016", "guo2017"), tests, strict=True)]
  assert claims.rule(others, _RESULTS)[0].findings[0].p_corrected == pytest.approx(alone)


def test_other_settings_and_absent_results_are_not_taken():
  better = Comparison("better", "softmax", "accuracy", 1)
  assert _rule(better, setting="cifar10").verdict.startswith("not tested")
  assert _rule(better, results="elsewhere").verdict == claims.NO_RESULTS


def test_heads_are_found_by_their_specification_too():
  assert _rule(Comparison("head of better", "softmax", "accuracy", 1)).verdict == "holds"


def test_a_claim_without_tests_says_why():
  [ruling] = claims.rule([Claim("liu2016", "A claim", untested="no faces")], {})
  assert ruling.verdict == "not tested (no faces)"


def test_the_ledger_shows_paper_ours_test_and_verdict():
  comparison = Comparison(
    "better", "softmax", "accuracy", 1, published=("mnist", "m=4", "softmax", "accuracy")
  )
  test = Trial("made_up", "in words", (comparison,), "mnist")
  rulings = claims.rule([Claim("liu2016", "A claim", (test,), "It depends.")], _RESULTS)
  text = ledger.make_ledger(rulings, command="a command")
  for part in ("### A claim", "It depends.", "+0.09", "+2.00", "97.10", "**holds**", "`a command`"):
    assert part in text


def test_recalled_numbers_make_unverified_differences():
  paper = papers.load("liu2016")

  def difference(setting, row, metric):
    published = (setting, row, "softmax", metric)
    return claims.published_difference(
      paper, Comparison(row, "softmax", metric, 1, published=published)
    )

  assert difference("cifar10", "m=2", "error") == "−1.32 (unverified)"
  assert difference("mnist", "m=2", "accuracy") == "+0.08"
  assert difference("mnist", "m=9", "accuracy") == "not available"


def test_the_list_names_papers_and_published_numbers_that_exist():
  assert len({(claim.paper, claim.text) for claim in CLAIMS}) == len(CLAIMS)
  for claim in CLAIMS:
    paper = papers.load(claim.paper)
    assert bool(claim.tests) != bool(claim.untested)
    for comparison in (c for test in claim.tests for c in test.comparisons):
      if comparison.published:
        difference = claims.published_difference(paper, comparison)
        assert difference != "not available", (claim.text, comparison)


def test_the_margin_of_what_is_too_small():
  assert claims.margin("error", [0.4]) == pytest.approx(0.04)
  assert claims.margin("nll", [2.0]) == pytest.approx(0.2)
