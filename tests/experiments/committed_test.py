"""Committed results: a report is what its results give, byte for byte."""

import pathlib
import shutil

import pytest

from experiments import committed

_RESULTS = pathlib.Path(__file__).resolve().parents[2] / "results"
_DIRECTORIES = sorted(path.parent.name for path in _RESULTS.glob("*/config.json"))
# Studies whose results are not yet records of the one shape.
_STUDIES = (
  *("gaussians", "staircase", "sweep", "mnist_pairs", "cifar10_pairs"),
  *("words", "identifiers", "instances_mnist", "instances_cifar10"),
)


@pytest.mark.parametrize("name", _DIRECTORIES)
def test_a_committed_report_is_what_its_results_give(tmp_path, name):
  directory = tmp_path / name
  shutil.copytree(_RESULTS / name, directory, ignore=shutil.ignore_patterns("figures"))
  if not committed.remake(directory):
    assert name.startswith("localize") or name in _STUDIES
    return
  former = _RESULTS / name / "report.md"
  assert (directory / "report.md").read_text(encoding="utf-8") == former.read_text(encoding="utf-8")
  drawn = {path.name for path in (directory / "figures").iterdir()}
  assert drawn == {path.name for path in (_RESULTS / name / "figures").iterdir()}


def test_a_report_without_a_command_has_none(tmp_path):
  assert committed.command_of(tmp_path / "report.md") is None
  (tmp_path / "report.md").write_text("# A title\n\n- command: `python -m it`\n", encoding="utf-8")
  assert committed.command_of(tmp_path / "report.md") == "python -m it"
