"""Dot plots: means, intervals, published numbers and outliers stand where they should."""

import math

import numpy as np
from matplotlib.colors import to_hex
from scipy import stats

from softmax_research.study import figure_style
from softmax_research.study.dot_plot import Entry, Panel, dot_plot
from softmax_research.study.measures import measure_of

_ACCURACY = measure_of("accuracy")


def _plot(*entries, **options):
  (axes,) = dot_plot([Panel("mnist", entries, _ACCURACY, **options)]).axes
  return axes


def _markers(axes, kind):
  return [line for line in axes.lines if line.get_marker() == kind]


def test_means_intervals_and_published_numbers():
  values = [0.991, 0.993, 0.994]
  axes = _plot(
    Entry("softmax", [*values, math.inf], 99.2),
    Entry("m=2", [0.993], 99.35, verified=False, filled=False),
    Entry("m=3", []),
  )
  labels = [label.get_text() for label in axes.get_yticklabels()]
  assert labels == ["softmax (1 not finite)", "m=2", "m=3"]
  means = _markers(axes, "D")
  np.testing.assert_allclose([line.get_xdata()[0] for line in means], [100 * np.mean(values), 99.3])
  assert [line.get_ydata()[0] for line in means] == [0, 1]
  faces = [to_hex(line.get_markerfacecolor()) for line in means]
  assert faces == [figure_style.INK, figure_style.PAPER]
  (interval,) = (line for line in axes.lines if len(line.get_xdata()) == 2)
  expected = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
  np.testing.assert_allclose(interval.get_xdata(), 100 * np.array(expected))
  read, recalled = _markers(axes, "s")
  assert (read.get_xdata()[0], recalled.get_xdata()[0]) == (99.2, 99.35)
  assert to_hex(recalled.get_markerfacecolor()) == figure_style.PAPER
  assert to_hex(read.get_markerfacecolor()) != figure_style.PAPER
  assert axes.get_xlabel() == "accuracy, %" and not axes.texts


def test_what_lies_far_outside_is_written_and_squeezes_no_other():
  near = [Entry(f"m={i}", [0.98 + i / 1000, 0.9802 + i / 1000], 99.99) for i in range(5)]
  axes = _plot(*near, Entry("broken", [0.098, 0.098]))
  low, high = axes.get_xlim()
  assert 97 < low < 98 and 98.4 < high < 99
  assert [text.get_text() for text in axes.texts] == ["→ 99.99"] * 5 + ["← 9.80"]
  assert len(_markers(axes, "D")) == 5 and not _markers(axes, "s")


def test_equal_values_have_an_axis_and_two_rows_are_both_shown():
  low, high = _plot(Entry("softmax", [1.0, 1.0])).get_xlim()
  assert low < 100 < high
  low, high = _plot(Entry("softmax", [0.99, 0.991]), Entry("ReLU", [0.6, 0.61])).get_xlim()
  assert low < 60 and high > 99


def test_differences_show_zero():
  noise = np.array([0.001, -0.001, 0.0005])
  near = [Entry(name, 0.002 + noise) for name in "abcde"]
  axes = _plot(*near, Entry("bad", -0.4 + noise), differences=True, axis="← worse")
  low, high = axes.get_xlim()
  assert -1 < low < 0 < high < 1 and axes.get_xlabel() == "← worse"
  assert [text.get_text() for text in axes.texts] == ["← −39.98"]
  low, high = _plot(Entry("same", [0.0, 0.0]), differences=True).get_xlim()
  assert low < 0 < high
