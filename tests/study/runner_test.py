"""The runner, by a toy study: what is missing is made, faults are named, nothing is lost."""

import errno
import json
import re
import signal

import pytest
from ml_collections import ConfigDict

from softmax_research.study import claims, runner, study, workdir
from tests.study import toy


def _run(directory, of=toy.STUDY, options=None, **settings):
  chosen = runner.Options(directory, command="python toy.py", formats=("md",))
  return runner.run(of, toy.Settings(**settings), chosen._replace(**(options or {})))


def _names(directory):
  return [(r["cell"]["size"], r["seed"], r["status"]) for r in workdir.read(directory)]


def test_everything_is_made_once_and_what_is_added_later_alone(tmp_path, capsys):
  assert _run(tmp_path) == []
  finished = [(size, seed, "finished") for size in (10, 100) for seed in (0, 1)]
  assert _names(tmp_path) == finished
  before = (tmp_path / "results.jsonl").read_bytes()
  assert "time left: about 3.0 s" in capsys.readouterr().out
  _run(tmp_path)
  assert (tmp_path / "results.jsonl").read_bytes() == before
  _run(tmp_path, sizes=(10, 100, 1000), seeds=3)
  added = [(10, 2), (100, 2), (1000, 0), (1000, 1), (1000, 2)]
  assert _names(tmp_path) == finished + [(*name, "finished") for name in added]
  made = workdir.read(tmp_path)[0]
  assert made["command"] == "python toy.py" and made["config"]["scale"] == 1.0
  assert made["time"]["seconds"] == 1.5
  assert "Means of 3 sizes" in (tmp_path / "report.md").read_text()


def test_the_report_is_made_anew_from_what_the_directory_holds(tmp_path):
  from softmax_research.study import command

  _run(tmp_path)
  before = (tmp_path / "report.md").read_bytes()
  command.remake(toy.STUDY, tmp_path, tmp_path / "again", formats=("md",))
  assert (tmp_path / "again" / "report.md").read_bytes() == before


def test_other_settings_are_refused_even_without_config_json(tmp_path):
  _run(tmp_path)
  (tmp_path / "config.json").unlink()
  before = (tmp_path / "results.jsonl").read_bytes()
  with pytest.raises(ValueError, match=r"scale: 1\.0 -> 2\.0"):
    _run(tmp_path, scale=2.0)
  assert (tmp_path / "results.jsonl").read_bytes() == before
  assert not (tmp_path / "config.json").exists()


def test_seeds_that_would_repeat_others_or_fill_the_memory_are_refused(tmp_path):
  one = toy.STUDY._replace(seeds=lambda settings, cell: (settings.seeds,))
  for seed in (-1, 2**32, 2**64):
    with pytest.raises(ValueError, match=f"seed {seed}; a seed lies from 0 to 4294967295"):
      _run(tmp_path, one, seeds=seed)
  with pytest.raises(ValueError, match="more than 100000 seeds"):
    _run(tmp_path, seeds=10**18)
  assert not (tmp_path / "results.jsonl").exists()


def test_cells_that_only_sound_alike_are_two():
  alike = [{"setting": "a / b"}, {"setting": "a", "method": "b"}]
  both = toy.STUDY._replace(cells=lambda settings: alike)
  assert [task.cell for task in study.tasks(both, toy.Settings())] == alike
  twice = toy.STUDY._replace(cells=lambda settings: alike[:1] * 2)
  with pytest.raises(ValueError, match="a / b twice"):
    study.tasks(twice, toy.Settings())


def test_where_all_failed_the_report_tells_the_failures_alone(tmp_path):
  def careless(records, settings):
    yield f"# Mean error {records[0]['measured']['error'] / 1:.3f}"

  _run(tmp_path, toy.STUDY._replace(report=careless), sizes=(13,))
  written = (tmp_path / "report.md").read_text()
  assert "Nothing is finished" in written and "thirteen" in written


def test_other_settings_are_refused_beside_results_of_other_cells_too(tmp_path):
  _run(tmp_path, sizes=(10,))
  with pytest.raises(ValueError, match=r"size=10, seed 0, .*\n  scale: 1.0 -> 2.0\n.*--workdir"):
    _run(tmp_path, sizes=(100,), scale=2.0)
  _run(tmp_path, sizes=(100,))


def test_another_study_in_the_directory_is_refused(tmp_path):
  _run(tmp_path)
  with pytest.raises(ValueError, match="of the study 'toy', and this is 'other'"):
    _run(tmp_path, toy.STUDY._replace(name="other"))


