"""Whole reports: files, sameness, and the odd results that experiments leave."""

import importlib.resources
import json
import re
import subprocess
import sys

import pytest

from softmax_research import reporting
from tests.reporting.fake_results import (
  make_diverged,
  make_ensemble,
  make_results,
  make_run,
  write_results,
)


def test_the_same_results_give_the_same_bytes(tmp_path):
  records = make_results({"softmax": 0.03, "taylor:order=4": 0.02}, 2)
  results = write_results(tmp_path / "results.jsonl", records)
  first = reporting.write_report(results, tmp_path / "first", command="make compare")
  second = reporting.write_report(results, tmp_path / "second", command="make compare")
  names = ["paired_differences", "learning_curves", "reliability", "confusion"]
  assert [path.name for path in first.figures] == [
    *(f"{name}.svg" for name in names),
    "worst_images.png",
  ]
  files = [first.html, first.markdown, *first.figures]
  again = [second.html, second.markdown, *second.figures]
  for one, other in zip(files, again, strict=True):
    assert one.read_bytes() == other.read_bytes(), one.name
  markdown = first.markdown.read_text(encoding="utf-8")
  linked = re.findall(r"\]\((figures/[^)]+)\)", markdown)
  assert {first.markdown.parent / link for link in linked} == set(first.figures)
  assert "make compare" in markdown
  assert "make compare" in first.html.read_text(encoding="utf-8")


def _points():
  """Return results of points in a plane, which have no pictures."""
  records = [make_run(head, seed) for head in ("softmax", "taylor") for seed in (0, 1)]
  ensemble = make_ensemble("softmax", [0, 1])
  return [*records, ensemble | {"worst": [entry | {"png": None} for entry in ensemble["worst"]]}]


def _sparse():
  """Return results in which every optional field is missing."""
  record = make_run("softmax", 0)
  return [{key: record[key] for key in ("kind", "head", "seed", "status", "metrics")}]


@pytest.mark.parametrize(
  ("records", "expected"),
  [
    ([make_run("softmax", 0)], "one seed has no spread"),
    (
      [make_run("softmax", 0), make_run("softmax", 1), make_run("taylor", 1)],
      "No two heads share more than one seed",
    ),
    ([make_diverged("softmax", 0), make_diverged("taylor", 0)], "Every run diverged"),
    ([make_diverged("softmax", 0), make_run("taylor", 0)], "softmax classifies|taylor classifies"),
    (_points(), "2 softmax heads on digits"),
    (_sparse(), "not recorded"),
  ],
  ids=["one run", "one common seed", "all diverged", "one left", "points", "sparse"],
)
def test_odd_results_have_a_report(tmp_path, records, expected):
  paths = reporting.write_report(write_results(tmp_path / "results.jsonl", records), tmp_path)
  assert re.search(expected, paths.html.read_text(encoding="utf-8"))
  assert re.search(expected, paths.markdown.read_text(encoding="utf-8"))


def test_a_cut_line_costs_one_run(tmp_path):
  results = write_results(tmp_path / "results.jsonl", [make_run("a", seed) for seed in (0, 1, 2)])
  results.write_bytes(results.read_bytes()[:-30])
  with pytest.warns(UserWarning, match="line 3 is cut off"):
    paths = reporting.write_report(results, tmp_path)
  assert "mean of 2 seeds" in paths.html.read_text(encoding="utf-8")


def test_nothing_is_written_for_bad_results(tmp_path):
  with pytest.raises(FileNotFoundError):
    reporting.write_report(tmp_path / "results.jsonl", tmp_path / "out")
  (tmp_path / "results.jsonl").write_text("{}\n" + json.dumps(make_run("a", 0)) + "\n")
  with pytest.raises(ValueError, match="line 1 is not a record"):
    reporting.write_report(tmp_path / "results.jsonl", tmp_path / "out")
  assert not (tmp_path / "out").exists()


def test_the_statistics_load_no_plotting():
  statement = "import sys, softmax_research.reporting; print(*sys.modules)"
  run = subprocess.run(
    [sys.executable, "-c", statement], capture_output=True, text=True, check=True
  )
  loaded = set(run.stdout.split())
  assert "scipy" in loaded
  slow = {"matplotlib", "pandas", "jinja2", "flax", "scipy.stats", "scipy.optimize"}
  assert not slow & loaded


def test_the_template_is_part_of_the_package():
  templates = importlib.resources.files("softmax_research.reporting") / "templates"
  assert {"report.html", "report.css"} <= {path.name for path in templates.iterdir()}
