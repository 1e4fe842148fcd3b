"""Reliability diagrams pool the bins of the seeds by their counts."""

import numpy as np

from softmax_research.study import group
from softmax_research.study.reliability_plot import reliability_plot
from tests.study.fake_records import make_diverged, make_run


def _with_bins(record, count, confidence, accuracy):
  record["metrics"]["test"]["reliability"] = {
    "count": count,
    "confidence": confidence,
    "accuracy": accuracy,
  }
  return record


def test_bins_are_pooled_by_count():
  runs = [
    _with_bins(make_run("a", 0), [0, 10, 30], [None, 0.5, 0.90], [None, 0.4, 1.0]),
    _with_bins(make_run("a", 1), [2, 30, 8], [0.2, 0.6, 0.95], [0.5, 0.8, 0.5]),
  ]
  (axes,) = reliability_plot(group(runs)).axes
  line = axes.lines[1].get_xydata()  # after the diagonal
  # (10 * 0.5 + 30 * 0.6) / 40 and so on; the bin of two examples is no part of the line.
  np.testing.assert_allclose(line, [[0.575, 0.7], [(27 + 7.6) / 38, 34 / 38]])
  faint = axes.collections[0].get_offsets()
  np.testing.assert_allclose(faint, [[0.2, 0.5]])
  heights = [bar.get_height() for bar in axes.patches]
  np.testing.assert_allclose(heights, np.array([2, 40, 38]) / 40 * 0.25)


def test_the_error_counts_each_image_once():
  runs = [_with_bins(make_run("a", s), [0, 100], [None, 0.9], [None, 0.8]) for s in range(4)]
  (axes,) = reliability_plot(group(runs)).axes
  (segment,) = axes.collections[1].get_segments()
  np.testing.assert_allclose(segment[:, 1], [0.8 - 2 * 0.04, 0.8 + 2 * 0.04])


def test_every_head_with_runs_has_a_panel_with_its_ece():
  run = make_run("a", 0)
  figure = reliability_plot(group([run, make_diverged("b", 0)]))
  assert len(figure.axes) == 1
  (text,) = figure.axes[0].texts
  assert text.get_text() == f"ECE {100 * run['metrics']['test']['ece']:.2f}%"


def test_without_bins_there_is_no_figure():
  run = make_run("a", 0)
  del run["metrics"]["test"]["reliability"]
  assert reliability_plot(group([run])) is None
  assert reliability_plot(group([_with_bins(run, [0, 0], [None] * 2, [None] * 2)])) is None
