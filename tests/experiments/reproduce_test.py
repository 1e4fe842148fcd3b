"""A whole table as a user runs it: trained, interrupted by a failing cell, resumed, reported."""

import json

from tests.experiments.scripts import run_script

_CONFIG = "--config=tests/experiments/tiny_table.py"


def test_a_table_is_run_its_failing_cells_are_reported_and_the_rest_is_kept(tmp_path):
  arguments = ("reproduce", _CONFIG, "--variant=cpu", f"--workdir={tmp_path}")
  done = run_script(*arguments, check=False)
  assert done.returncode == 1, done.stdout + done.stderr
  assert "2 cells failed: too_small" in done.stderr and "Traceback" not in done.stderr
  records = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
  runs = [(r["setting"], r["method"], r["seed"]) for r in records if r["kind"] == "run"]
  expected = [(s, m, i) for s in ("folds", "mnist") for m in ("softmax", "m=2") for i in (0, 1)]
  assert runs == expected
  assert all("batch_size=1000" in r["error"] for r in records if r["kind"] == "failure")
  first = next(r for r in records if r["setting"] == "mnist" and r["kind"] == "run")
  assert first["variant"] == "cpu" and len(first["curves"]["test_accuracy"]) == 2
  best = max(first["curves"]["validation_accuracy"])
  assert first["selected"]["validation_accuracy"] == best
  assert 0 < first["measured"]["temperature scaling"]["ece"] < 1
  attacked = first["measured"]["PGD 8"]
  assert attacked["worst_accuracy"] <= attacked["margin_accuracy"] <= attacked["clean_accuracy"]
  assert first["values"] == {"optimizer.learning_rate": 0.01}
  assert first["config"]["optimizer"]["learning_rate"] == 0.01
  trials = [r for r in records if r["kind"] == "trial"]
  assert [r["seed"] for r in trials] == [1000] * 4
  assert all(list(r["metrics"]) == ["validation"] for r in trials)
  assert not any("test_accuracy" in r["curves"] for r in trials)
  assert len(first["measured"]["plane"]["points"]) == 10
  folds = [r for r in records if r.get("setting") == "folds" and r["kind"] == "run"]
  assert {"cv_accuracy", "fold1_accuracy", "fold2_accuracy"} <= set(folds[0]["measured"])

  report = (tmp_path / "report.md").read_text()
  assert "Variant: cpu" in report and "- Digits in place of MNIST." in report
  assert "99.68" in report  # The paper's m=2.
  assert "learning_rate=0.01" in report and "4 trials of the search" in report
  assert "<svg" in (tmp_path / "figures" / "mnist_plane.svg").read_text()
  assert "Failed cells" in report and "2 not run, failed" in report
  for name in ("accuracy", "ece", "cv_accuracy"):
    assert f"(figures/{name}.svg)" in report and (tmp_path / "figures" / f"{name}.svg").is_file()
  assert not (tmp_path / "checkpoints").exists() or not any((tmp_path / "checkpoints").iterdir())

  again = run_script(*arguments, "--dry_run")
  assert "too_small / softmax" in again.stdout and "mnist / softmax" not in again.stdout
  assert "2 cells, about 0 s" in again.stdout
