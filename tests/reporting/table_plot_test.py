"""Table plots: means, intervals and published numbers stand where they should."""

import numpy as np
from matplotlib.colors import to_hex
from scipy import stats

from softmax_research.reporting import figure_style
from softmax_research.reporting.observations import measure_of
from softmax_research.reporting.table_plot import Entry, Panel, table_plot

_ACCURACY = measure_of("accuracy")


def _plot(*entries):
  (axes,) = table_plot([Panel("mnist", entries)], _ACCURACY).axes
  return axes


def _markers(axes, kind):
  return [line for line in axes.lines if line.get_marker() == kind]


def test_means_intervals_and_published_numbers():
  values = [99.1, 99.3, 99.4]
  axes = _plot(
    Entry("softmax", values, 99.2), Entry("m=2", [99.3], 99.35, verified=False), Entry("m=3", [])
  )
  assert [label.get_text() for label in axes.get_yticklabels()] == ["softmax", "m=2", "m=3"]
  means = _markers(axes, "D")
  np.testing.assert_allclose([line.get_xdata()[0] for line in means], [np.mean(values), 99.3])
  assert [line.get_ydata()[0] for line in means] == [0, 1]
  (interval,) = (line for line in axes.lines if len(line.get_xdata()) == 2)
  expected = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
  np.testing.assert_allclose(interval.get_xdata(), expected)
  read, recalled = _markers(axes, "s")
  assert (read.get_xdata()[0], recalled.get_xdata()[0]) == (99.2, 99.35)
  assert to_hex(recalled.get_markerfacecolor()) == figure_style.PAPER
  assert to_hex(read.get_markerfacecolor()) != figure_style.PAPER
  assert axes.get_xlabel() == "accuracy, %" and not axes.texts


def test_what_lies_far_outside_is_written_and_squeezes_no_other():
  near = [Entry(f"m={i}", [98.0 + i / 10, 98.02 + i / 10], 99.99) for i in range(5)]
  axes = _plot(*near, Entry("broken", [9.8, 9.8]))
  low, high = axes.get_xlim()
  assert 97 < low < 98 and 98.4 < high < 99
  assert [text.get_text() for text in axes.texts] == ["→ 99.99"] * 5 + ["← 9.80"]
  assert len(_markers(axes, "D")) == 5 and not _markers(axes, "s")


def test_equal_values_have_an_axis_and_two_rows_are_both_shown():
  low, high = _plot(Entry("softmax", [100.0, 100.0])).get_xlim()
  assert low < 100 < high
  low, high = _plot(Entry("softmax", [99.0, 99.1]), Entry("ReLU", [60.0, 61.0])).get_xlim()
  assert low < 60 and high > 99
