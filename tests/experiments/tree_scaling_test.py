"""Fits of the benchmark's rows, and their report."""

import json

import numpy as np

from experiments.benchmarks import classes
from tests.experiments.scripts import expect_error, run_script


def _row(num_classes):
  depth = np.log2(num_classes)
  row = {"case": classes.tree_name(num_classes), "repeats": 3, "device": "cpu", "versions": {}}
  row |= {"ours_ms": depth**1.5, "ours_ms_range": [depth, depth**2]}
  peer = num_classes / 10
  row |= {"peer": classes.DENSE, "peer_ms": peer, "peer_ms_range": [peer, peer], "speedup": 7.0}
  return json.dumps(row) + "\n"


def test_exponents_of_known_laws(tmp_path):
  path = tmp_path / "rows"
  path.write_text("".join(map(_row, classes.TREE_CLASSES)))
  run_script("tree_scaling", f"--results={path}", f"--workdir={tmp_path}")
  report = (tmp_path / "report.md").read_text()
  assert "tree, x the depth: a = 1.50 ± 0.00" in report
  assert "dense layer, x the number of classes: a = 1.00 ± 0.00" in report
  assert (tmp_path / "figures" / "scaling.svg").exists()


def test_too_few_rows_are_refused(tmp_path):
  path = tmp_path / "rows"
  path.write_text(_row(classes.TREE_CLASSES[0]))
  message = expect_error("tree_scaling", f"--results={path}", f"--workdir={tmp_path}")
  assert "Got 1 of the trees' cases" in message
