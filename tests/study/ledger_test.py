"""The ledger: every verdict with its regime, its baseline beside the paper's, and its numbers."""

import numpy as np
import pytest

from softmax_research.study import claims, ledger, markdown
from softmax_research.study.blocks import Table
from softmax_research.study.claims import Claim, Comparison, Test

_BASE = np.array([0.950, 0.952, 0.949, 0.951, 0.953])
_NOISE = np.array([0.001, -0.001, 0.0005, -0.0005, 0.0])


def _records(cell, accuracies):
  return [
    {
      "study": "made_up",
      "cell": cell,
      "seed": seed,
      "status": "finished",
      "metrics": {"test": {"accuracy": accuracy}},
      "measured": {},
    }
    for seed, accuracy in enumerate(accuracies)
  ]


_RECORDS = [
  *_records({"setting": "mnist", "method": "softmax"}, _BASE),
  *_records({"setting": "mnist", "method": "m=2"}, _BASE + 0.0008 + _NOISE / 10),
  *_records({"setting": "mnist", "method": "m=4"}, _BASE - 0.02 + _NOISE),
]


def _comparison(row, direction="higher"):
  return Comparison(row, "softmax", "accuracy", direction, published=("mnist", row, "softmax"))


def _test(*rows, regime="paper", results="made_up"):
  return Test(results, regime, "in words", tuple(map(_comparison, rows)), {"setting": "mnist"})


_CLAIMS = (
  Claim("liu2016", "m = 2 beats softmax", (_test("m=2"), _test("m=4", regime="short"))),
  Claim("liu2016", "m = 4 beats softmax", (_test("m=4", regime="short"),), "It depends."),
  Claim("liu2016", "both do", (_test("m=2", "m=4", regime="modern"),)),
  Claim("qin2019", "none", (_test("m=2", results="absent")._replace(row_hours=1.234),)),
  Claim("qin2019", "faces", untested="no faces"),
)
_HOURS = "about 2.5 hours on one core would test it"


@pytest.fixture(scope="module")
def rulings():
  return claims.judge(_CLAIMS, {"made_up": _RECORDS})


def _rows(table):
  return {row.name: [cell.value for cell in row.cells] for row in table.rows}


def test_counts_are_of_verdicts_and_of_what_short_tests_indicate(rulings):
  table = ledger.counts(rulings)
  assert table.columns == (
    *("claims", "supported", "contradicted", "negligible", "undecided", "not tested"),
    *("decided: paper", "decided: modern", "short tests: for", "short tests: against"),
  )
  assert _rows(table) == {
    "liu2016": ["3", "1", "1", "", "", "1", "1", "1", "", "1"],
    "qin2019": ["2", "", "", "", "", "2", "", "", "", ""],
    "all": ["5", "1", "1", "", "", "3", "1", "1", "", "1"],
  }


def test_the_headline_says_regime_and_both_baselines(rulings):
  table = ledger.headline(rulings)
  rows = _rows(table)
  assert list(rows) == ["m = 2 beats softmax", "both do"]
  paper, verdict, regime, results, difference, here, there = rows["m = 2 beats softmax"]
  assert (paper, verdict, regime, results) == ("liu2016", "supported", "paper", "made_up")
  assert difference.startswith("+0.08 [+0.07, +0.09] (95 %) points, n = 5, detectable 0.01")
  assert (here, there) == ("95.10 %", "99.60 (secondary)")
  # What refutes stands there, and among how many.
  assert rows["both do"][1:3] == ["contradicted", "modern"]
  assert rows["both do"][4].startswith("−2.00 ") and "(1 of 2 comparisons)" in rows["both do"][4]


def test_the_brief_counts_what_is_decided_and_what_is_not(rulings):
  assert ledger.in_brief(rulings) == (
    "Of 5 claims 2 are decided, 1 in the paper's protocol and 1 in one of today's: 1 supported, "
    "1 contradicted, 0 negligible. Of the others 0 were tested and are undecided, 3 wait for a "
    "test."
  )
  decided = _rows(ledger.headline(rulings, undecided=False))
  assert list(decided) == ["m = 2 beats softmax", "both do"]


