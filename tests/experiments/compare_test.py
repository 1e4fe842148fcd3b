"""The comparison script, run as a user runs it: results, reruns, and bad input."""

import json
import shutil

import numpy as np
import pytest

from tests.experiments.scripts import TINY, expect_error, run_script

_HEADS = "--config.heads=softmax,sm_taylor:order=4:margin=0.5"


@pytest.fixture(name="finished", scope="module")
def _finished(tmp_path_factory):
  """A working directory in which two heads with two seeds are finished."""
  workdir = tmp_path_factory.mktemp("compare")
  done = run_script("compare", f"--workdir={workdir}", _HEADS, "--config.seeds=2", *TINY)
  return workdir, done.stdout


def _records(workdir):
  return [json.loads(line) for line in (workdir / "results.jsonl").read_text().splitlines()]


def test_every_run_and_ensemble_is_recorded_with_its_circumstances(finished):
  records = _records(finished[0])
  runs = [(r["head"], r["seed"]) for r in records if r["kind"] == "run"]
  heads = ("softmax", "sm_taylor:order=4:margin=0.5")
  assert runs == [(head, seed) for head in heads for seed in (0, 1)]
  assert [(r["head"], r["seeds"]) for r in records if r["kind"] == "ensemble"] == [
    (head, [0, 1]) for head in heads
  ]
  for record in records:
    assert {"versions", "device", "git_revision", "finished_at"} <= set(record)
    assert record["metrics"]["test"]["num_examples"] == 360
  assert records[0]["config"]["num_epochs"] == 2
  assert records[0]["dataset"]["num_classes"] == 10
  assert records[0]["num_parameters"] == 64 * 8 + 8 + 8 * 10 + 10
  assert len(records[0]["curves"]["train_loss"]) == 2


def test_an_ensemble_is_the_mean_of_probabilities(finished):
  workdir = finished[0]
  probs = []
  for seed in (0, 1):
    with np.load(workdir / "predictions" / f"softmax-seed{seed}.npz") as file:
      probs.append(np.exp(file["test"].astype(np.float64)))
  ensemble = next(r for r in _records(workdir) if r["kind"] == "ensemble")
  mean = np.mean(probs, axis=0)
  confusion = np.array(ensemble["metrics"]["test"]["confusion"])
  np.testing.assert_array_equal(confusion.sum(0), np.bincount(mean.argmax(1), minlength=10))
  worst = ensemble["worst"][0]
  assert worst["probability"] == pytest.approx(mean[worst["index"], worst["label"]], rel=1e-5)
  assert worst["png"]


def test_a_report_is_left(finished):
  workdir, printed = finished
  page = (workdir / "report.html").read_text()
  assert "sm_taylor:order=4:margin=0.5" in page
  assert "<svg" in page
  assert (workdir / "report.md").exists()
  assert str(workdir / "report.html") in printed


def test_plain_lines_report_progress(finished):
  assert "[4/4] sm_taylor:order=4:margin=0.5, seed 1: test accuracy" in finished[1]


def test_a_rerun_makes_only_what_is_missing(finished, tmp_path):
  workdir = tmp_path / "copy"
  shutil.copytree(finished[0], workdir)
  before = _records(workdir)
  done = run_script("compare", f"--workdir={workdir}", _HEADS, "--config.seeds=2", *TINY)
  assert "seed" not in done.stdout and _records(workdir) == before
  run_script("compare", f"--workdir={workdir}", _HEADS, "--config.seeds=3", *TINY)
  added = _records(workdir)[len(before) :]
  assert [(r["kind"], r.get("seed", r.get("seeds"))) for r in added] == [
    ("run", 2),
    ("run", 2),
    ("ensemble", [0, 1, 2]),
    ("ensemble", [0, 1, 2]),
  ]


def test_a_cut_last_line_repeats_that_run_alone_with_the_same_numbers(finished, tmp_path):
  workdir = tmp_path / "copy"
  shutil.copytree(finished[0], workdir)
  lines = (workdir / "results.jsonl").read_bytes().splitlines(keepends=True)
  (workdir / "results.jsonl").write_bytes(b"".join(lines[:3]) + lines[3][:100])
  done = run_script("compare", f"--workdir={workdir}", _HEADS, "--config.seeds=2", *TINY)
  assert "incomplete" in done.stderr
  assert done.stdout.count("test accuracy") == 1
  records = _records(workdir)
  assert records[3]["metrics"] == json.loads(lines[3])["metrics"]
  assert [r["kind"] for r in records].count("run") == 4


def test_a_changed_configuration_is_refused_and_named(finished):
  message = expect_error(
    "compare", f"--workdir={finished[0]}", _HEADS, *TINY, "--config.batch_size=64"
  )
  assert "batch_size: 128 -> 64" in message and "--workdir" in message


# Most of what is refused is tried in assembly_test.py.
@pytest.mark.parametrize(
  ("argument", "expected"),
  [
    ("--config.heads=softmax,taylr", ["taylr", "sm_taylor", "taylor"]),
    ("--config.sedes=3", ["sedes", "seeds"]),
    ("--config.backbone.width=3", ["width", "widths"]),
    ("--config=configs/nowhere.py", ["nowhere.py"]),
  ],
)
def test_bad_input_is_refused_with_what_exists(tmp_path, argument, expected):
  workdir = tmp_path / "run"
  message = expect_error("compare", f"--workdir={workdir}", argument)
  for part in expected:
    assert part in message
  assert not (workdir / "results.jsonl").exists()


def test_a_working_directory_that_cannot_be_written_is_named(tmp_path):
  blocked = tmp_path / "file"
  blocked.touch()
  message = expect_error("compare", f"--workdir={blocked / 'run'}")
  assert str(blocked) in message and "cannot be written" in message


def test_a_diverged_seed_is_recorded_and_the_others_go_on(tmp_path):
  done = run_script(
    "compare",
    f"--workdir={tmp_path}",
    "--config.heads=softmax",
    "--config.seeds=2",
    *TINY,
    "--config.optimizer.name=sgd",
    "--config.optimizer.learning_rate=1e30",
  )
  records = _records(tmp_path)
  assert [r["status"] for r in records] == ["diverged", "diverged"]
  assert records[0]["metrics"] is None and records[0]["diverged"]["step"] >= 1
  assert "diverged at step" in done.stdout
  assert "diverged" in (tmp_path / "report.md").read_text()
