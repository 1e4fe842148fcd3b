"""The report as one self-contained HTML page: no script, no font and no file from elsewhere."""

from collections.abc import Sequence

import jinja2
import markupsafe

from softmax_research.study import markdown
from softmax_research.study.blocks import Block, Plot, Table
from softmax_research.study.figure_style import inline_svg
from softmax_research.study.provenance import Provenance


def make_page(blocks: Sequence[Block], provenance: Provenance, svgs: dict[str, str]) -> str:
  """Render a report as a page.

  Args:
    blocks: of the report, the title first.
    provenance: how its records were made.
    svgs: each plot as SVG, by the plot's name.

  Returns:
    An HTML document.
  """
  environment = jinja2.Environment(
    loader=jinja2.PackageLoader("softmax_research.study", "templates"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
  )
  title, *rest = blocks
  return environment.get_template("report.html").render(
    title=title.removeprefix("# ").strip(),
    sections=_sections([_element(block, svgs) for block in rest]),
    provenance=provenance,
  )


def _element(block: Block, svgs: dict[str, str]) -> tuple[str, Block, markupsafe.Markup]:
  """Return a block's kind, the block and its HTML, where the template does not make it."""
  if isinstance(block, Table):
    return "table", block, markupsafe.Markup()
  if isinstance(block, Plot):
    return "plot", block, markupsafe.Markup(inline_svg(svgs[block.name]))
  kind = "heading" if block.startswith("## ") else "text"
  return kind, block, markupsafe.Markup(markdown.to_html(block))


def _sections(elements):
  """Part elements at their headings; what comes before the first is a section too."""
  sections = [[]]
  for element in elements:
    if element[0] == "heading":
      sections.append([])
    sections[-1].append(element)
  return sections
