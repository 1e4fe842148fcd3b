"""The page is well formed, self-contained and safe."""

import html.parser
import re

import pytest

from softmax_research.reporting import group_by_head, page
from softmax_research.reporting.content import make_content
from softmax_research.reporting.figures import Plot, draw_plots
from softmax_research.reporting.worst_images import worst_tiles
from tests.reporting.fake_results import DIGITS, make_diverged, make_results, make_run

_VOID = {"meta", "img", "br", "link", "hr"}


class _Checker(html.parser.HTMLParser):
  """Checks that tags close in order, and collects identifiers and what is loaded."""

  def __init__(self):
    super().__init__()
    self.open, self.ids, self.loaded, self.tags = [], [], [], []

  def handle_starttag(self, tag, attrs):
    self.tags.append(tag)
    if tag not in _VOID:
      self.open.append(tag)
    self._collect(attrs)

  def handle_startendtag(self, tag, attrs):
    self._collect(attrs)

  def handle_endtag(self, tag):
    assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}"
    self.open.pop()

  def _collect(self, attrs):
    attributes = dict(attrs)
    self.ids += [attributes["id"]] if "id" in attributes else []
    names = ("src", "href", "xlink:href")
    self.loaded += [attributes[name] for name in names if name in attributes]


def _check(text):
  checker = _Checker()
  checker.feed(text)
  checker.close()
  assert checker.open == []
  return checker


def _page(records, **options):
  heads = group_by_head(records)
  return page.make_page(
    make_content(heads, **options), draw_plots(heads, DIGITS), worst_tiles(heads, DIGITS)
  )


@pytest.fixture(name="whole", scope="module")
def _whole():
  records = make_results({"softmax": 0.03, "taylor:order=4": 0.02}, 3)
  return _page([*records, make_diverged("relu", 0)])


def test_the_page_is_well_formed_with_unique_identifiers(whole):
  checker = _check(whole)
  assert len(checker.ids) == len(set(checker.ids))
  assert whole.startswith("<!doctype html>")


def test_nothing_is_loaded_from_elsewhere(whole):
  checker = _check(whole)
  assert all(link.startswith(("#", "data:image/png;base64,")) for link in checker.loaded)
  assert "script" not in checker.tags and "link" not in checker.tags
  assert not re.search(r"url\((?!#)|@import|@font-face", whole)


def test_every_part_is_there(whole):
  headings = re.findall(r"<h2>(.*?)</h2>", whole)
  assert headings == [
    "How it was run",
    "Test metrics",
    "Paired differences",
    "Learning curves",
    "Reliability on the test split",
    "Confusion on the test split",
    "Worst-classified images",
    "Diverged runs",
    "Caveats",
    "Cost",
  ]
  assert whole.count("<svg ") == 4 and whole.count("<img ") == 2 * 12


def test_one_head_and_one_run_have_a_page():
  text = _page([make_run("softmax", 0)])
  _check(text)
  assert "Paired" not in text and "Worst-classified" not in text and "Diverged" not in text


def test_tables_of_differences_stand_without_their_plot():
  text = _page([make_run("softmax", 0), make_run("taylor", 1)])
  assert "Test NLL: difference from softmax" in text


def test_names_cannot_break_the_page():
  run = make_run("<b>&head", 0) | {"device": "<script>alert(1)</script>"}
  text = _page([run], title="<i>title")
  checker = _check(text)
  assert "script" not in checker.tags and "&lt;i&gt;title" in text and "&lt;b&gt;&amp;head" in text


def test_a_plot_is_put_in_inline():
  heads = group_by_head([make_run("softmax", 0)])
  svg = '<?xml?>\n<svg width="720pt" height="72pt"><g/></svg>'
  plot = Plot("name", "A heading", "A caption", svg)
  text = page.make_page(make_content(heads), [plot], {})
  assert "<?xml" not in text and "<g/></svg>" in text and "A caption" in text
