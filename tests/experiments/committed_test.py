"""Committed results: a report is what its results give, byte for byte."""

import pathlib

import pytest

from experiments import studies
from softmax_research import study
from softmax_research.study import workdir

_RESULTS = pathlib.Path(__file__).resolve().parents[2] / "results"
_DIRECTORIES = sorted(path.parent.name for path in _RESULTS.glob("*/config.json"))


@pytest.mark.parametrize("name", _DIRECTORIES)
def test_a_committed_report_is_what_its_results_give(tmp_path, name):
  of, _ = workdir.read_config(_RESULTS / name)
  study.remake(studies.find(of), _RESULTS / name, tmp_path, formats=("md",))
  former = (_RESULTS / name / "report.md").read_text(encoding="utf-8")
  assert (tmp_path / "report.md").read_text(encoding="utf-8") == former
  drawn = {path.name for path in (tmp_path / "figures").glob("*")}
  assert drawn == {path.name for path in (_RESULTS / name / "figures").glob("*")}
