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
from softmax_research.study.record import duration
from softmax_research.study.report import FORMATS, make_page, provenance
from tests.study.fake_records import make_diverged, make_ensemble, make_record, make_run

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
  options = {"formats": FORMATS, "config": {"seeds": 2}}
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
  assert (
    "- command: `python -m experiments.compare`\n" in text
    and "\nseeds: 2\n" in text
    and "| diverged |" in text
  )
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

  def fail(self, target):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(pathlib.Path, "replace", fail)
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
  facts, config = [("command", _TAG), ("device", _TAG)], [("a.b", _TAG)]
  return make_page(blocks, facts, config, svgs)


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


def _facts(records):
  return dict(provenance(records)[0])


def test_facts_of_equal_runs_are_told_once():
  runs = [make_run("a", seed) for seed in range(3)]
  ensemble = make_ensemble("a", [0, 1, 2])
  ensemble["time"]["finished_at"] = "2025-03-15T00:00:00+00:00"
  assert _facts([*runs, ensemble]) == {
    "command": "python -m experiments.compare",
    "dataset": "digits: 1,200 training, 197 validation, 100 test, 10 classes",
    "runs": "3: 1 cell, seeds 0 to 2",
    "device": "cpu x 1 (Example CPU, 2 cores)",
    "versions": "python 3.12.1, jax 0.12.0",
    "git revision": "0123abc",
    "time of the runs": "12.8 s",
    "finished": "2025-03-14T15:09:02+00:00",
  }


def test_differing_facts_are_all_told():
  records = [make_record("a", 3), make_record("b", 0, revision="fff", device="gpu x 1")]
  facts = _facts(records)
  assert facts["git revision"] == "fff; 0123abc"
  assert facts["device"] == "gpu x 1; cpu x 1 (Example CPU, 2 cores)"
  assert facts["runs"] == "2: 2 cells, seeds 0, 3"


def test_what_was_not_recorded_is_said_to_be_so():
  record = make_record("a", None, command="", device="", revision="", versions={}, time={})
  facts = _facts([record])
  for name in ("command", "device", "versions", "git revision", "finished"):
    assert facts[name] == "not recorded", name
  assert "dataset" not in facts and facts["runs"] == "1: 1 cell"
  assert _facts([])["runs"] == "0: 0 cells"


@pytest.mark.parametrize(
  ("seconds", "text"),
  [(59.94, "59.9 s"), (61.0, "1 min 1 s"), (3599.0, "59 min 59 s"), (7260.0, "2 h 1 min")],
)
def test_durations(seconds, text):
  assert duration(seconds) == text


def test_the_configuration_is_flat():
  records = [make_record("a")]
  assert ("backbone.widths", "[256, 256]") in provenance(records)[1]
  assert provenance(records, config={"seeds": 5})[1] == [("seeds", "5")]
