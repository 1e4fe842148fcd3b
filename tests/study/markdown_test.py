"""Markdown: tables line up, and no name breaks them or brings HTML with it."""

import pytest
from markdown_it import MarkdownIt

from softmax_research.study import markdown
from softmax_research.study.blocks import Cell, Plot, Row, Table

_NASTY = "a|b\n# <script>alert(1)</script> `c` *d* \\"


def test_a_table_is_padded_and_escaped():
  rows = (
    Row("a|b", (Cell("1.00", "± 0.10", "[0.9, 1.1]"), Cell("−2", strong=True))),
    Row("ensemble", (Cell("1.05"), Cell("")), subordinate=True),
  )
  assert markdown.table(Table(("x", "p"), rows)) == "\n".join(
    [
      "| head       |                      x |      p |",
      "| ---------- | ---------------------: | -----: |",
      "| a\\|b       | 1.00 ± 0.10 [0.9, 1.1] | **−2** |",
      "| ↳ ensemble |                   1.05 |        |",
    ]
  )


def test_no_name_breaks_a_table_or_brings_html():
  text = markdown.table(Table((_NASTY,), (Row(_NASTY, (Cell(_NASTY),)),), name_column=_NASTY))
  html = MarkdownIt("commonmark").enable("table").render(text)
  shown = "a|b # &lt;script&gt;alert(1)&lt;/script&gt; `c` *d* \\"
  assert len(text.splitlines()) == 3
  assert html.count(f'<th style="text-align:right">{shown}</th>') == 1
  assert html.count(f"<td>{shown}</td>") == 1


@pytest.mark.parametrize(
  "text",
  [
    "l_softmax:margin=4",
    "adaptive:cutoffs=(3,6)",
    _NASTY,
    "[a](b)",
    "_x_ __y__",
    "a < b",
    "`",
    "$",
  ],
)
def test_escaped_text_is_shown_as_it_is(text):
  tokens = MarkdownIt("commonmark").parse(markdown.escape(text))
  (inline,) = (token for token in tokens if token.type == "inline")
  assert [child.type for child in inline.children] in (["text"], ["text", "text_special"]) or all(
    child.type in ("text", "text_special") for child in inline.children
  )
  assert "".join(child.content for child in inline.children) == " ".join(text.split())


@pytest.mark.parametrize("text", ["plain", "with `ticks`", "``", "two\nlines"])
def test_code_is_shown_as_it_is(text):
  tokens = MarkdownIt("commonmark").parse(f"- {markdown.code(text)}")
  (inline,) = (token for token in tokens if token.type == "inline")
  (code,) = (child for child in inline.children if child.type == "code_inline")
  assert code.content == " ".join(text.split())


@pytest.mark.parametrize(
  "text",
  [
    "<script>x</script>",
    "``a ` <b>c</b>",
    "a\n\n<div>\n\nb",
    "<!-- a -->",
    "<a href='x'>",
    "&lt;i>",
  ],
)
def test_text_keeps_no_html(text):
  for html in (
    MarkdownIt("commonmark").render(markdown.without_html(text)),
    markdown.to_html(text),
  ):
    assert not any(tag in html for tag in ("<script", "<b>", "<div", "<!--", "<a", "<i>"))


def test_code_keeps_its_signs():
  text = "`<a>` and p < 0.05\n\n```\n<b>\n```"
  assert markdown.without_html(text) == text


def test_a_document_has_its_blocks_and_how_it_was_run():
  blocks = [
    "# A title",
    "Text <b>.",
    Table((), ()),
    Plot("p", "A|plot", "What <i> it shows.", None),
  ]
  text = markdown.render(blocks, {"p": "figures/p.svg"})
  assert text.startswith(
    "# A title\n\nText &lt;b>.\n\n| head |\n| ---- |\n\n![A\\|plot](figures/p.svg)\n"
  )
  assert text.endswith("\n\nWhat &lt;i> it shows.\n")
  facts = [("command", "run `it`"), ("device", "<i>cpu</i>")]
  text = markdown.how_it_was_run(facts, [("a.b", "``` </details>\n1")])
  assert text.startswith("## How it was run\n\n- ")
  assert "- command: `` run `it` ``\n- device: &lt;i>cpu&lt;/i>\n" in text
  assert "````\na.b: ``` </details> 1\n````\n\n</details>\n" in text
  assert "<details>" not in markdown.how_it_was_run(facts, [])