def test_a_failed_cell_is_recorded_and_the_others_go_on(tmp_path):
  assert _run(tmp_path, sizes=(13, 1, 10)) == ["size=13, seeds 0, 1"]
  assert _names(tmp_path) == [(13, None, "failed"), (10, 0, "finished"), (10, 1, "finished")]
  failure = workdir.read(tmp_path)[0]
  assert failure["measured"]["error"].startswith("ArithmeticError at ")
  assert failure["measured"]["error"].endswith("toy.py, line 32: thirteen")
  # It is tried again, and goes away once the cell is finished.
  mended = toy.STUDY._replace(run=_counting)
  assert _run(tmp_path, mended, sizes=(13, 10)) == []
  assert (13, None, "failed") not in _names(tmp_path) and (13, 0, "finished") in _names(tmp_path)
  # One that was added and fails does not hide behind those.
  assert _run(tmp_path, mended, sizes=(13, 10), seeds=8) == [
    "size=13, seeds 2 to 7",
    "size=10, seeds 2 to 7",
  ]
  assert "no seed 7" in (tmp_path / "report.md").read_text()


def _counting(cell, context):
  for seed in context.seeds:
    if seed == 7:
      raise ArithmeticError("no seed 7")
    yield context.record(seed, seconds=0.0, measured={"error": 0.0})


def test_a_claim_with_a_mistyped_metric_stops_after_the_first_cell_and_then_before_any_work(
  tmp_path,
):
  def claiming(metric, direction="lower"):
    comparison = claims.Comparison({"size": 100}, {"size": 10}, metric, direction)
    return (
      claims.Claim("folklore", "More is better", (claims.Test(None, "", "", (comparison,)),)),
    )

  with pytest.raises(ValueError, match="direction 'fewer'"):
    _run(tmp_path, toy.STUDY._replace(claims=claiming("error", "fewer")))
  assert not (tmp_path / "results.jsonl").exists()
  for wanted in (2, 2):
    with pytest.raises(ValueError, match="'eror', which no finished record has; they have error"):
      _run(tmp_path, toy.STUDY._replace(claims=claiming("eror")))
    assert len(_names(tmp_path)) == wanted
  _run(tmp_path, toy.STUDY._replace(claims=claiming("error")))
  assert len(_names(tmp_path)) == 4
  assert "More is better" in (tmp_path / "report.md").read_text()


def test_only_and_shards_divide_the_cells(tmp_path, capsys):
  _run(tmp_path, options={"only": "size=100$"})
  assert _names(tmp_path) == [(100, 0, "finished"), (100, 1, "finished")]
  with pytest.raises(ValueError, match="no regular expression"):
    _run(tmp_path, options={"only": "("})
  with pytest.raises(ValueError, match="size=10; size=100"):
    _run(tmp_path, options={"only": "nothing"})
  sizes, shared = (10, 20, 30, 40, 50), tmp_path / "shared"
  for number in (1, 2):
    _run(shared, sizes=sizes, options={"shard": (number, 2)})
    printed = capsys.readouterr().out
    assert ("no report yet" in printed) == (number == 1)
  assert {name.name for name in shared.glob("results*")} == {
    "results-1-of-2.jsonl",
    "results-2-of-2.jsonl",
  }
  assert len(_names(shared)) == 10 and (shared / "report.md").exists()
  _run(shared, sizes=sizes)
  assert not (shared / "results.jsonl").exists()
  failing = tmp_path / "failing"
  for number in (1, 2):
    _run(failing, sizes=(13, 20), options={"shard": (number, 2)})
    assert ("2 runs left" in capsys.readouterr().out) == (number == 1)
  assert "thirteen" in (failing / "report.md").read_text()
  some = tmp_path / "some"
  for number in (1, 2):
    _run(some, sizes=sizes, options={"only": "[12]0", "shard": (number, 2)})
  assert len(_names(some)) == 4 and (some / "report.md").exists()
  for text in ("0/2", "3/2", "2", "a/b"):
    with pytest.raises(ValueError, match="--shard"):
      runner.check_shard(text)


