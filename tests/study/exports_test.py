"""Exports: what programs and papers read."""

import csv
import io

from softmax_research.study import exports
from softmax_research.study.blocks import Cell, Row, Table

_TABLE = Table(
  ("n", "error, %", "p"),
  (
    Row(
      "a|b\n& 50%", (Cell("1,234"), Cell("−2.5", "± 0.1", "[−3, ∞]"), Cell("< 0.001", strong=True))
    ),
    Row("ensemble", (Cell(""), Cell("–"), Cell("∞")), subordinate=True),
  ),
)


def test_csv_has_numbers_and_quotes():
  header, first, second = csv.reader(io.StringIO(exports.to_csv(_TABLE)))
  assert header == ["head", "n", "error, %", "error, %, spread", "error, %, detail", "p"]
  assert first == ["a|b\n& 50%", "1234", "-2.5", "0.1", "[-3, inf]", "< 0.001"]
  assert second == ["ensemble", "", "", "", "", "inf"]


def test_latex_escapes_signs():
  lines = exports.to_latex(_TABLE).splitlines()
  assert lines[:3] == [r"\begin{tabular}{lrrr}", r"\toprule", r"head & n & error, \% & p \\"]
  assert lines[4] == (
    r"a$|$b \& 50\% & 1,234 & $-$2.5 $\pm$ 0.1 [$-$3, $\infty$] & \textbf{$<$ 0.001} \\"
  )
  assert lines[5] == r"\quad ensemble &  & -- & $\infty$ \\"
  assert exports.to_latex(Table((), (), name_column=r"\x_{1}^2$~#")).splitlines()[2] == (
    r"\textbackslash{}x\_\{1\}\textasciicircum{}2\$\textasciitilde{}\# \\"
  )
