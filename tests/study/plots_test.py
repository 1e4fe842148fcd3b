"""Plots of records: what is drawn of them, and when there is nothing to draw."""

import numpy as np
import pytest

from softmax_research import study
from tests.study.fake_records import make_diverged, make_record, make_run, make_runs


def _line(axes, index=0):
  """Return the data of a curve; the lines that lead to the names are drawn after all curves."""
  return axes.lines[index].get_xydata()


def test_means_against_an_item_of_the_cells():
  records = [
    make_record(
      seed=seed, cell={"sampler": sampler, "num_samples": n}, measured={"bias": seed + n / 10}
    )
    for sampler in ("uniform", "log_uniform")
    for n in (100, 10)
    for seed in (0, 1, 2)
  ]
  plot = study.plot(records, x="num_samples", y="bias", scales=("log", "linear"), caption="Small.")
  assert plot.name == "bias_by_num_samples" and plot.heading == "Bias by num samples"
  assert plot.caption == "Small. Lines are means over the seeds, bands their 95% t intervals."
  (axes,) = plot.figure.axes
  np.testing.assert_allclose(_line(axes), [[10, 2], [100, 11]])
  band = axes.collections[0].get_paths()[0].vertices[:, 1]
  summary = study.summarise([1, 2, 3])
  assert {summary.low, summary.high} <= set(np.round(band, 12)) | set(band)
  assert {text.get_text() for text in axes.texts} == {"uniform", "log_uniform"}
  assert axes.get_title(loc="left") == "Bias, nats" and axes.get_xlabel() == "num samples"
  alone = study.plot(records[:6], x="num_samples", y="bias", interval=False)
  assert [text.get_text() for text in alone.figure.axes[0].texts] == ["mean"]
  with pytest.raises(ValueError, match="Got the measure 'bia', which no finished record has"):
    study.plot(records, x="num_samples", y="bia")
  with pytest.raises(ValueError, match="Got 'num_sample', which no cell has"):
    study.plot(records, x="num_sample", y="bias")
  with pytest.raises(ValueError, match="Got the measure 'bia'"):
    study.difference_plot(records, measures=["bia"])


_PANELS = {
  "Error, %": ("validation_accuracy", lambda accuracy: 100 * (1 - accuracy)),
  "NLL": "validation_nll",
  "Nothing": "absent",
}


def test_curves_are_means_and_bands_are_ranges():
  records = [make_run("softmax", seed, epochs=6) for seed in range(3)]
  plot = study.curves(records, panels=_PANELS)
  error, nll = plot.figure.axes
  accuracies = np.array([r["curves"]["validation_accuracy"] for r in records])
  np.testing.assert_allclose(_line(error)[:, 0], np.arange(1, 7))
  np.testing.assert_allclose(_line(error)[:, 1], 100 * (1 - accuracies).mean(axis=0))
  nlls = np.array([r["curves"]["validation_nll"] for r in records])
  band = nll.collections[0].get_paths()[0].vertices[:, 1]
  np.testing.assert_allclose([band.min(), band.max()], [nlls.min(), nlls.max()])
  assert [text.get_text() for text in error.texts] == ["softmax"]


def test_seeds_of_unequal_length_are_averaged_where_they_are_and_infinite_values_are_gaps():
  records = [make_run("softmax", 0, epochs=3), make_run("softmax", 1, epochs=5)]
  records[0]["curves"]["validation_nll"][1] = None
  (axes,) = study.curves(records, panels={"NLL": "validation_nll"}).figure.axes
  first, second = (r["curves"]["validation_nll"] for r in records)
  expected = [(first[0] + second[0]) / 2, np.nan, (first[2] + second[2]) / 2, *second[3:]]
  np.testing.assert_allclose(_line(axes)[:, 1], expected)


def test_wide_ranges_are_logarithmic_and_zeros_are_not():
  records = [make_run("softmax", 0), make_diverged("taylor", 0)]
  plot = study.curves(records, panels=_PANELS)
  assert plot.figure.axes[0].get_yscale() == "log" and not plot.figure.axes[0].collections
  rising = {"Accuracy": ("validation_nll", lambda nll: nll.max() + 0.001 - nll)}
  assert study.curves(records, panels=rising).figure.axes[0].get_yscale() == "linear"
  records[0]["curves"]["validation_accuracy"][-1] = 1.0
  assert study.curves(records, panels=_PANELS).figure.axes[0].get_yscale() == "linear"
  assert study.curves(records[1:], panels=_PANELS) is None
  records[0]["curves"]["validation_nll"] = [None] * 20
  assert study.curves(records, panels={"NLL": "validation_nll"}) is None


@pytest.mark.parametrize("taylor", [[0.96, 0.95, 0.98], [0.9]])
def test_paired_differences(taylor):
  groups = study.group(make_runs({"softmax": [0.951, 0.948, 0.953], "taylor": taylor}))
  plot = study.difference_plot(groups, measures=["accuracy", "nll"])
  accuracy, nll = plot.figure.axes
  assert accuracy.get_xlabel().startswith("← worse") and nll.get_xlabel().startswith("← better")
  assert accuracy.get_title(loc="left") == "Accuracy minus that of softmax, points"
  differences = 100 * (np.array(taylor) - [0.951, 0.948, 0.953][: len(taylor)])
  np.testing.assert_allclose(accuracy.collections[0].get_offsets()[:, 0], differences)
  unpaired = study.group([make_run("softmax", 0), make_run("taylor", 1)])
  assert study.difference_plot(unpaired, measures=["accuracy"]) is None
