"""The report as one self-contained HTML page: no script, no font and no file from elsewhere."""

import jinja2
import markupsafe

from softmax_research.reporting.content import Content
from softmax_research.reporting.figure_style import inline_svg
from softmax_research.reporting.figures import Plot
from softmax_research.reporting.worst_images import Tile, shared_by_all


def make_page(content: Content, plots: list[Plot], tiles: dict[str, list[Tile]]) -> str:
  """Render the page.

  Args:
    content: What the report says.
    plots: Its figures.
    tiles: The worst-classified images by head.

  Returns:
    An HTML document.
  """
  environment = jinja2.Environment(
    loader=jinja2.PackageLoader("softmax_research.reporting", "templates"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
  )
  return environment.get_template("report.html").render(
    content=content,
    plots=[(plot, markupsafe.Markup(inline_svg(plot.svg))) for plot in plots],
    tiles=tiles,
    shared=shared_by_all(tiles),
  )
