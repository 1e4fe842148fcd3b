"""Blocks: what a report consists of: Markdown text, tables and plots."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Cell(NamedTuple):
  """Hold a table's cell: a value, its spread beside it, a detail in smaller print, its weight."""

  value: str
  spread: str = ""
  detail: str = ""
  strong: bool = False


class Row(NamedTuple):
  """Hold a table's row: its name, its cells and whether it belongs to the row above."""

  name: str
  cells: tuple[Cell, ...]
  subordinate: bool = False


class Table(NamedTuple):
  """Hold a table.

  Attributes:
    columns: titles of all columns but that of the rows' names.
    rows: from the top.
    name_column: title of the column of the rows' names.
    name: of its files.
  """

  columns: tuple[str, ...]
  rows: tuple[Row, ...]
  name_column: str = "head"
  name: str = "table"


def table_of(
  rows: Sequence[tuple[str, Mapping[str, Cell | str]]], name_column: str, name: str
) -> Table:
  """Make a table of rows that each have a name, and their cells by the columns' titles."""
  columns = tuple(rows[0][1]) if rows else ()
  found = []
  for title, cells in rows:
    values = (of if isinstance(of, Cell) else Cell(of) for of in cells.values())
    found.append(Row(title, tuple(values)))
  return Table(columns, tuple(found), name_column, name)


class Plot(NamedTuple):
  """Hold a plot.

  Attributes:
    name: of its files.
    heading: says in a few words what it is, to those who do not see it.
    caption: stands below it; plain text.
    figure: Matplotlib's.
  """

  name: str
  heading: str
  caption: str
  figure: Any


#: A block of a report. Text is Markdown: "# ..." is the title, "## ..." a heading; HTML within it
#: is shown as text. Names that are somebody's own go into text by `markdown.escape`.
Block = str | Table | Plot
