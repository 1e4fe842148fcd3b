"""Render equations as MathML when the pages are built: no script, and no network, to read them."""

import re

from docutils import nodes
from math_core import LatexError, LatexToMathML
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

_logger = logging.getLogger(__name__)
# The annotation keeps the LaTeX source in the page, for copying and for screen readers.
_converter = LatexToMathML(annotation=True, fancy_error=False)
# Browsers place combining characters badly as wide accents; these are their spacing forms.
_ACCENTS = str.maketrans({"\u0302": "\u02c6", "\u0332": "\u203e"})


def _convert(translator, node, latex, displaystyle):
  """Returns MathML; a wrong formula is a warning, which fails the build, and stays LaTeX."""
  try:
    mathml = _converter.convert_with_local_state(latex, displaystyle=displaystyle)
    return mathml.translate(_ACCENTS)
  except LatexError as error:
    _logger.warning("cannot render %r: %s", latex, error, location=node, type="mathml")
    return f"<code>{translator.encode(latex)}</code>"


def _equations(text):
  """Returns a block's equations: blank lines separate them, and rows are aligned at their ``&``."""
  parts = [part.strip() for part in text.split("\n\n") if part.strip()]
  aligned = r"\begin{{aligned}}{}\end{{aligned}}"
  return [
    part if part.startswith(r"\begin") or not re.search(r"&|\\\\", part) else aligned.format(part)
    for part in parts
  ]


def _visit_inline(translator, node):
  translator.body.append(_convert(translator, node, node.astext(), displaystyle=False))
  raise nodes.SkipNode


def _visit_block(translator, node):
  equations = [node.astext()] if node.get("no-wrap") else _equations(node.astext())
  translator.body.append(translator.starttag(node, "div", CLASS="math"))
  if node["number"]:
    translator.body.append(f'<span class="eqno">({get_node_equation_number(translator, node)})')
    translator.add_permalink_ref(node, "Link to this equation")
    translator.body.append("</span>")
  for equation in equations:
    translator.body.append(_convert(translator, node, equation, displaystyle=True))
  translator.body.append("</div>\n")
  raise nodes.SkipNode


def setup(app):
  app.add_html_math_renderer("mathml", (_visit_inline, None), (_visit_block, None))
  return {"parallel_read_safe": True, "parallel_write_safe": True}
