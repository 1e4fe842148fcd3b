"""Notes: small reports of an experiment that compares no heads, as Markdown with its figures."""

import pathlib
from collections.abc import Sequence
from typing import Any

from softmax_research.reporting import figure_style
from softmax_research.reporting.figures import Plot
from softmax_research.reporting.markdown import markdown_table
from softmax_research.reporting.tables import Table


def write_note(
  out_dir: pathlib.Path,
  *,
  title: str,
  blocks: Sequence[str | Table | Plot],
  facts: dict[str, Any],
) -> pathlib.Path:
  """Write `report.md` and `figures/`.

  Args:
    out_dir: Directory to write to; made when it is missing.
    title: The heading.
    blocks: Paragraphs, tables and figures, in their order.
    facts: How it was made, by name; a value that is a dictionary is listed on one line.

  Returns:
    The path of the Markdown file.
  """
  figure_dir = out_dir / "figures"
  figure_dir.mkdir(parents=True, exist_ok=True)
  texts = [f"# {title}"]
  for block in blocks:
    if isinstance(block, Table):
      texts.append(markdown_table(block))
    elif isinstance(block, Plot):
      (figure_dir / f"{block.name}.svg").write_text(block.svg, encoding="utf-8")
      texts += [f"![{block.heading}](figures/{block.name}.svg)", block.caption]
    else:
      texts.append(block)
  texts += ["## How it was run", "\n".join(f"- {k}: {_one_line(v)}" for k, v in facts.items())]
  path = out_dir / "report.md"
  path.write_text("\n\n".join(texts) + "\n", encoding="utf-8")
  return path


def make_plot(name: str, heading: str, caption: str, figure: Any) -> Plot:
  """Make a figure of a note from one of Matplotlib's."""
  return Plot(name, heading, caption, figure_style.to_svg(figure, name))


def _one_line(value: Any) -> str:
  if isinstance(value, dict):
    return ", ".join(f"{name} {part}" for name, part in value.items())
  return str(value)
