"""Reports: blocks as files: Markdown, a page, tables in CSV and LaTeX, plots in SVG and PDF."""

import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from softmax_research.study import exports, markdown, tables, workdir
from softmax_research.study.blocks import Block, Plot, Table
from softmax_research.study.provenance import provenance

#: Formats of a report. Markdown and the page have plots as SVG beside them.
FORMATS = ("md", "html", "csv", "latex", "svg", "pdf")
_LONGEST_NAME = 80


def check_formats(formats: Sequence[str]) -> None:
  """Raise a ValueError unless all formats are known."""
  for name in formats:
    if name not in FORMATS:
      raise ValueError(f"Got the format {name!r}; the formats are {', '.join(FORMATS)}.")


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
  check_formats(formats)
  if not formats:
    return []
  blocks = _titled(list(blocks), records)
  if (table := tables.unfinished(records)) is not None:
    blocks += ["## Runs that did not finish", table]
  blocks = _named(blocks)
  facts = provenance(records, command=command, config=config)
  plots = [block for block in blocks if isinstance(block, Plot)]
  svgs = _draw(plots) if {"md", "html", "svg"} & set(formats) else {}
  texts: dict[str, str | bytes] = {}
  if "html" in formats:
    from softmax_research.study.page import make_page  # noqa: PLC0415

    texts["report.html"] = make_page(blocks, facts, svgs)
  if "md" in formats:
    figures = {name: f"figures/{name}.svg" for name in svgs}
    texts["report.md"] = markdown.document(blocks, facts, figures)
  texts |= {f"figures/{name}.svg": svg for name, svg in svgs.items()}
  if "pdf" in formats:
    from softmax_research.study.figure_style import to_pdf  # noqa: PLC0415

    texts |= {f"figures/{plot.name}.pdf": to_pdf(plot.figure) for plot in plots}
  for name, suffix, render in (("csv", "csv", exports.to_csv), ("latex", "tex", exports.to_latex)):
    if name in formats:
      texts |= {
        f"tables/{block.name}.{suffix}": render(block)
        for block in blocks
        if isinstance(block, Table)
      }
  return _write(pathlib.Path(directory), texts)


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


def _draw(plots: Sequence[Plot]) -> dict[str, str]:
  """Return each plot as SVG, by its name."""
  if not plots:
    return {}
  from softmax_research.study.figure_style import to_svg  # noqa: PLC0415

  return {plot.name: to_svg(plot.figure, plot.name) for plot in plots}


def _write(directory: pathlib.Path, texts: Mapping[str, str | bytes]) -> list[pathlib.Path]:
  for name, text in texts.items():
    # Letters that the locale lacks stand as they came, as bytes.
    content = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    workdir.write_whole(directory / name, content)
  return [directory / name for name in texts]
