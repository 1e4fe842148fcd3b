"""The plot of paired differences shows seeds, means, intervals, significance and outliers."""

import numpy as np

from softmax_research.reporting import group_by_head
from softmax_research.reporting.comparisons import compare_heads
from softmax_research.reporting.difference_plot import difference_plot
from softmax_research.reporting.measures import ACCURACY, NLL
from tests.reporting.fake_results import make_diverged, make_run

_BASE = np.array([0.951, 0.948, 0.953])
_NOISE = np.array([0.001, -0.001, 0.0005])


def _plot(accuracies, measures=(ACCURACY,)):
  records = []
  for name, values in accuracies.items():
    for seed, accuracy in enumerate(values):
      records.append(make_run(name, seed, heads=list(accuracies)))
      records[-1]["metrics"]["test"]["accuracy"] = float(accuracy)
  heads = group_by_head(records)
  comparisons = [(measure, compare_heads(heads, measure.key)) for measure in measures]
  return difference_plot("softmax", comparisons), comparisons


def _diamonds(axes):
  return [line for line in axes.lines if line.get_marker() == "D"]


def test_dots_means_and_intervals():
  heads = {"softmax": _BASE, "taylor": _BASE + _NOISE, "best": _BASE + 0.02 + 0.1 * _NOISE}
  figure, ((_, (taylor, best)),) = _plot(heads)
  (axes,) = figure.axes
  np.testing.assert_allclose(axes.collections[0].get_offsets()[:, 0], 100 * _NOISE, atol=1e-9)
  plain, filled = _diamonds(axes)
  np.testing.assert_allclose(plain.get_xdata(), [100 * taylor.paired.mean])
  assert best.significant and not taylor.significant
  assert filled.get_markerfacecolor() != plain.get_markerfacecolor()
  interval = next(line for line in axes.lines if len(line.get_xdata()) == 2 and line.get_ydata()[0])
  np.testing.assert_allclose(interval.get_xdata(), [100 * best.paired.low, 100 * best.paired.high])
  assert [label.get_text() for label in axes.get_yticklabels()] == ["taylor", "best"]


def test_better_is_right_or_left_by_the_measure():
  figure, _ = _plot({"softmax": _BASE, "taylor": _BASE + _NOISE}, (ACCURACY, NLL))
  accuracy, nll = figure.axes
  assert accuracy.get_xlabel().startswith("← worse") and nll.get_xlabel().startswith("← better")


def test_an_outlying_head_is_pointed_to_and_squeezes_no_other():
  heads = {"softmax": _BASE} | {name: _BASE + _NOISE for name in "abcd"}
  figure, _ = _plot(heads | {"bad": _BASE - 0.4 + _NOISE})
  (axes,) = figure.axes
  assert axes.get_xlim()[1] < 1
  assert [text.get_text() for text in axes.texts] == ["← −39.98"]
  assert len(_diamonds(axes)) == 4


def test_equal_heads_and_single_seeds_are_drawn():
  figure, _ = _plot({"softmax": _BASE, "same": _BASE})
  assert figure.axes[0].get_xlim() == (-1, 1)
  figure, _ = _plot({"softmax": _BASE[:1], "taylor": _BASE[:1] + 0.01})
  assert len(_diamonds(figure.axes[0])) == 1


def test_without_a_pair_there_is_no_figure():
  heads = group_by_head([make_run("softmax", 0), make_diverged("taylor", 0)])
  assert difference_plot("softmax", [(ACCURACY, compare_heads(heads, "accuracy"))]) is None
