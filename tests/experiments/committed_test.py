"""Committed results: a report is what its results give, byte for byte."""

import pathlib
import shutil

import pytest

from experiments import studies
from softmax_research import study
from softmax_research.study import dot_plot, figure_style, line_plot, workdir
from tests.experiments.scripts import run_script

_RESULTS = pathlib.Path(__file__).resolve().parents[2] / "results"
_STUDIES = {
  path.parent.name: workdir.read_config(path.parent)[0]
  for path in sorted(_RESULTS.glob("*/config.json"))
}
# Figures take most of the time, and are not compared: those of one directory of each study are
# drawn, though not written, and of the others only their names are seen.
_DRAWN = {of: name for name, of in reversed(_STUDIES.items())}.values()


@pytest.mark.parametrize("name", _STUDIES)
def test_a_committed_report_is_what_its_results_give(tmp_path, monkeypatch, name):
  monkeypatch.setattr(figure_style, "to_svg", lambda figure, name: "")
  if name not in _DRAWN:
    monkeypatch.setattr(line_plot, "line_plot", lambda panels: None)
    monkeypatch.setattr(dot_plot, "dot_plot", lambda panels: None)
  study.remake(studies.find(_STUDIES[name]), _RESULTS / name, tmp_path, formats=("md",))
  former = (_RESULTS / name / "report.md").read_text(encoding="utf-8")
  assert (tmp_path / "report.md").read_text(encoding="utf-8") == former
  drawn = {path.name for path in (tmp_path / "figures").glob("*")}
  assert drawn == {path.name for path in (_RESULTS / name / "figures").glob("*")}


def test_of_figures_only_those_of_the_former_report_are_removed(tmp_path):
  made = tmp_path / "mine"
  (made / "figures").mkdir(parents=True)
  for name in ("config.json", "results.jsonl"):
    shutil.copy(_RESULTS / "identifiers" / name, made)
  (made / "report.md").write_text("# Before\n\n![Dropped](figures/dropped.svg)\n")
  for name in ("dropped.svg", "drawn_by_hand.svg", "dropped.pdf"):
    (made / "figures" / name).touch()
  run_script("results", f"--results={tmp_path}")
  left = {path.name for path in (made / "figures").iterdir()}
  ours = {path.name for path in (_RESULTS / "identifiers" / "figures").iterdir()}
  assert left == ours | {"drawn_by_hand.svg", "dropped.pdf"}
