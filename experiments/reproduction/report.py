"""Report: a table's numbers beside the paper's, with what was changed from its protocol."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.reproduction import estimate, features, figures, search
from experiments.reproduction.queue import Key, Merged
from experiments.reproduction.variant import Variant
from softmax_research.reporting import measures, note, provenance, statistics
from softmax_research.reporting.observations import measure_of, observe
from softmax_research.reporting.tables import Cell, Row, Table

_METHOD = (
  "Ours: mean ± standard deviation over n seeds and, in brackets, the 95% t interval of the mean. "
  'Paper: "unverified" numbers are recalled and were read in no source, "not available" ones were '
  "looked for and not found."
)
_EPOCHS = (
  "Last: after the last epoch. Selected: at the epoch of the best validation accuracy, the first "
  "of equals; the test split selects nothing."
)
_SELECTABLE = ("accuracy", "error")


def write(
  workdir: pathlib.Path,
  protocol: Variant,
  merged: Merged,
  *,
  command: str | None = None,
  more: Sequence[str | Table] = (),
) -> pathlib.Path:
  """Write `report.md` and `figures/` of a table.

  Args:
    workdir: where to.
    protocol: the table's.
    merged: its results.
    command: that makes them.
    more: further blocks, below the figures.

  Returns:
    The file's path.
  """
  paper = protocol.paper
  blocks = [
    f'{paper.citation}, "{paper.title}", arXiv {paper.arxiv}.',
    f"**Variant: {protocol.variant}.** Deviations from the paper's protocol:",
    "\n".join(f"- {text}" for text in protocol.config.deviations) or "- none",
  ]
  for setting in protocol.config.settings:
    blocks += [f"## {setting}", *tables(protocol, setting, merged)]
    blocks += _plane(protocol, setting, merged)
    blocks += _search(protocol, setting, merged)
  epochs = any(setting.protocol != "study" for setting in protocol.config.settings.values())
  blocks.append(f"{_METHOD} {_EPOCHS}" if epochs else _METHOD)
  if plots := figures.plots(protocol, merged):
    blocks += ["## Figures", *plots]
  blocks += more
  failed = [f"- {' / '.join(pair)}: {record['error']}" for pair, record in merged.failures.items()]
  if failed:
    blocks += ["## Failed cells", "\n".join(failed)]
  title = f"{paper.title}: {protocol.variant} variant"
  facts = _facts(protocol, merged.finished, command)
  return note.write_note(workdir, title=title, blocks=blocks, facts=facts)


def tables(protocol: Variant, setting: str, merged: Merged) -> list[Table]:
  """Return the tables of a setting, one a metric."""
  return [_table(protocol, setting, metric, merged) for metric in protocol.setting(setting).metrics]


def _table(protocol: Variant, setting: str, metric: str, merged: Merged) -> Table:
  config, measure = protocol.setting(setting), measure_of(metric)
  selectable = metric in _SELECTABLE and config.protocol == "train"
  unit = f", {measure.unit}" if measure.unit else ""
  last = "" if config.protocol == "study" else ", last"
  columns = ["n", f"{measure.label}{unit}{last}"]
  columns += [f"{measure.label}{unit}, selected"] if selectable else []
  columns += ["paper", "not finished"]
  rows = []
  for method, _ in config.methods:
    runs = [run for key, run in merged.finished.items() if key[:2] == (setting, method)]
    good = [run for run in runs if run["status"] == "finished"]
    cells = [Cell(str(len(good))), _ours(good, metric)]
    cells += [_ours(good, f"selected/{metric}")] if selectable else []
    # A measure of many methods, as "temperature scaling/ece", is a paper's row of that name.
    *way, name = metric.split("/")
    row = way[0] if way else method
    cells.append(Cell(protocol.paper.find(config.published or setting, row, name).format()))
    cells.append(Cell(_unfinished(protocol, (setting, method), runs, merged)))
    rows.append(Row(method, tuple(cells)))
  name = "method" if "/" not in metric else f"{metric.partition('/')[0]}; head"
  return Table(tuple(columns), tuple(rows), name_column=name)


def _plane(protocol, setting, merged) -> list[Any]:
  """Return the figure of features in the plane, where they were kept."""
  firsts = {}
  for method, _ in protocol.setting(setting).methods:
    run = merged.finished.get((setting, method, 0))
    if run and run["status"] == "finished" and "plane" in run.get("measured", {}):
      firsts[method] = run
  return [features.plot(setting, firsts)] if firsts else []


def _search(protocol, setting, merged) -> list[Any]:
  """Return the trials' table, where there are trials."""
  config = protocol.setting(setting)
  if not search.trials(config):
    return []
  text = (
    "Search: validation accuracy after the last epoch, mean over the seeds from "
    f"{search.FIRST_SEED} on (n = {config.search_seeds}), which no run above has; a method's runs "
    "have the values of its best trial."
  )
  return [text, search.table(setting, config, merged.finished)]


def _ours(runs: list[dict[str, Any]], metric: str) -> Cell:
  measure = measure_of(metric)
  summary = statistics.summarise([observe(run, metric) for run in runs])
  interval = f"[{measure.format(summary.low)}, {measure.format(summary.high)}]"
  if summary.n < 2:
    return Cell(measure.format(summary.mean))
  return Cell(measure.format(summary.mean), f"± {measure.format(summary.std)}", interval)


def _unfinished(protocol, pair, runs, merged) -> str:
  diverged = sum(run["status"] == "diverged" for run in runs)
  absent = protocol.seeds(pair[0]) - len(runs)
  parts = [f"{diverged} diverged"] if diverged else []
  parts += [f"{absent} not run"] if absent > 0 else []
  parts += ["failed"] if pair in merged.failures else []
  return ", ".join(parts) or measures.MISSING


def describe(records: list[dict[str, Any]]) -> str:
  """Say in a line how a cell's runs ended."""
  good = [run for run in records if run["status"] == "finished"]
  trial = records[0].get("kind") == "trial"
  metric, split = ("metrics/validation/accuracy", "validation") if trial else ("accuracy", "test")
  accuracy = statistics.summarise([observe(run, metric) for run in good])
  diverged = f", {len(records) - len(good)} diverged" if len(good) < len(records) else ""
  seconds = estimate.describe(sum(run["wall_seconds"] for run in records))
  return f"{split} accuracy {accuracy.mean:.2f} % (n = {accuracy.n}){diverged}, {seconds}"


def _facts(protocol: Variant, finished: Mapping[Key, dict[str, Any]], command) -> dict[str, Any]:
  records = list(finished.values())
  runs = [record for record in records if record.get("kind") != "trial"]
  made = provenance.made_with(records)
  seconds = sum(record["wall_seconds"] for record in records)
  trials = len(records) - len(runs)
  return {
    "command": f"`{command}`" if command else "not recorded",
    "runs": f"{len(runs)} of those that the table asks for"
    + (f", and {trials} trials of the search" if trials else ""),
    "device": made["device"],
    "versions": made["versions"],
    "git revision": made["git_revision"],
    "training time": estimate.describe(seconds),
    "seeds a method": ", ".join(
      map(str, sorted({protocol.seeds(name) for name in protocol.config.settings}))
    ),
  }
