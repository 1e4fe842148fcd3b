"""Markdown: blocks and tables as text that also reads well as it stands."""

import functools
import re
from collections.abc import Mapping, Sequence

from softmax_research.study.blocks import Block, Cell, Plot, Row, Table

Pairs = Sequence[tuple[str, str]]

# What would begin an element of HTML; "p < 0.001" does not.
_TAG = re.compile(r"<(?=[A-Za-z/!?])")


def escape(text: str) -> str:
  r"""Return text as Markdown that shows it as it is, on one line.

  Example:
    >>> escape("a*b|c <script>"), escape("l_softmax:margin=4")
    ('a\\*b\\|c &lt;script>', 'l_softmax:margin=4')
  """
  text = " ".join(text.split())
  text = re.sub(r"[\\`*|\[\]]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", text)
  return _TAG.sub("&lt;", text)


def code(text: str) -> str:
  """Return text as code within a line, whatever signs are in it."""
  text = " ".join(text.split())
  fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
  return f"{fence}{text}{fence}" if fence == "`" else f"{fence} {text} {fence}"


def without_html(text: str) -> str:
  """Return Markdown in which no HTML is left: it is shown as text."""
  # Within code signs stand for themselves; so text is changed only where a reader finds HTML.
  if not _TAG.search(text):
    return text
  tokens = _parser().parse(text)
  every = [*tokens, *(child for token in tokens for child in token.children or ())]
  found = any(token.type in ("html_block", "html_inline") for token in every)
  return _TAG.sub("&lt;", text) if found else text


def table(block: Table) -> str:
  """Render a table, its columns padded so that the source reads well too."""
  lines = [
    [_plain(block.name_column), *map(_plain, block.columns)],
    *([_name(row), *map(_cell, row.cells)] for row in block.rows),
  ]
  widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(lines[0]))]
  padded = [
    [text.ljust(width) if i == 0 else text.rjust(width) for i, (text, width) in enumerate(pairs)]
    for pairs in (zip(line, widths, strict=True) for line in lines)
  ]
  rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
  return "\n".join(f"| {' | '.join(line)} |" for line in (padded[0], rule, *padded[1:]))


def render(blocks: Sequence[Block], figures: Mapping[str, str] | None = None) -> str:
  """Render blocks; a plot is named by the path of its figure, which is found by its name."""
  parts = []
  for block in blocks:
    if isinstance(block, Table):
      parts.append(table(block))
    elif isinstance(block, Plot):
      parts += [f"![{escape(block.heading)}]({figures[block.name]})", escape(block.caption)]
    else:
      parts.append(without_html(block))
  return "\n\n".join(parts) + "\n"


def how_it_was_run(facts: Pairs, config: Pairs) -> str:
  """Render facts of how records were made as a list, and the configuration folded away."""
  lines = [f"- {name}: {code(text) if name == 'command' else escape(text)}" for name, text in facts]
  parts = ["## How it was run", "\n".join(lines)]
  if config:
    block = "\n".join(f"{name}: {' '.join(value.split())}" for name, value in config)
    fence = "`" * (1 + max([2, *map(len, re.findall("`+", block))]))
    folded = f"{fence}\n{block}\n{fence}"
    parts += ["<details>\n<summary>Configuration</summary>", folded, "</details>"]
  return "\n\n".join(parts) + "\n"


def to_html(text: str) -> str:
  """Render Markdown as HTML; HTML within it is shown as text."""
  return _parser().render(without_html(text))


def _plain(text: str) -> str:
  """Return the text of a table's cell: neither a sign nor a newline in it ends the cell."""
  text = re.sub(r"[\\`*|]", r"\\\g<0>", " ".join(text.split()))
  return _TAG.sub("&lt;", text)


def _name(row: Row) -> str:
  return ("↳ " if row.subordinate else "") + _plain(row.name)


def _cell(cell: Cell) -> str:
  text = " ".join(_plain(part) for part in (cell.value, cell.spread, cell.detail) if part)
  return f"**{text}**" if cell.strong else text


@functools.cache
def _parser():
  # The page and the search for HTML need it; most reports need neither.
  from markdown_it import MarkdownIt  # noqa: PLC0415

  return MarkdownIt("commonmark").enable("table")
