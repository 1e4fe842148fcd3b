"""Reports: blocks as files: Markdown, a page, tables in CSV and LaTeX, plots in SVG and PDF."""

import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from softmax_research.study import exports, markdown, tables, workdir
from softmax_research.study.blocks import Block, Plot, Table
from softmax_research.study.provenance import Provenance, provenance

#: Formats of a report. Markdown and the page have plots as SVG beside them.
FORMATS = ("md", "html", "csv", "latex", "svg", "pdf")
_LONGEST_NAME = 80


def write_report(
  directory: pathlib.Path | str,
  blocks: Iterable[Block],
  records: Sequence[Mapping[str, Any]],
  *,
  command: str | None = None,
  config: Mapping[str, Any] | None = None,
  formats: Sequence[str] = ("md", "html"),
) -> list[pathlib.Path]:
  """Write a report: `report.md`, `report.html`, `figures/` and `tables/`.

  The same blocks give the same bytes.

  Args:
    directory: to write to; made where it is missing.
    blocks: of the report; text that begins with ``#`` and a space is the title.
    records: that it is of; which did not finish and how they were made stands at its end.
    command: that made them; by default what the records say.
    config: the settings; by default those of the last record.
    formats: of `FORMATS`; where there is none, nothing is drawn.

  Returns:
    The paths of all files; the page or else the Markdown is the first.

  Raises:
    ValueError: a format is unknown.
  """
  for name in formats:
    if name not in FORMATS:
      raise ValueError(f"Got the format {name!r}; the formats are {', '.join(FORMATS)}.")
  if not formats:
    return []
  blocks = _titled(list(blocks), records)
  if (table := tables.unfinished(records)) is not None:
    blocks += ["## Runs that did not finish", table]
  blocks = _named(blocks)
  facts = provenance(records, command=command, config=config)
  plots = [block for block in blocks if isinstance(block, Plot)]
  if plots:
    # Matplotlib takes long to import, and without plots it is not needed.
    from softmax_research.study import figure_style  # noqa: PLC0415
  draws = {"md", "html", "svg"} & set(formats)
  svgs = {of.name: figure_style.to_svg(of.figure, of.name) for of in plots if draws}
  texts: dict[str, str | bytes] = {}
  if "html" in formats:
    inline = {name: figure_style.inline_svg(svg) for name, svg in svgs.items()}
    texts["report.html"] = make_page(blocks, facts, inline)
  if "md" in formats:
    figures = {name: f"figures/{name}.svg" for name in svgs}
    texts["report.md"] = markdown.document(blocks, facts, figures)
  texts |= {f"figures/{name}.svg": svg for name, svg in svgs.items()}
  if "pdf" in formats:
    texts |= {f"figures/{of.name}.pdf": figure_style.to_pdf(of.figure) for of in plots}
  for name, suffix, render in (("csv", "csv", exports.to_csv), ("latex", "tex", exports.to_latex)):
    rendered = [block for block in blocks if name in formats and isinstance(block, Table)]
    texts |= {f"tables/{block.name}.{suffix}": render(block) for block in rendered}
  for name, text in texts.items():
    # Letters that the locale lacks stand as they came, as bytes.
    content = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    workdir.write_whole(pathlib.Path(directory, name), content)
  return [pathlib.Path(directory, name) for name in texts]


def make_page(blocks: Sequence[Block], provenance: Provenance, svgs: Mapping[str, str]) -> str:
  """Render a report as one page of HTML, with no script, no font and no file from elsewhere.

  Args:
    blocks: of the report, the title first.
    provenance: how its records were made.
    svgs: each plot's element, by the plot's name.
  """
  import jinja2  # noqa: PLC0415  # Takes long, and a report in Markdown does without.

  environment = jinja2.Environment(
    loader=jinja2.PackageLoader("softmax_research.study", "templates"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
  )
  environment.filters["html"] = markdown.to_html
  title, *rest = blocks
  return environment.get_template("report.html").render(
    title=title.removeprefix("# ").strip(), blocks=rest, provenance=provenance, svgs=svgs
  )


def _titled(blocks: list[Block], records: Sequence[Mapping[str, Any]]) -> list[Block]:
  """Put the title first, and one made from the study where there is none."""
  titles = [i for i, block in enumerate(blocks) if isinstance(block, str) and block[:2] == "# "]
  name = records[0]["study"] if records else "Report"
  title = blocks.pop(titles[0]) if titles else f"# {name}"
  return [title, *blocks]


def _named(blocks: list[Block]) -> list[Block]:
  """Give tables and plots names that can name files, and that differ."""
  taken: set[tuple[type, str]] = set()
  named = []
  for block in blocks:
    if isinstance(block, Table | Plot):
      plain = re.sub(r"[^A-Za-z0-9=.-]+", "_", block.name).strip("._") or "unnamed"
      plain = name = plain[:_LONGEST_NAME]
      number = 1
      while (type(block), name.lower()) in taken:  # Some file systems know no case.
        number += 1
        name = f"{plain}_{number}"
      taken.add((type(block), name.lower()))
      block = block._replace(name=name)
    named.append(block)
  return named
