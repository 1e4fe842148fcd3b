"""The ledger's files: from made-up records to Markdown, figures and the README's block."""

import json
import re

import numpy as np
import pytest

from experiments import claims as script
from experiments.ledger import plots
from softmax_research.study import claims
from softmax_research.study.claims import Claim, Comparison, Test


def _record(cell, seed, error, **fields):
  return {
    "study": "reproduce",
    "cell": cell,
    "seed": seed,
    "status": "finished",
    "metrics": {"test": {"error": error, "accuracy": 1 - error}},
    "curves": {},
    "measured": {},
    "config": {},
    "command": "",
    "versions": {},
    "device": "",
    "revision": "",
    "time": {"finished_at": "", "seconds": 1.0},
  } | fields


def _table(directory, paper, published, errors):
  directory.mkdir(parents=True)
  settings = {
    name: {
      "published": of,
      "metrics": ["accuracy", "error"],
      "methods": [[method, ""] for setting, method in errors if setting == name],
    }
    for name, of in published.items()
  }
  config = {"study": "reproduce", "settings": {"paper": paper, "settings": settings}}
  (directory / "config.json").write_text(json.dumps(config))
  records = [
    _record({"setting": setting, "method": method}, seed, error)
    for (setting, method), of in errors.items()
    for seed, error in enumerate(of)
  ]
  # A trial and what did not finish are no results.
  setting, method = next(iter(errors))
  trial = {"setting": setting, "method": method, "trial": {"rate": 1.0}}
  records += [
    _record(trial, 1000, 0.9),
    _record({"setting": setting, "method": method}, 9, 0.9, status="diverged", metrics={}),
  ]
  (directory / "results.jsonl").write_text("".join(json.dumps(of) + "\n" for of in records))


@pytest.fixture
def results(tmp_path):
  directory = tmp_path / "results"
  errors = {
    ("mnist", "softmax"): [0.010, 0.011, 0.012],
    ("mnist", "m=4"): [0.005, 0.007, 0.006],
    ("mnist", "m=9"): [0.1, 0.1, 0.1],
    ("cifar10_plus", "softmax"): [0.08, 0.1, 0.12],
  }
  _table(directory / "liu2016", "liu2016", {"mnist": "", "cifar10_plus": ""}, errors)
  fair = {("fair", "softmax"): [0.05, 0.07]}
  _table(directory / "agarap2018", "agarap2018", {"fair": "wdbc"}, fair)
  (directory / "digits").mkdir()
  (directory / "digits" / "config.json").write_text('{"study": "compare", "settings": {}}')
  return directory


def test_errors_are_of_settings_with_published_ones(results):
  plot = plots.errors_plot(results)
  drawn = [axes for axes in plot.figure.axes if axes.get_visible()]
  titles = [axes.get_title(loc="left") for axes in drawn]
  assert titles == ["agarap2018, fair", "liu2016, cifar10_plus", "liu2016, mnist"]
  # Squares are the paper's, open where nobody read them; diamonds are ours.
  squares, diamonds = (
    [[line for line in axes.lines if line.get_marker() == of] for axes in drawn]
    for of in ("s", "D")
  )
  assert [line.get_xdata()[0] for line in squares[0]] == [92.4]
  assert squares[1][0].get_markerfacecolor() != squares[1][0].get_color()
  assert len(squares[2]) == 2  # Of m = 9 the paper has none.
  np.testing.assert_allclose([line.get_xdata()[0] for line in diamonds[2]], [1.1, 0.6, 10])
  assert plots.errors_plot(results / "none") is None


def test_everything_is_written(results, monkeypatch):
  comparison = Comparison("m=4", "softmax", "error", "lower", published=("mnist", "m=4", "softmax"))
  test = Test("liu2016", "paper", "its protocol", (comparison,), {"setting": "mnist"})
  claim = Claim("liu2016", "m = 4 beats softmax", (test,))
  monkeypatch.setattr(script, "CLAIMS", (claim,))
  readme = results.parent / "README.md"
  readme.write_text(
    "Before\n<!-- headline: begin, by make results -->old<!-- headline: end -->\nAfter\n"
  )
  rulings = script.judge(results)
  assert [ruling.verdict for ruling in claims.decisive(rulings)] == ["supported"]
  path = script.write(results, rulings)
  ledger = path.read_text()
  assert (
    "Made by `python -m experiments.claims`." in ledger
    and "### m = 4 beats softmax: supported" in ledger
  )
  headline = (results / "headline.md").read_text()
  assert "| m = 4 beats softmax | liu2016 | **supported** |  paper | liu2016 |" in headline
  text = readme.read_text()
  assert text.startswith("Before\n<!-- headline: begin") and text.endswith("end -->\nAfter\n")
  assert ">old<" not in text and re.search(r"\| +1\.10 % \| +0\.40 \(secondary\) \|", text)
  assert "](results/figures/claims.svg)" in text and "errors.svg" not in text
  for name in ("claims", "errors"):
    assert f"](figures/{name}.svg)" in headline
    assert (results / "figures" / f"{name}.svg").read_text().startswith("<?xml")
  before = {path: path.read_bytes() for path in results.rglob("*.*") if path.is_file()}
  script.write(results, rulings)
  assert before == {path: path.read_bytes() for path in before}
  assert script.insert("no markers", "new") == "no markers"
