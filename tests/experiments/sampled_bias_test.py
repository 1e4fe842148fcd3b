"""The bias of sampled softmax: what is recorded and reported."""

import pytest

from experiments import sampled_bias
from softmax_research.study import runner, workdir

SMALL = sampled_bias.Settings(classes=12, examples=3, features=2, samples=(2, 12), draws=30)


def test_the_bias_vanishes_with_all_classes_and_falls_with_the_samples(tmp_path):
  options = runner.Options(tmp_path, only="^uniform|with replacement")
  assert runner.run(sampled_bias.STUDY, SMALL, options) == []
  records = workdir.read(tmp_path)
  assert len(records) == 2 * 2 * 2
  few = []
  for record in records:
    cell, found = record["cell"], record["measured"]
    if cell["num_samples"] == 12 and "with replacement" not in cell["sampler"]:
      assert abs(found["loss_bias"]) < 1e-5
      assert found["gradient_bias"] < 1e-4
      assert found["gradient_noise"] < 1e-4
    if cell["num_samples"] == 2 and cell["correct_label"]:
      few.append(found)
      # The label against two classes is an easier task than against all.
      assert found["loss_bias"] < 0 or cell["sampler"] != "uniform"
  assert all(found["gradient_noise"] > 0.1 for found in few)
  report = (tmp_path / "report.md").read_text()
  assert "| frequency, with replacement" in report and "label uncorrected" in report
  assert (tmp_path / "figures" / "bias.svg").exists()


def test_settings_that_are_none_are_refused():
  for name, value in (("classes", 1), ("draws", 1), ("samples", (4, 0)), ("samples", ())):
    with pytest.raises(ValueError, match=f"--{name}"):
      sampled_bias.STUDY.check(SMALL._replace(**{name: value}))
  # More samples than classes can only be drawn with replacement.
  cells = sampled_bias.cells(SMALL._replace(samples=(13,)))
  assert {cell["sampler"] for cell in cells} == {"frequency, with replacement"}
