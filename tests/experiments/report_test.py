"""The report script, run as a user runs it: output, place, title, formats, and bad input."""

import json

from tests.experiments.scripts import expect_error, run_script
from tests.study.fake_records import make_runs


def test_a_report_stands_beside_the_results_unless_told(tmp_path):
  records = make_runs({"softmax": [0.97, 0.96], "taylor": [0.98, 0.97]})
  results = tmp_path / "results.jsonl"
  results.write_text("".join(json.dumps(r) + "\n" for r in records))
  assert "config.json" in expect_error("report", f"--results={results}")
  settings = records[0]["config"] | {"heads": "softmax,taylor", "seeds": 2, "backbone": {}}
  config = {"study": "compare", "settings": settings | {"optimizer": {}}}
  (tmp_path / "config.json").write_text(json.dumps(config))
  done = run_script("report", f"--results={results}")
  assert done.stdout.strip() == f"Report: {tmp_path / 'report.html'}"
  assert "softmax" in (tmp_path / "report.md").read_text(encoding="utf-8")
  out = tmp_path / "new" / "place"
  arguments = (f"--out={out}", "--title=Two heads", "--formats=md,csv,latex")
  run_script("report", f"--results={tmp_path}", *arguments)
  assert (out / "report.md").read_text(encoding="utf-8").startswith("# Two heads\n")
  assert {path.suffix for path in (out / "tables").iterdir()} == {".csv", ".tex"}
  message = expect_error("report", f"--results={tmp_path}", f"--out={results}", "--formats=md")
  assert f"{results} cannot be written" in message and "report.md" in message


def test_a_missing_directory_is_explained(tmp_path):
  message = expect_error("report", f"--results={tmp_path / 'none'}")
  assert "no results.jsonl" in message
