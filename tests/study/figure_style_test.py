"""Style of the figures: colours, labels that keep apart, and SVG that is always the same."""

import itertools
import re
import warnings
import xml.etree.ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from softmax_research.study import figure_style


def _plot():
  with figure_style.style_context():
    figure = Figure(figsize=(figure_style.WIDTH / 2, 2))
    axes = figure.subplots()
    axes.plot([1, 2, 3], [1, 3, 2], marker="o", **figure_style.head_style(1))
    axes.fill_between([1, 2, 3], [0, 2, 1], [2, 4, 3], color=figure_style.INK, alpha=0.2)
    axes.set_title("a title")
  return figure


def test_twelve_heads_have_twelve_looks():
  looks = [figure_style.head_style(index) for index in range(12)]
  assert len({(look["color"], str(look["linestyle"])) for look in looks}) == 12
  assert looks[0]["color"] == figure_style.INK


def test_svg_is_the_same_every_time_and_well_formed():
  svg = figure_style.to_svg(_plot(), "curves")
  assert svg == figure_style.to_svg(_plot(), "curves")
  assert "metadata" not in svg and "<style" not in svg and "DejaVu" not in svg
  xml.etree.ElementTree.fromstring(svg)
  ids = re.findall(r'\bid="([^"]+)"', svg)
  assert len(ids) == len(set(ids)) and all(name.startswith("curves-") for name in ids)
  assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg)) <= set(ids)


def test_svg_has_the_letters_of_all_languages_without_a_warning():
  figure = Figure()
  figure.text(0.5, 0.5, "\u65e5\u672c")
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    assert "\u65e5\u672c" in figure_style.to_svg(figure, "names")


def test_users_own_settings_change_nothing():
  expected = figure_style.to_svg(_plot(), "curves")
  with matplotlib.rc_context({"font.size": 20, "lines.linewidth": 5, "savefig.dpi": 300}):
    assert figure_style.to_svg(_plot(), "curves") == expected


def test_inline_svg_takes_its_colours_and_width_from_the_page():
  inline = figure_style.inline_svg(figure_style.to_svg(_plot(), "curves"))
  assert inline.startswith("<svg ") and "<!DOCTYPE" not in inline
  assert 'style="width: 50.0%"' in inline
  assert not re.search(r'\s(width|height)="[\d.]+pt"', inline.split(">")[0])
  assert {"var(--ink)", "var(--head-1)", "var(--rule)", "var(--muted)"} <= set(
    re.findall(r"var\(--[\w-]+\)", inline)
  )
  assert figure_style.INK not in inline


@pytest.mark.parametrize("count", [1, 2, 5, 12])
@pytest.mark.parametrize("values", [np.zeros, np.ones, lambda n: np.linspace(0.4, 0.5, n)])
def test_labels_at_line_ends_do_not_overlap(count, values):
  with figure_style.style_context():
    figure = Figure(figsize=(8, 2.4))
    axes = figure.subplots()
    axes.set_ylim(0, 1)
    ends = [(f"head{i}", float(y), figure_style.head_style(i)) for i, y in enumerate(values(count))]
    figure_style.label_line_ends(axes, ends)
  renderer = FigureCanvasAgg(figure).get_renderer()
  boxes = sorted((t.get_window_extent(renderer) for t in axes.texts), key=lambda box: box.y0)
  assert len(boxes) == count
  for lower, upper in itertools.pairwise(boxes):
    assert upper.y0 >= lower.y1 - 1
  frame = axes.get_window_extent(renderer)
  assert boxes[0].y0 > frame.y0 - 10 and boxes[-1].y1 < frame.y1 + 10


def test_labels_stay_at_their_lines_where_there_is_room():
  with figure_style.style_context():
    axes = Figure(figsize=(8, 4)).subplots()
    axes.set_ylim(0, 1)
    ends = [(f"h{y}", y, figure_style.head_style(1)) for y in (0.8, 0.2, np.nan, 0.5)]
    figure_style.label_line_ends(axes, ends)
  places = {text.get_text(): text.get_position()[1] for text in axes.texts}
  assert places == pytest.approx({"h0.8": 0.8, "h0.2": 0.2, "h0.5": 0.5})


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (4, 4), (5, 3), (9, 3), (12, 4)])
def test_panels_stand_in_even_rows(count, columns):
  with figure_style.style_context():
    names = [f"head{i}" for i in range(count)]
    figure, axes = figure_style.grid_of_axes(names, columns=4, height=2)
  assert [panel.get_title(loc="left") for panel in axes] == names
  assert figure.get_figwidth() == pytest.approx(figure_style.WIDTH * columns / 4)
  assert sum(panel.get_visible() for panel in figure.axes) == count


def test_a_long_title_is_broken_before_its_options():
  with figure_style.style_context():
    name = "sm_taylor:order=2:margin=0.6"
    _, (panel, *_) = figure_style.grid_of_axes([name] * 4, columns=4, height=2)
  assert panel.get_title(loc="left") == "sm_taylor\norder=2:margin=0.6"


def test_pdf_is_the_same_every_time():
  data = figure_style.to_pdf(_plot())
  assert data.startswith(b"%PDF") and data == figure_style.to_pdf(_plot())


def test_names_are_no_formulas_and_long_ones_are_cut():
  name = r"kind=$\frac{1}{0$" + 280 * "x"
  with figure_style.style_context():
    figure = Figure()
    axes = figure.subplots()
    axes.set_title(name)
    axes.set_yticks([0.5], [name])
    figure_style.label_line_ends(axes, [(name, 0.5, figure_style.head_style(0))])
  assert r"kind=$\frac{1}{0$" in figure_style.to_svg(figure, "x")
  assert len(axes.texts[0].get_text()) == figure_style.LONGEST_LABEL
