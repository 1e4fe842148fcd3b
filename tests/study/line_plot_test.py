"""Line plots: what is drawn and where the names stand."""

import numpy as np

from softmax_research.study.figure_style import to_svg
from softmax_research.study.line_plot import Line, Panel, line_plot


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


def test_logarithmic_axes_have_plain_numbers():
  lines = [Line("a", [1e-5, 1e10], [2.4, 6.4])]
  (axes,) = line_plot([Panel("Panel", "x", lines, ("log", "log"))]).axes
  figure = axes.figure
  figure.canvas.draw()
  ticks = [label.get_text() for label in axes.get_xticklabels()]
  assert ticks[:4] == ["10⁻⁵", "0.0001", "0.001", "0.01"] and ticks[-1] == "10¹⁰"
  assert "100,000" in ticks
  assert len(axes.get_yticks()) >= 2 and "$" not in "".join(
    label.get_text() for label in axes.get_yticklabels()
  )


def test_many_lines_have_a_panel_each_beside_the_first():
  lines = [Line(f"line {i}", [1, 2, 3], [1.0 + i, 2.0 + i, 3.0 + i]) for i in range(24)]
  lines[23] = Line("far", [1, 2, 3], [1.0, 2.0, 1e6])
  figure = line_plot([Panel("Above", "epoch", lines), Panel("Below", "epoch", lines[:12])])
  above = [axes for axes in figure.axes[:24] if axes.get_visible()]
  assert [axes.get_title(loc="left") for axes in above] == [f"line {i}" for i in range(1, 23)] + [
    "far"
  ]
  for number, axes in enumerate(above[:-1], start=1):
    first, own = axes.lines
    np.testing.assert_array_equal(first.get_ydata(), [1, 2, 3])
    np.testing.assert_array_equal(own.get_ydata(), np.array([1, 2, 3]) + number)
    low, high = axes.get_ylim()
    assert low < 1 and 20 < high < 100  # One line that is far away squeezes no other.
  frames = [axes.get_position() for axes in above]
  assert len({(round(box.x0, 3), round(box.y0, 3)) for box in frames}) == 23
  below = [axes for axes in figure.axes[24:] if axes.get_visible()]
  assert [len(axes.lines) for axes in below] == [2] * 11 + [1] * 12
