"""The page is well formed, self-contained and safe."""

import html.parser
import re

import pytest
from matplotlib.figure import Figure

from softmax_research.study import figure_style, page
from softmax_research.study.blocks import Cell, Plot, Row, Table
from softmax_research.study.provenance import Provenance

_VOID = {"meta", "img", "br", "link", "hr"}
_NASTY = '<i>"&\n|'


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


@pytest.fixture(name="whole", scope="module")
def _whole():
  svgs = {}
  for name in ("one", "two"):
    with figure_style.style_context():
      figure = Figure(figsize=(figure_style.WIDTH / 2, 2))
      axes = figure.subplots()
      axes.plot([1, 2, 3], marker="o", **figure_style.head_style(1))
      axes.imshow([[1, 2], [3, 4]])
    svgs[name] = figure_style.to_svg(figure, name)
  rows = (
    Row(_NASTY, (Cell("1.0", "± 0.5", "[0, 2]"), Cell("< 0.001", strong=True))),
    Row("ensemble", (Cell("1.5"), Cell("")), subordinate=True),
  )
  blocks = [
    f"# {_NASTY}",
    "The *first* sentence, <script>alert(1)</script>.",
    "## A heading",
    Table((_NASTY, "p"), rows, name_column=_NASTY),
    "A note.\n\n- a\n- list",
    Plot("one", _NASTY, _NASTY, None),
    Plot("two", "Two", "Second.", None),
    "### Below\n\n[a link](https://example.org) [none](javascript:alert(1))",
  ]
  provenance = Provenance([("command", _NASTY), ("device", _NASTY)], [("a.b", _NASTY)])
  return page.make_page(blocks, provenance, svgs)


def test_the_page_is_well_formed_and_loads_nothing(whole):
  checker = _Checker()
  checker.feed(whole)
  checker.close()
  assert checker.open == [] and whole.startswith("<!doctype html>")
  assert len(checker.ids) == len(set(checker.ids))
  links = [link for link in checker.loaded if not link.startswith(("#", "data:image/png;base64,"))]
  assert links == ["https://example.org"]
  assert not {"script", "link", "i"} & set(checker.tags)
  assert not re.search(r"url\((?!#)|@import|@font-face", whole)


def test_blocks_become_elements(whole):
  assert "<title>&lt;i&gt;&#34;&amp;" in whole
  assert "<p>The <em>first</em> sentence, &lt;script&gt;alert(1)&lt;/script&gt;.</p>" in whole
  assert re.findall(r"<h2>(.*?)</h2>", whole) == ["A heading", "How it was run"]
  assert "<h3>Below</h3>" in whole and "<li>list</li>" in whole
  assert '1.0 <span class="spread">± 0.5</span>' in whole and "<small>[0, 2]</small>" in whole
  assert '<tr class="subordinate">' in whole and '<td class="strong">&lt; 0.001' in whole
  assert whole.count("<svg ") == 2 and whole.count("<figcaption>") == 2
  assert "<details>\n<summary>Configuration</summary>" in whole and "<?xml" not in whole
