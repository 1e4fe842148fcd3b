r"""Exports: a table as CSV for programs and as LaTeX for papers."""

import csv
import io
import re

from softmax_research.study.blocks import Cell, Table
from softmax_research.study.measures import MISSING

_LATEX = {
  "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
  **{sign: f"\\{sign}" for sign in "&%$#_{}"},
  "<": "$<$", ">": "$>$", "|": "$|$", "−": "$-$", "±": r"$\pm$", "∞": r"$\infty$",
  "→": r"$\rightarrow$", "←": r"$\leftarrow$", "×": r"$\times$", "–": "--", "—": "---",
}  # fmt: skip


def to_csv(table: Table) -> str:
  """Render a table for programs: numbers as Python reads them, nothing where there is none.

  Spreads and details have columns of their own, behind those of their values.
  """
  parts = []  # a column's title, its number and the part of its cells
  for number, title in enumerate(table.columns):
    parts.append((title, number, "value"))
    for part in ("spread", "detail"):
      if any(getattr(row.cells[number], part) for row in table.rows):
        parts.append((f"{title}, {part}", number, part))
  text = io.StringIO()
  writer = csv.writer(text, lineterminator="\n")
  writer.writerow([table.name_column, *(title for title, _, _ in parts)])
  for row in table.rows:
    cells = [_number(getattr(row.cells[number], part)) for _, number, part in parts]
    writer.writerow([row.name, *cells])
  return text.getvalue()


def to_latex(table: Table) -> str:
  r"""Render a table as a `tabular`, with the rules of the package booktabs."""
  header = " & ".join(map(_latex, (table.name_column, *table.columns)))
  lines = [f"\\begin{{tabular}}{{l{'r' * len(table.columns)}}}", "\\toprule", f"{header} \\\\"]
  lines.append("\\midrule")
  for row in table.rows:
    name = ("\\quad " if row.subordinate else "") + _latex(row.name)
    lines.append(f"{' & '.join([name, *map(_latex_cell, row.cells)])} \\\\")
  return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"]) + "\n"


def _number(text: str) -> str:
  plain = text.removeprefix("± ").replace("−", "-").replace("∞", "inf")
  if plain == MISSING:
    return ""
  return plain.replace(",", "") if re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?", plain) else plain


def _latex(text: str) -> str:
  return "".join(_LATEX.get(sign, sign) for sign in " ".join(text.split()))


def _latex_cell(cell: Cell) -> str:
  text = " ".join(_latex(part) for part in (cell.value, cell.spread, cell.detail) if part)
  return f"\\textbf{{{text}}}" if cell.strong else text
