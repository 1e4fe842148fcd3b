"""Which figures a report has."""

from softmax_research.reporting import group_by_head
from softmax_research.reporting.figures import draw_plots
from tests.reporting.fake_results import DIGITS, make_diverged, make_run


def _names(records):
  return [plot.name for plot in draw_plots(group_by_head(records), DIGITS)]


def test_figures_are_those_that_there_are_data_for():
  one = ["learning_curves", "reliability", "confusion"]
  assert _names([make_run("softmax", 0)]) == one
  assert _names([make_run("softmax", 0), make_run("taylor", 0)]) == ["paired_differences", *one]
  assert _names([make_run("softmax", 0), make_run("taylor", 1)]) == one
  assert _names([make_diverged("softmax", 0)]) == []
