"""Notes: paragraphs, tables, figures and facts as Markdown."""

from matplotlib.figure import Figure

from softmax_research.reporting.note import make_plot, write_note
from softmax_research.reporting.tables import Cell, Row, Table


def test_a_note(tmp_path):
  table = Table(("bias",), (Row("uniform", (Cell("0.1", "± 0.2"),)),), name_column="sampler")
  plot = make_plot("curve", "A curve", "What it shows.", Figure())
  path = write_note(
    tmp_path / "note",
    title="A title",
    blocks=["A paragraph.", table, plot],
    facts={"command": "run it", "versions": {"jax": "1", "numpy": "2"}},
  )
  text = path.read_text()
  assert text.startswith("# A title\n\nA paragraph.\n\n| sampler |")
  for part in (
    "| uniform | 0.1 ± 0.2 |",
    "![A curve](figures/curve.svg)\n\nWhat it shows.\n",
    "- command: run it\n- versions: jax 1, numpy 2\n",
  ):
    assert part in text
  assert (path.parent / "figures" / "curve.svg").read_text().lstrip().startswith("<?xml")