def test_indications_stand_apart_and_refute_nobody(rulings):
  found = _rows(ledger.indications(rulings))
  assert {name: (cells[1], cells[2]) for name, cells in found.items()} == {
    "m = 2 beats softmax": ("against", "short"),
    "m = 4 beats softmax": ("against", "short"),
  }
  assert _rows(ledger.untested(rulings)) == {
    "m = 4 beats softmax": ["liu2016", "shortened protocols alone, which are indications"],
    "none": ["qin2019", f"no results yet; {_HOURS}"],
    "faces": ["qin2019", "no faces"],
  }


def test_the_ledger_has_every_test(rulings):
  blocks = ledger.of_papers(rulings)
  text = "\n\n".join(b if isinstance(b, str) else markdown.table(b) for b in blocks)
  for line in (
    "### m = 2 beats softmax: supported",
    "- results/made_up, mnist (paper: in words): **supported**",
    "- results/made_up, mnist (short: in words): **against**",
    "### m = 4 beats softmax: not tested (shortened protocols alone, which are indications)",
    "It depends.",
    "- results/absent, mnist (paper: in words): **not tested** (no results yet; " + _HOURS + ")",
    "### faces: not tested (no faces)",
  ):
    assert line in text
  tables = [block for block in blocks if isinstance(block, Table) and block.name == "findings"]
  assert len(tables) == 4
  cells = dict(zip(tables[0].columns, tables[0].rows[0].cells, strict=True))
  assert cells["paper's difference"].value == "+0.08 (secondary)"
  assert cells["smallest of interest"].value == "0.04"
  assert cells["comparison"].value == "accuracy of m=2 higher than that of softmax"


def test_a_studys_report_has_its_own_claims():
  own = claims.Test(None, "", "", (Comparison("m=2", "softmax", "accuracy", "same"),), each={})
  list_of = [
    Claim("Bayes' rule", "m = 2 is softmax", (own._replace(each={"setting": ".*"}),)),
    Claim("Bayes' rule", "what no record tests", (own._replace(each={"setting": "nowhere"}),)),
  ]
  title, *rules, table, findings = ledger.of_study(list_of, _RECORDS)
  assert title == "## Claims" and rules == [ledger.OWN, *ledger.RULES]
  assert [row.name for row in table.rows] == ["m = 2 is softmax"]
  assert [cell.value for cell in table.rows[0].cells][:2] == ["Bayes' rule", "supported"]
  assert findings.rows[0].name == "mnist" and "regime" not in findings.columns
  assert ledger.of_study(list_of, _RECORDS[:5]) == []
  elsewhere = own._replace(each={"setting": ".*"}, results="there")
  short = own._replace(each={"setting": ".*"}, results="here", regime="short")
  both = [list_of[0]._replace(tests=(elsewhere, short)), list_of[1]._replace(tests=(elsewhere,))]
  [found] = claims.within(both, "here")
  assert found.tests == (short._replace(results=None),)
  *_, table, _ = ledger.of_study([found], _RECORDS)
  assert table.rows[0].cells[1].value == "for"  # Of a short test, an indication.


def test_comparisons_in_words():
  inside = {"objective": "softmax"}
  exact = Comparison(inside, inside, "estimators/plug-in/estimate", "same", "truth")
  assert ledger.describe(exact) == (
    "estimate of softmax (plug-in) the same as the truth of softmax"
  )
  number = Comparison("InfoNCE", 4.158883, "stairs/4/estimate", "lower")
  assert ledger.describe(number) == "estimate of InfoNCE lower than 4.1589"
  maps = Comparison({}, {}, "localisation/maps/infoCAM/plain/chosen/known/1", "higher")
  maps = maps._replace(baseline_metric="localisation/maps/CAM/plain/chosen/known/1")
  assert ledger.describe(maps) == (
    "boxes found given the class of infoCAM plain chosen higher than that of CAM plain chosen"
  )
