"""Published plot: errors here over published errors."""

import numpy as np
from matplotlib.colors import to_hex

from softmax_research.reporting import figure_style
from softmax_research.reporting.published_plot import Point, published_plot


def test_points_intervals_and_groups():
  points = [
    Point("one", 0.4, [1.0, 1.2, 1.4]),
    Point("one", 9.0, [30.0], verified=False),
    Point("other", 7.6, [3.0, 4.0]),
    Point("empty", 7.6, []),
    Point("perfect", 0.0, [1.0]),
  ]
  (axes,) = published_plot(points).axes
  marks = [line for line in axes.lines if line.get_marker() == "o"]
  places = [(line.get_xdata()[0], line.get_ydata()[0]) for line in marks]
  np.testing.assert_allclose(places, [(0.4, 1.2), (9.0, 30.0), (7.6, 3.5)])
  faces = [to_hex(line.get_markerfacecolor()) for line in marks]
  assert faces[1] == figure_style.PAPER != faces[0] != faces[2]
  assert [text.get_text() for text in axes.texts] == ["one", "other"]
  assert axes.get_xlim() == axes.get_ylim() and axes.get_xlim()[1] > 30


def test_nothing_to_draw():
  assert published_plot([]) is None
