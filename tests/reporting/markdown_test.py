"""Markdown: tables line up, and the text holds what the page holds."""

from softmax_research.reporting import group_by_head
from softmax_research.reporting.content import make_content
from softmax_research.reporting.figures import Plot
from softmax_research.reporting.markdown import make_markdown, markdown_table
from softmax_research.reporting.tables import Cell, Row, Table
from tests.reporting.fake_results import make_diverged, make_results, make_run


def test_a_table_is_padded_and_escaped():
  rows = (
    Row("a|b", (Cell("1.00", "± 0.10", "[0.9, 1.1]"), Cell("−2", strong=True))),
    Row("ensemble", (Cell("1.05"), Cell("")), subordinate=True),
  )
  assert markdown_table(Table(("x", "p"), rows)) == "\n".join(
    [
      "| head       |                      x |      p |",
      "| ---------- | ---------------------: | -----: |",
      "| a\\|b       | 1.00 ± 0.10 [0.9, 1.1] | **−2** |",
      "| ↳ ensemble |                   1.05 |        |",
    ]
  )


def test_all_parts_are_there():
  records = [*make_results({"softmax": 0.03, "taylor": 0.02}, 3), make_diverged("relu", 0)]
  content = make_content(group_by_head(records), title="A title", command="make compare")
  plot = Plot("curves", "Learning curves", "What they show.", "<svg/>")
  text = make_markdown(content, [(plot, "figures/curves.svg")], "figures/worst.png")
  assert text.startswith("# A title\n\n" + content.headline[0] + "\n\n")
  assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == [
    "How it was run",
    "Test metrics",
    "Test accuracy: difference from softmax (positive is better)",
    "Test NLL: difference from softmax (negative is better)",
    "Learning curves",
    "Worst-classified images",
    "Diverged runs",
    "Caveats",
    "Cost",
  ]
  assert "- command: `make compare`\n" in text
  assert "![Learning curves](figures/curves.svg)\n\nWhat they show.\n" in text
  assert "![Worst-classified images](figures/worst.png)" in text
  assert "model.activation: relu\n" in text
  assert all(f"- {caveat}\n" in text for caveat in content.caveats)


def test_what_there_is_not_is_left_out():
  record = make_run("softmax", 0)
  del record["config"]
  text = make_markdown(make_content(group_by_head([record])), [], None)
  for absent in ("Worst", "difference", "Diverged", "<details>"):
    assert absent not in text
