"""The report script, run as a user runs it: output, place, title, and bad input."""

from tests.experiments.scripts import expect_error, run_script
from tests.reporting.fake_results import make_results, write_results


def test_a_report_stands_beside_the_results_unless_told(tmp_path):
  records = make_results({"softmax": 0.03, "taylor": 0.02}, 2)
  results = write_results(tmp_path / "results.jsonl", records)
  done = run_script("report", f"--results={results}")
  assert done.stdout.strip() == f"Report: {tmp_path / 'report.html'}"
  assert (tmp_path / "report.md").read_text(encoding="utf-8").startswith("# 2 softmax heads")
  out = tmp_path / "new" / "place"
  run_script("report", f"--results={results}", f"--out={out}", "--title=Two heads")
  assert "<h1>Two heads</h1>" in (out / "report.html").read_text(encoding="utf-8")


def test_a_missing_file_is_explained(tmp_path):
  assert "no results file at" in expect_error("report", f"--results={tmp_path / 'none.jsonl'}")
