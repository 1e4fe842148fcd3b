"""The headline: one verdict a claim, counted by paper, and the README agrees with the results."""

import pathlib
import re

import numpy as np

from softmax_research.reporting import claims, headline
from softmax_research.reporting.claim_list import CLAIMS
from softmax_research.reporting.claims import Claim, Comparison, Trial
from softmax_research.reporting.claims_plot import claims_plot
from softmax_research.reporting.markdown import markdown_table
from softmax_research.training import results

_ROOT = pathlib.Path(__file__).parents[2]
_BASE = np.array([0.950, 0.952, 0.949, 0.951, 0.953])
_NOISE = np.array([0.001, -0.001, 0.0005, -0.0005, 0.0])


def _records(head, accuracies):
  return [
    {
      "kind": "run",
      "status": "finished",
      "head": head,
      "seed": seed,
      "metrics": {"test": {"accuracy": accuracy}},
    }
    for seed, accuracy in enumerate(accuracies)
  ]


_RESULTS = {
  "far": _records("softmax", _BASE) + _records("new", _BASE + 0.02 + _NOISE),
  "near": _records("softmax", _BASE) + _records("new", _BASE - 0.3 + _NOISE),
}


def _rulings():
  comparison = Comparison("new", "softmax", "accuracy", 1)
  tests = [Trial(name, "in words", (comparison,)) for name in ("none", "near", "far")]
  listed = [
    Claim("liu2016", "Refuted by the nearest test that there is", tuple(tests)),
    Claim("liu2016", "Has no results", tuple(tests[:1])),
    Claim("qin2019", "Holds", (tests[2],)),
    Claim("qin2019", "Cannot be tested", untested="no data"),
  ]
  return claims.rule(listed, _RESULTS)


def test_a_claim_counts_once_by_its_nearest_test():
  rulings = _rulings()
  assert [headline.kind(r) for r in headline.decisive(rulings)] == [
    "does not hold",
    "not tested",
    "holds",
    "not tested",
  ]
  rows = {row.name: [c.value for c in row.cells] for row in headline.counts_table(rulings).rows}
  assert rows == {
    "liu2016": ["2", "0", "1", "0", "1"],
    "qin2019": ["2", "1", "0", "0", "1"],
    "all": ["4", "1", "1", "0", "2"],
  }
  text = headline.make_headline(rulings, command="it")
  (line,) = (line for line in text.splitlines() if line.startswith("| Holds"))
  assert "**holds**" in line and "+2.00 [" in line and "points, n = 5" in line


def test_the_plot_has_tested_claims_in_units_of_the_margin():
  (axes,) = claims_plot(_rulings()).axes
  assert len(axes.get_yticklabels()) == 2
  marks = [line for line in axes.lines if line.get_marker() in "D<>" and len(line.get_xdata()) == 1]
  assert [line.get_marker() for line in marks] == ["<", "D"]  # The first lies beyond the axis.
  margin = claims.margin("accuracy", list(100 * _BASE))
  np.testing.assert_allclose(marks[1].get_xdata(), [2.0 / margin])
  assert claims_plot(claims.rule(CLAIMS, {})) is None


def test_a_block_is_put_between_the_markers_alone():
  marked = "above\n<!-- headline: begin, by make results -->\nold\n<!-- headline: end -->\nbelow\n"
  once = headline.insert(marked, "new")
  assert "old" not in once and once.startswith("above\n") and once.endswith("-->\nbelow\n")
  assert headline.insert(once, "new") == once
  assert headline.insert("no markers", "new") == "no markers"
  block = headline.make_block(_rulings(), [("A figure", "results/figures/a.svg")])
  assert block.endswith("![A figure](results/figures/a.svg)")


def test_the_readme_and_the_headline_are_those_of_the_committed_results():
  paths = sorted((_ROOT / "results").glob("*/results.jsonl"))
  rulings = claims.rule(CLAIMS, {path.parent.name: results.read(path) for path in paths})
  readme = (_ROOT / "README.md").read_text()
  assert markdown_table(headline.counts_table(rulings)) in readme, "run `make results`"
  expected = headline.make_headline(rulings, command="python -m experiments.claims")
  assert (_ROOT / "results" / "headline.md").read_text() == expected, "run `make results`"
  pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", readme)
  assert len(pictures) >= 2 and all((_ROOT / path).is_file() for path in pictures)