def test_a_directory_in_use_is_refused_naming_the_process(tmp_path):
  with workdir.locked(tmp_path):
    for shard in (None, (1, 2)):
      with pytest.raises(ValueError, match=r"in use by process \d+ on "):
        _run(tmp_path, options={"shard": shard})
  with workdir.locked(tmp_path, (1, 2)), workdir.locked(tmp_path, (2, 2)):
    with pytest.raises(ValueError, match="in use by runs with --shard"):
      _run(tmp_path)
    with pytest.raises(ValueError, match=r"in use by process \d+ on "):
      _run(tmp_path, options={"shard": (1, 2)})
  _run(tmp_path)


def test_a_full_disk_ends_the_run_and_keeps_what_is_finished(tmp_path):
  def run(cell, context):
    yield next(toy.run(cell, context))
    raise OSError(errno.ENOSPC, "no space left")

  with pytest.raises(OSError, match="no space"):
    _run(tmp_path, toy.STUDY._replace(run=run))
  assert _names(tmp_path) == [(10, 0, "finished")]

  def read_wrong(cell, context):
    raise FileNotFoundError(errno.ENOENT, "no such file", "weights.npz")
    yield

  # An error of reading is the cell's own fault.
  assert len(_run(tmp_path, toy.STUDY._replace(run=read_wrong))) == 2


def test_a_signal_stops_between_seeds_and_the_same_run_goes_on(tmp_path):
  def run(cell, context):
    signal.raise_signal(signal.SIGTERM)
    yield from toy.run(cell, context)

  with pytest.raises(SystemExit) as left:
    _run(tmp_path, toy.STUDY._replace(run=run))
  assert left.value.code == 143
  assert _names(tmp_path) == [(10, 0, "finished")]
  _run(tmp_path)
  assert len(_names(tmp_path)) == 4


def test_minutes_stop_it_with_all_saved_and_the_same_run_goes_on(tmp_path):
  with pytest.raises(SystemExit) as left:
    _run(tmp_path, options={"minutes": 1e-9})
  assert left.value.code == 143
  assert _names(tmp_path) == [(10, 0, "finished")]
  assert not (tmp_path / "report.md").exists()
  _run(tmp_path, options={"minutes": 60})
  assert len(_names(tmp_path)) == 4 and (tmp_path / "report.md").exists()


def test_slices_of_several_machines_are_a_table_once_one_file_has_their_records(tmp_path):
  _run(tmp_path / "whole")
  merged = tmp_path / "merged" / "results.jsonl"
  merged.parent.mkdir()
  for number in (2, 1):
    _run(tmp_path / str(number), options={"shard": (number, 2)})
    (part,) = (tmp_path / str(number)).glob("results*.jsonl")
    with merged.open("ab") as file:
      file.write(part.read_bytes())

  def refuse(*arguments):
    raise FileNotFoundError("no data here")

  before = merged.read_bytes()
  assert _run(merged.parent, toy.STUDY._replace(run=refuse)) == []
  assert merged.read_bytes() == before
  # The record of a cell says when it was made, and a report when the first and the last were.
  reports = [(tmp_path / name / "report.md").read_text() for name in ("whole", "merged")]
  assert re.sub(r"\S+T\d\d:\d\d:\d\d", "", reports[0]) == re.sub(
    r"\S+T\d\d:\d\d:\d\d", "", reports[1]
  )


def test_only_the_finished_cells_checkpoints_are_removed(tmp_path):
  kept, seen = tmp_path / "checkpoints" / "another", []

  def run(cell, context):
    context.directory.mkdir(parents=True)
    seen.append(context.directory)
    yield from toy.run(cell, context)

  kept.mkdir(parents=True)
  _run(tmp_path, toy.STUDY._replace(run=run))
  assert kept.exists() and not any(directory.exists() for directory in seen)


def test_checkpoints_of_other_settings_lie_elsewhere(tmp_path):
  places = {
    study.Context(
      toy.STUDY, toy.Settings(scale=scale), {"size": 10}, seeds, workdir=tmp_path
    ).directory
    for scale in (1.0, 2.0)
    for seeds in ((0,), (0, 1))
  }
  assert len(places) == 4


def test_nothing_is_made_by_a_dry_run_or_where_a_check_fails(tmp_path, capsys):
  _run(tmp_path / "dry", options={"dry_run": True})
  assert "2 cells, 4 runs, time not known" in capsys.readouterr().out
  assert not (tmp_path / "dry").exists()

  def check(settings):
    raise ValueError("wrong")

  def broken(cell, context):
    raise RuntimeError("no data")

  with pytest.raises(ValueError, match="wrong"):
    _run(tmp_path / "bad", toy.STUDY._replace(check=check))
  assert not (tmp_path / "bad").exists()
  with pytest.raises(ValueError, match="size=10, seeds 0, 1 would fail: no data"):
    _run(tmp_path / "dry", toy.STUDY._replace(estimate=broken), {"dry_run": True})


