"""The growth of trees: what is timed and recorded, fits of known laws, bad settings."""

import numpy as np
import pytest

from experiments import tree_scaling
from experiments.benchmarks import classes, timing
from softmax_research.study import runner, workdir


def _row(options):
  size = int(options.case.split()[2])
  depth = np.log2(size)
  dense = classes.DENSE if size < 2**22 else "another tree"
  return {
    "ours_ms": depth**1.5,
    "ours_ms_range": [depth, depth**2],
    "peer": dense,
    "peer_ms": size / 10,
    "peer_ms_range": [size / 11, size / 9],
  }


def test_exponents_of_known_laws(tmp_path, monkeypatch):
  monkeypatch.setattr(timing, "measure", lambda name, cases, options: [_row(options)])
  settings = tree_scaling.Settings(repeats=3)
  assert runner.run(tree_scaling.STUDY, settings, runner.Options(tmp_path)) == []
  records = workdir.read(tmp_path)
  assert [record["cell"]["classes"] for record in records] == list(classes.TREE_CLASSES)
  assert "dense_ms" in records[0]["measured"] and "dense_ms" not in records[-1]["measured"]
  report = (tmp_path / "report.md").read_text()
  assert "tree, x the depth: a = 1.50 ± 0.00" in report
  assert "dense layer, x the number of classes: a = 1.00 ± 0.00" in report
  assert (tmp_path / "figures" / "scaling.svg").exists()


def test_two_sizes_have_no_exponent(tmp_path, monkeypatch):
  monkeypatch.setattr(timing, "measure", lambda name, cases, options: [_row(options)])
  settings = tree_scaling.Settings(classes=(1024, 4096))
  assert runner.run(tree_scaling.STUDY, settings, runner.Options(tmp_path)) == []
  report = (tmp_path / "report.md").read_text()
  assert "tree, x the depth: too few sizes" in report and "nan" not in report


def test_the_cases_are_the_benchmarks():
  names = [case.name for case in classes.cases()]
  for cell in tree_scaling.cells(tree_scaling.Settings()):
    assert names.count(classes.tree_name(cell["classes"])) == 1


def test_settings_that_are_none_are_refused():
  for changes, message in (
    ({"classes": (1000,)}, "Got --classes=1000; there are 1024, 4096"),
    ({"repeats": 0}, "repeats=0; it must be at least 1"),
  ):
    with pytest.raises(ValueError, match=message):
      tree_scaling.check(tree_scaling.Settings(**changes))
