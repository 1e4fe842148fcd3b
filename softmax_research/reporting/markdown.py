"""The report as Markdown, with its figures in files beside it."""

from softmax_research.reporting.content import Content, Section
from softmax_research.reporting.figures import Plot
from softmax_research.reporting.provenance import Provenance
from softmax_research.reporting.tables import Cell, Table


def make_markdown(content: Content, plots: list[tuple[Plot, str]], worst: str | None) -> str:
  """Render the report as Markdown.

  Args:
    content: What the report says.
    plots: Its figures, each with the path of its file.
    worst: Path of the picture of the worst-classified images, or None when there is none.

  Returns:
    Markdown text.
  """
  blocks = [f"# {content.title}", *content.headline, *_how_it_was_run(content.provenance)]
  blocks += _section(content.summary)
  for section in content.comparisons:
    blocks += _section(section)
  if content.comparisons:
    blocks.append(content.method)
  for plot, path in plots:
    blocks += [f"## {plot.heading}", f"![{plot.heading}]({path})", plot.caption]
  if worst:
    blocks += [
      "## Worst-classified images",
      f"![Worst-classified images]({worst})",
      "For each head the test images to whose label the ensemble of its seeds gives least: true "
      "class → predicted class, and the probability of the true class.",
    ]
  if content.diverged:
    blocks += _section(content.diverged)
  blocks += ["## Caveats", "\n".join(f"- {note}" for note in content.caveats)]
  blocks += _section(content.cost)
  return "\n\n".join(blocks) + "\n"


def markdown_table(table: Table) -> str:
  """Render a table in Markdown, its columns padded so that the source reads well too."""
  header = (table.name_column, *table.columns)
  rows = [
    (("↳ " if row.subordinate else "") + row.name, *map(_cell, row.cells)) for row in table.rows
  ]
  lines = [[text.replace("|", "\\|") for text in line] for line in (header, *rows)]
  widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(header))]
  lines = [
    [text.ljust(width) if i == 0 else text.rjust(width) for i, (text, width) in enumerate(pairs)]
    for pairs in (zip(line, widths, strict=True) for line in lines)
  ]
  rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
  return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))


def _how_it_was_run(provenance: Provenance) -> list[str]:
  """Return the facts as a list, and the configuration folded away."""
  facts = "\n".join(f"- {name}: {_fact(name, text)}" for name, text in provenance.facts)
  blocks = ["## How it was run", facts]
  if provenance.config:
    config = "\n".join(f"{name}: {value}" for name, value in provenance.config)
    blocks.append(
      f"<details>\n<summary>Configuration</summary>\n\n```\n{config}\n```\n\n</details>"
    )
  return blocks


def _section(section: Section) -> list[str]:
  """Return heading, table and notes as blocks."""
  return [f"## {section.heading}", markdown_table(section.table), *section.notes]


def _cell(cell: Cell) -> str:
  """Return a cell on one line."""
  text = " ".join(part for part in (cell.value, cell.spread, cell.detail) if part)
  return f"**{text}**" if cell.strong else text


def _fact(name: str, text: str) -> str:
  """Return a fact; a command stands as code."""
  return f"`{text}`" if name == "command" and text != "not recorded" else text
