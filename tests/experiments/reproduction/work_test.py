"""Running and listing cells: failures cost no other cell, and time is estimated."""

import json

import pytest
from ml_collections import ConfigDict

from experiments.reproduction import cells, estimate, work
from experiments.reproduction.queue import Cell
from softmax_research import data


class _Show:
  def __init__(self):
    self.lines = []

  def start(self, name, done, number):
    self.lines.append(f"{name} {done + 1}/{number}")

  def finish(self, name, summary):
    self.lines.append(summary)


class _Protocol:
  class paper:
    name = "liu2016"

  variant = "cpu"

  @staticmethod
  def setting(name):
    return ConfigDict({"optional": name == "a"})

  @staticmethod
  def fingerprint(setting, head, values):
    return "0123456789ab"


_CELLS = [Cell(setting, "softmax", "softmax", (0, 1)) for setting in ("a", "b", "c")]


def _context(tmp_path):
  return cells.Context(_Protocol, None, tmp_path, None, None, None)


def _record(cell, seed, seconds=30.0):
  return {
    "kind": "run",
    "setting": cell.setting,
    "method": cell.method,
    "seed": seed,
    "status": "finished",
    "wall_seconds": seconds,
    "metrics": {"test": {"accuracy": 0.5}},
  }


def test_a_failing_cell_is_recorded_and_the_others_go_on(tmp_path, monkeypatch):
  def run(context, cell):
    if cell.setting == "b":
      raise RuntimeError("out of luck")
    return [_record(cell, seed) for seed in cell.seeds]

  monkeypatch.setattr(cells, "run", run)
  show, finished = _Show(), {}
  failed = work.run_cells(_context(tmp_path), _CELLS, finished, show, 4)
  assert failed == ["b / softmax / seeds 0, 1"]
  assert sorted({setting for setting, *_ in finished}) == ["a", "c"]
  records = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
  assert [r["kind"] for r in records] == ["run"] * 2 + ["failure"] + ["run"] * 2
  assert records[2]["error"] == "RuntimeError: out of luck" and records[2]["seeds"] == [0, 1]
  assert show.lines[0] == "a / softmax / seeds 0, 1 2/4"
  assert "test accuracy 50.00 % (n = 2)" in show.lines[1] and "out of luck" in show.lines[3]


def test_checkpoints_go_when_the_results_are_there_and_not_before(tmp_path, monkeypatch):
  context = _context(tmp_path)
  directories = [cells.checkpoint_directory(context, cell) for cell in _CELLS]

  def run(context, cell):
    cells.checkpoint_directory(context, cell).mkdir(parents=True)
    if cell.setting == "b":
      raise RuntimeError("in what is measured after training")
    return [_record(cell, seed) for seed in cell.seeds]

  monkeypatch.setattr(cells, "run", run)
  work.run_cells(context, _CELLS, {}, _Show(), 3)
  assert [directory.exists() for directory in directories] == [False, True, False]


def test_an_optional_setting_without_its_data_is_skipped_as_a_whole(tmp_path, monkeypatch):
  asked = []

  def run(context, cell):
    asked.append(cell.name)
    raise data.DataUnavailableError("prepare it first")

  monkeypatch.setattr(cells, "run", run)
  todo = [*_CELLS, _CELLS[0]._replace(method="m=2")]
  show = _Show()
  failed = work.run_cells(_context(tmp_path), todo, {}, show, 4)
  assert failed == [cell.name for cell in _CELLS[1:]]
  assert len(asked) == 3 and show.lines[1] == "skipped: prepare it first"


def test_a_full_disk_and_a_signal_end_the_work(tmp_path, monkeypatch):
  for error in (OSError("full"), SystemExit(143)):

    def run(context, cell, error=error):
      raise error

    monkeypatch.setattr(cells, "run", run)
    with pytest.raises(type(error)):
      work.run_cells(_context(tmp_path), _CELLS, {}, _Show(), 3)
  assert not (tmp_path / "results.jsonl").exists()


def test_cells_are_listed_with_the_time_of_finished_runs_or_of_a_step(
  tmp_path, monkeypatch, capsys
):
  def from_a_step(context, cell):
    if cell.setting == "c":
      raise ValueError("no such data")
    return 10.0 * len(cell.seeds)

  monkeypatch.setattr(estimate, "from_a_step", from_a_step)
  finished = {("a", "softmax", 7): _record(_CELLS[0], 7, seconds=300.0)}
  assert work.list_cells(_context(tmp_path), _CELLS, finished) == 620.0
  printed = capsys.readouterr().out
  assert "a / softmax / seeds 0, 1: 10 min, by finished runs" in printed
  assert "b / softmax / seeds 0, 1: 20 s, by a step" in printed
  assert "c would fail: no such data" in printed
  assert "3 cells, about 10 min" in printed


def test_the_time_left_grows_known_with_finished_cells():
  assert "not known" in estimate.left(_CELLS, {})
  finished = {("a", "m=2", 0): {"wall_seconds": 10.0}}
  assert estimate.left(_CELLS, finished) == "time left: about 20 s for 1 of the 3 cells left"
  finished["a", "softmax", 0] = {"wall_seconds": 20.0}
  assert estimate.from_finished(_CELLS[0], finished) == 40.0
  assert estimate.left([], finished) == "nothing left"
