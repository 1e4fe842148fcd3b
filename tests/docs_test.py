"""The documentation's own checks: what must fail a build does, and what must be there is."""

import collections
import importlib
import pathlib
import re
import sys
import types

import pytest

pytest.importorskip("sphinx", reason="the docs extra is not installed")
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

_DOCS = pathlib.Path(__file__).resolve().parent.parent / "docs"

_MODULE = '''"""Small numbers."""

#: The smallest of them.
ZERO = 0

def double(x):
  r"""{docstring}"""
  return 2 * x
'''


@pytest.fixture
def build(tmp_path, monkeypatch):
  """Builds the documentation of a package of one function; returns its page and the warnings."""
  monkeypatch.syspath_prepend(str(_DOCS / "_ext"))
  monkeypatch.syspath_prepend(str(tmp_path))

  def run(*, docstring="Double it.", names=("ZERO", "double")):
    package = tmp_path / "sample" / "numbers"
    package.mkdir(parents=True)
    (tmp_path / "sample" / "__init__.py").write_text("")
    (package / "small.py").write_text(_MODULE.format(docstring=docstring))
    (package / "__init__.py").write_text(
      f'"""Numbers."""\nfrom sample.numbers.small import {", ".join(names)}\n'
    )
    source = tmp_path / "source"
    source.mkdir()
    (source / "index.rst").write_text("Sample\n======\n\n.. toctree::\n   api/index\n")
    settings = {
      "extensions": ["sphinx.ext.napoleon", "api_pages", "mathml"],
      "api_root": "sample",
      "html_math_renderer": "mathml",
      "html_theme": "basic",
    }
    warnings = (tmp_path / "warnings.txt").open("w+")
    with docutils_namespace():
      app = Sphinx(
        source, None, tmp_path / "html", tmp_path / "trees", "html",
        confoverrides=settings, status=None, warning=warnings, warningiserror=True,
      )  # fmt: skip
      app.build()
    warnings.seek(0)
    page = (tmp_path / "html" / "api" / "sample.numbers.html").read_text(encoding="utf-8")
    assert bool(warnings.read(1)) == (app.statuscode != 0)
    warnings.seek(0)
    return page, warnings.read()

  yield run
  for name in [name for name in sys.modules if name.partition(".")[0] == "sample"]:
    del sys.modules[name]


def test_every_public_name_gets_an_entry_under_its_module(build):
  page, warnings = build()
  assert not warnings
  assert "Small numbers." in page
  assert 'id="sample.numbers.double"' in page
  assert 'id="sample.numbers.ZERO"' in page
  assert "The smallest of them." in page


def test_equations_become_mathml_with_rows_aligned(build):
  page, warnings = build(docstring="Double :math:`x^2`.\n\n  .. math:: y &= 2 x \\\\ z &= y\n  ")
  assert not warnings
  assert "<msup><mi>x</mi><mn>2</mn></msup>" in page
  assert len(re.findall("<mtr>", page)) == 2


def test_a_wrong_formula_fails_the_build(build):
  _, warnings = build(docstring="Double :math:`\\nosuchcommand x`.")
  assert "nosuchcommand" in warnings


def test_pages_load_nothing_from_elsewhere():
  loaded = re.compile(r"(image|figure|raw)::.*https?:|@import|url\(.?(https?:)?//")
  for path in (*_DOCS.rglob("*.rst"), *_DOCS.glob("_static/*.css")):
    assert not loaded.search(path.read_text(encoding="utf-8")), path


def test_a_name_without_a_docstring_of_its_own_is_told(monkeypatch):
  monkeypatch.syspath_prepend(str(_DOCS / "_ext"))
  import api_pages

  package = types.ModuleType("sample")
  package.__path__, package.ONE, package.double = [], 1, lambda x: 2 * x
  package.Pair = collections.namedtuple("Pair", "x y")
  assert [api_pages.describe(package, name)[2] for name in ("ONE", "double", "Pair")] == [None] * 3


@pytest.mark.parametrize(
  "package",
  sorted(path.parent.name for path in (_DOCS.parent / "softmax_research").glob("*/__init__.py")),
)
def test_every_public_name_has_a_docstring_of_its_own(package, monkeypatch):
  monkeypatch.syspath_prepend(str(_DOCS / "_ext"))
  import api_pages

  module = importlib.import_module(f"softmax_research.{package}")
  names = api_pages.public_names(module)
  assert names
  assert [name for name in names if not api_pages.describe(module, name)[2]] == []
