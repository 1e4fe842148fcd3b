"""Whole reports: files and their names, sameness, and what no name can break."""

import csv
import html.parser
import importlib.resources
import json
import pathlib
import re
import subprocess
import sys

import pytest
from matplotlib.figure import Figure

from softmax_research import study
from softmax_research.study import figure_style
from softmax_research.study.blocks import Cell, Plot, Row, Table
from softmax_research.study.provenance import Provenance
from softmax_research.study.report import FORMATS, make_page
from tests.study.fake_records import make_diverged, make_record

_NASTY = "../<script>alert(1)</script> $\\frac{1}{0$|x\ny"


def _figure(label):
  with figure_style.style_context():
    figure = Figure(figsize=(2, 1))
    figure.subplots().set_title(label)
  return figure


def _blocks(name=_NASTY):
  rows = (Row(name, (Cell("1.0", "± 0.5"),)),)
  return [
    f"Text of {study.escape(name)}, and raw <script>alert(2)</script>.",
    "# A title",
    "## A heading",
    Table((name,), rows, name_column=name, name=name),
    Table((), rows[:0], name=name),
    Plot(name, name, name, _figure(name)),
    Plot("Curves", "Curves", "Two names that differ in case alone.", _figure("first")),
    Plot("curves", "Curves", "Twice.", _figure("second")),
  ]


def test_a_report_has_all_its_files_and_they_are_always_the_same(tmp_path):
  records = [make_record("a", 0), make_diverged("b", 1)]
  options = {"formats": FORMATS, "command": "make it", "config": {"seeds": 2}}
  paths = study.write_report(tmp_path / "first", _blocks(), records, **options)
  again = study.write_report(tmp_path / "second", _blocks(), records, **options)
  names = [path.relative_to(tmp_path / "first").as_posix() for path in paths]
  plain = "script_alert_1_script_frac_1_0_x_y"
  assert names[0] == "report.html" and set(names) == {
    "report.html",
    "report.md",
    *(f"figures/{n}.{s}" for n in (plain, "Curves", "curves_2") for s in ("svg", "pdf")),
    *(f"tables/{n}.{s}" for n in (plain, f"{plain}_2", "unfinished") for s in ("csv", "tex")),
  }
  assert {p for p in (tmp_path / "first").rglob("*") if p.is_file()} == set(paths)
  for one, other in zip(paths, again, strict=True):
    assert one.read_bytes() == other.read_bytes(), one.name

  text = (tmp_path / "first/report.md").read_text(encoding="utf-8")
  assert text.startswith("# A title\n\nText of ") and "<script" not in text
  assert re.findall(r"^## (.*)$", text, re.MULTILINE) == [
    "A heading",
    "Runs that did not finish",
    "How it was run",
  ]
  assert "- command: `make it`\n" in text and "\nseeds: 2\n" in text and "| diverged |" in text
  linked = re.findall(r"\]\((figures/[^)]+)\)", text)
  assert linked == [f"figures/{n}.svg" for n in (plain, "Curves", "curves_2")]
  assert "<script" not in (tmp_path / "first/report.html").read_text(encoding="utf-8")
  with (tmp_path / f"first/tables/{plain}.csv").open(encoding="utf-8", newline="") as file:
    assert list(csv.reader(file)) == [[_NASTY, _NASTY, f"{_NASTY}, spread"], [_NASTY, "1.0", "0.5"]]


def test_formats_are_chosen_and_checked(tmp_path):
  blocks = ["Text.", Plot("p", "P", "Caption.", _figure("p"))]
  paths = study.write_report(tmp_path, blocks, [make_record("a")], formats=("md",))
  assert [path.name for path in paths] == ["report.md", "p.svg"]
  assert paths[0].read_text(encoding="utf-8").startswith("# compare\n\nText.\n")
  with pytest.raises(ValueError, match="'word'; the formats are md, html, csv"):
    study.write_report(tmp_path / "none", blocks, [], formats=("md", "word"))
  assert study.write_report(tmp_path / "none", blocks, [], formats=()) == []
  assert not (tmp_path / "none").exists()


def test_a_full_disk_leaves_the_former_report(tmp_path, monkeypatch):
  options = {"records": [make_record("a")], "formats": ("md",)}
  (path,) = study.write_report(tmp_path, ["# Former"], **options)
  former = path.read_bytes()

  def fail(self, data):
    with self.open("wb") as file:
      file.write(data[:5])
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(pathlib.Path, "write_bytes", fail)
  with pytest.raises(OSError, match="No space"):
    study.write_report(tmp_path, ["# New"], **options)
  assert path.read_bytes() == former and list(tmp_path.iterdir()) == [path]


def test_studies_load_no_plotting():
  statement = "import sys, json, softmax_research.study; print(json.dumps(list(sys.modules)))"
  run = subprocess.run(
    [sys.executable, "-c", statement], capture_output=True, text=True, check=True
  )
  loaded = set(json.loads(run.stdout.splitlines()[-1]))
  slow = {"matplotlib", "jinja2", "markdown_it", "scipy.stats", "scipy.optimize"}
  assert "softmax_research.study.plots" in loaded and not slow & loaded


def test_the_template_is_part_of_the_package():
  templates = importlib.resources.files("softmax_research.study") / "templates"
  assert {"report.html", "report.css"} <= {path.name for path in templates.iterdir()}


_VOID = {"meta", "img", "br", "link", "hr"}
_TAG = '<i>"&\n|'


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
    svgs[name] = figure_style.inline_svg(figure_style.to_svg(figure, name))
  rows = (
    Row(_TAG, (Cell("1.0", "± 0.5", "[0, 2]"), Cell("< 0.001", strong=True))),
    Row("ensemble", (Cell("1.5"), Cell("")), subordinate=True),
  )
  blocks = [
    f"# {_TAG}",
    "The *first* sentence, <script>alert(1)</script>.",
    "## A heading",
    Table((_TAG, "p"), rows, name_column=_TAG),
    "A note.\n\n- a\n- list",
    Plot("one", _TAG, _TAG, None),
    Plot("two", "Two", "Second.", None),
    "### Below\n\n[a link](https://example.org) [none](javascript:alert(1))",
  ]
  provenance = Provenance([("command", _TAG), ("device", _TAG)], [("a.b", _TAG)])
  return make_page(blocks, provenance, svgs)


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