def test_estimates_come_from_finished_seeds_before_measured_steps(tmp_path, capsys):
  _run(tmp_path, seeds=1)
  estimated = toy.STUDY._replace(estimate=lambda cell, context: 60.0 * len(context.seeds))
  _run(tmp_path, estimated, {"dry_run": True}, sizes=(10, 20), seeds=2)
  printed = capsys.readouterr().out
  assert "size=10, seed 1: about 1.5 s, by finished runs" in printed
  assert "size=20, seeds 0, 1: about 2 min 0 s, by measured steps" in printed
  assert "2 cells, 3 runs, about 2 min 2 s" in printed
  _run(tmp_path, options={"dry_run": True}, sizes=(20,), seeds=1)
  assert "1 cell, 1 run, about" in capsys.readouterr().out
  _run(tmp_path, options={"dry_run": True}, sizes=(10, 20), seeds=2)
  printed = capsys.readouterr().out
  assert "size=20, seeds 0, 1: about 3.0 s, by finished runs of other cells" in printed


def test_many_seeds_in_a_row_are_named_by_the_first_and_the_last():
  named = [runner.describe(study.Task({"size": 1}, seeds)) for seeds in ((0, 1), range(2, 9))]
  assert named == ["size=1, seeds 0, 1", "size=1, seeds 2 to 8"]


def test_seed_by_seed_makes_a_seed_of_every_cell_before_the_next(tmp_path):
  _run(tmp_path, toy.STUDY._replace(seed_by_seed=True))
  assert [name[:2] for name in _names(tmp_path)] == [(10, 0), (100, 0), (10, 1), (100, 1)]


def test_what_follows_from_records_is_appended_once(tmp_path):
  def derive(settings, records, directory):
    mean = sum(study.summarise(r) != "" for r in records)
    yield study.make_record(
      derived, settings, {"size": 10, "mean": True}, None, seconds=0.0, measured={"error": mean}
    )

  derived = toy.STUDY._replace(derive=derive)
  _run(tmp_path, derived)
  _run(tmp_path, derived)
  assert [r["cell"] for r in workdir.read(tmp_path)].count({"size": 10, "mean": True}) == 1


def test_damaged_results_are_found_before_any_work(tmp_path):
  _run(tmp_path)
  with (tmp_path / "results.jsonl").open("a") as file:
    file.write(json.dumps({"kind": "run"}) + "\n")
  with pytest.raises(ValueError, match="Line 5 of"):
    _run(tmp_path, sizes=(10, 100, 1000))


def test_a_cell_named_twice_is_refused(tmp_path):
  with pytest.raises(ValueError, match="size=10 twice"):
    _run(tmp_path, sizes=(10, 10))


def test_estimates_stand_beside_what_finished_cells_took(tmp_path, capsys):
  def estimate(cell, context):
    if cell["size"] == 20:
      raise study.SkippedError("its data are elsewhere")
    return 4.5

  estimated = toy.STUDY._replace(estimate=estimate)
  _run(tmp_path, estimated, sizes=(10, 20), seeds=2)
  capsys.readouterr()
  _run(tmp_path, estimated, {"dry_run": True, "estimate_all": True}, sizes=(10, 20, 30), seeds=2)
  assert capsys.readouterr().out.splitlines() == [
    "size=10, seeds 0, 1: about 4.5 s, took 3.0 s",
    "size=20, seeds 0, 1: is skipped: its data are elsewhere",
    "about 4.5 s, took 3.0 s: 1.50 times",
  ]
  with pytest.raises(ValueError, match="no cell is finished"):
    _run(tmp_path / "new", estimated, {"dry_run": True, "estimate_all": True})


def test_seeds_run_together_unless_the_devices_train_them_apart(tmp_path):
  groups = []

  def run(cell, context):
    groups.append((cell["size"], context.seeds))
    yield from toy.run(cell, context)

  for way in ("auto", "apart"):
    options = {"devices": ConfigDict({"seeds_by": way})}
    _run(tmp_path / way, toy.STUDY._replace(run=run), options, sizes=(10,))
  assert groups == [(10, (0, 1)), (10, (0,)), (10, (1,))]
