"""The bias of sampled softmax: what is recorded and reported."""

import json

import pytest

from tests.experiments.scripts import expect_error, run_script

_SMALL = ("--classes=12", "--examples=3", "--features=2", "--samples=2,12", "--draws=30")


def test_the_bias_vanishes_with_all_classes_and_falls_with_the_samples(tmp_path):
  done = run_script("sampled_bias", f"--workdir={tmp_path}", *_SMALL)
  assert "report.md" in done.stdout
  records = [json.loads(line) for line in (tmp_path / "results.jsonl").open()]
  assert len(records) == 4 * 2 * 2
  for record in records:
    if record["num_samples"] == 12 and "with replacement" not in record["sampler"]:
      assert abs(record["loss_bias"]) < 1e-5
      assert record["gradient_bias"] < 1e-4
      assert record["gradient_noise"] < 1e-4
  few = [record for record in records if record["num_samples"] == 2 and record["correct_label"]]
  # The label against two classes is an easier task than against all.
  assert all(record["loss_bias"] < 0 for record in few if record["sampler"] == "uniform")
  assert all(record["gradient_noise"] > 0.1 for record in few)
  report = (tmp_path / "report.md").read_text()
  assert "| frequency, with replacement" in report and "label uncorrected" in report
  assert (tmp_path / "figures" / "bias.svg").exists()


@pytest.mark.parametrize(
  ("arguments", "message"),
  [((), "There are results in"), (("--samples=4,a",), "must be integers of at least 1")],
)
def test_bad_arguments(tmp_path, arguments, message):
  (tmp_path / "results.jsonl").touch()
  assert message in expect_error("sampled_bias", f"--workdir={tmp_path}", *arguments)
