"""Show a benchmark's recorded rows as a table: ``.. benchmark:: FILE``.

The file is what ``python -m experiments.benchmark NAME --json`` printed.
"""

import json
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive, directives

_COLUMNS = ("case", "peer", "ours, ms", "peer, ms", "ratio")
_MEMORY_COLUMNS = ("ours, MB", "peer, MB")


class Benchmark(Directive):
  """The directive.

  Its options ``peers`` and ``not_peers`` keep or leave out the rows of the peers listed, separated
  by semicolons; ``memory`` adds the peak memory of both sides.
  """

  required_arguments = 1
  option_spec = {  # noqa: RUF012
    "peers": directives.unchanged,
    "not_peers": directives.unchanged,
    "memory": directives.flag,
  }

  def run(self):
    """Return the table, and below it where its numbers come from."""
    environment = self.state.document.settings.env
    path = Path(environment.srcdir, self.arguments[0]).resolve()
    environment.note_dependency(str(path))
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    kept, left_out = (self._names(option) for option in ("peers", "not_peers"))
    rows = [r for r in rows if (not kept or r["peer"] in kept) and r["peer"] not in left_out]
    if not rows:
      raise self.error(f"{path} has no rows of the peers {sorted(kept)}.")
    memory = "memory" in self.options
    columns = _COLUMNS + (_MEMORY_COLUMNS if memory else ())
    table = _table([columns, *(_cells(row, memory) for row in rows)])
    return [table, nodes.paragraph(text=_provenance(rows))]

  def _names(self, option):
    return {name.strip() for name in self.options.get(option, "").split(";") if name.strip()}


def _cells(row, memory):
  ours, peer = (
    _with_range(row[f"{side}_ms"], row[f"{side}_ms_range"]) for side in ("ours", "peer")
  )
  ratio = row["ours_ms"] / row["peer_ms"]
  shown = f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.1g}"
  # A peer that holds arrays and computes nothing is there for its memory alone.
  cells = row["case"], row["peer"], ours, peer, shown if ratio < 1000 else "–"
  if memory:
    cells += tuple(f"{row[f'{side}_peak_mb']:.0f}" for side in ("ours", "peer"))
  return cells


def _with_range(median, bounds):
  return f"{median:.3g} ({bounds[0]:.3g} to {bounds[1]:.3g})"


def _provenance(rows):
  row = rows[0]
  versions = ", ".join(f"{name} {version}" for name, version in row["versions"].items())
  revisions = ", ".join(sorted({row["revision"] for row in rows}))
  return (
    f"Medians, and in brackets the range, of {row['repeats']} repeats; the ratio is our time "
    "divided by the peer's. Both took turns in one run, each in a process of its own. "
    f"{row['device']}; {versions}; revision {revisions}."
  )


def _table(rows):
  group = nodes.tgroup(cols=len(rows[0]))
  group += [nodes.colspec(colwidth=1) for _ in rows[0]]
  head, body = nodes.thead(), nodes.tbody()
  for part, lines in ((head, rows[:1]), (body, rows[1:])):
    for line in lines:
      part += nodes.row("", *(nodes.entry("", nodes.paragraph(text=cell)) for cell in line))
  group += [head, body]
  return nodes.table("", group)


def setup(app):
  """Add the directive."""
  app.add_directive("benchmark", Benchmark)
  return {"parallel_read_safe": True, "parallel_write_safe": True}
