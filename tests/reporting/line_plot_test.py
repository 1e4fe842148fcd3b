"""Line plots: what is drawn and where the names stand."""

import numpy as np

from softmax_research.reporting.figure_style import to_svg
from softmax_research.reporting.line_plot import Line, Panel, line_plot


def test_lines_bands_and_names():
  lines = [Line("one", [1, 10], [2.0, 4.0], ([1.0, 3.0], [3.0, 5.0])), Line("two", [1, 10], [1, 2])]
  figure = line_plot(
    [Panel("Above", "samples", lines, ("log", "linear")), Panel("Below", "time", lines[1:])]
  )
  above, below = figure.axes
  assert (above.get_xscale(), above.get_yscale(), below.get_xscale()) == ("log", "linear", "linear")
  np.testing.assert_array_equal(above.lines[0].get_ydata(), [2.0, 4.0])
  assert len(above.collections) == 1
  assert sorted(text.get_text() for text in above.texts) == ["one", "two"]
  assert above.lines[1].get_color() == below.lines[0].get_color() != above.lines[0].get_color()
  assert to_svg(figure, "name") == to_svg(figure, "name")


def test_what_lies_beyond_the_limits_is_cut_off():
  lines = [Line("far", [1, 2], [0.0, 90.0]), Line("near", [1, 2], [0.0, 1.0])]
  (axes,) = line_plot([Panel("Panel", "x", lines, limits=(-1.0, 2.0))]).axes
  assert axes.get_ylim() == (-1.0, 2.0)
  heights = {text.get_text(): text.get_position()[1] for text in axes.texts}
  assert heights["near"] < heights["far"] <= 1.05


def test_a_line_without_a_finite_value_has_no_name():
  figure = line_plot([Panel("Panel", "x", [Line("none", [1], [np.nan]), Line("some", [1], [1.0])])])
  assert [text.get_text() for text in figure.axes[0].texts] == ["some"]
