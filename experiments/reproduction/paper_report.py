"""Report: a table's numbers beside the paper's, with what was changed from its protocol."""

import math
from collections.abc import Iterator, Sequence

from ml_collections import ConfigDict

from configs import tables
from experiments.reproduction import measures, search
from softmax_research.study import dot_plot, papers
from softmax_research.study.blocks import Block, Cell, Plot, Table, table_of
from softmax_research.study.groups import Group, check_measures, group
from softmax_research.study.markdown import escape
from softmax_research.study.measures import MISSING, measure_of
from softmax_research.study.study import Record
from softmax_research.study.tables import mean_cell

_METHOD = (
  "Ours: mean ± standard deviation over n seeds and, in brackets, the 95% t interval of the mean. "
  'Paper: "unverified" numbers are recalled and were read in no source, "not available" ones were '
  "looked for and not found, and others name the source that is not the paper or its authors."
)
_EPOCHS = (
  "Last: after the last epoch. Selected: at the epoch of the best validation accuracy, the first "
  "of equals; the test split selects nothing."
)
#: What a figure of the paper's numbers shows, in words.
CAPTION = (
  "{where}. Dots are seeds, diamonds their means with 95% t intervals; squares are the "
  "paper's numbers, open where unverified. A number with an arrow lies beyond the axis."
)
_SELECTABLE = ("accuracy", "error")
_SEARCH = (
  "Search: validation accuracy after the last epoch, mean over the seeds from {first} on (n = "
  "{n}), which no run above has; a method's runs have the values of its best trial."
)


def report(records: Sequence[Record], settings: ConfigDict) -> Iterator[Block]:
  paper = papers.load(settings.paper)
  yield f"# {escape(paper.title)}: {settings.variant} variant"
  yield f'{escape(paper.citation)}, "{escape(paper.title)}", arXiv {paper.arxiv}.'
  yield f"**Variant: {settings.variant}.** Deviations from the paper's protocol:"
  yield "\n".join(f"- {text}" for text in settings.deviations) or "- none"
  for name, setting in settings.settings.items():
    yield f"## {escape(name)}"
    for metric in setting.metrics:
      yield table(records, settings, name, metric)
    planes = {
      of.name: made
      for of in _methods(records, settings, name)
      for made in of.finished.values()
      if "plane" in made["measured"]
    }
    if planes:
      yield measures.plot_plane(name, planes)
    if setting.protocol != "study" and setting.search:
      yield _SEARCH.format(first=search.FIRST_SEED, n=setting.search_seeds)
      yield search.table(name, setting, records)
  of_epochs = any(setting.protocol != "study" for setting in settings.settings.values())
  yield f"{_METHOD} {_EPOCHS}" if of_epochs else _METHOD
  if drawn := plots(records, settings):
    yield "## Figures"
    yield from drawn
  if settings.studies:
    yield from _other_numbers(paper, settings)


def table(records: Sequence[Record], settings: ConfigDict, name: str, metric: str) -> Table:
  """Tabulate a setting's metric, as `error` or `temperature scaling/ece`, beside the paper's.

  A ValueError says so where no run has such a number.
  """
  setting, measure = settings.settings[name], measure_of(metric)
  selectable = metric in _SELECTABLE and setting.protocol == "train"
  last = "" if setting.protocol == "study" else ", last"
  rows, methods = [], _methods(records, settings, name)
  check_measures(methods, [measure])
  for of in methods:
    cells = {"n": str(len(of.finished)), f"{measure.title}{last}": _mean(of, metric)}
    if selectable:
      cells[f"{measure.title}, selected"] = _mean(of, f"selected/{metric}")
    cells["paper"] = _published(settings, name, of.name, metric).format()
    cells["not finished"] = _unfinished(of, tables.num_seeds(settings, name))
    rows.append((of.name, cells))
  if all(cells["not finished"] == MISSING for _, cells in rows):
    for _, cells in rows:
      del cells["not finished"]
  title = "method" if "/" not in metric else f"{metric.partition('/')[0]}; head"
  return table_of(rows, title, f"{name}_{metric}")


def plots(records: Sequence[Record], settings: ConfigDict) -> list[Plot]:
  """Draw a figure for each measure that finished runs have, with the settings as panels.

  Measures of many ways, as "temperature scaling/ece", share one, with a panel for each method and a
  row for each way.
  """
  by_measure: dict[str, list[dot_plot.Panel]] = {}
  for name in settings.settings:
    for measure, panel in panels(records, settings, name):
      by_measure.setdefault(measure, []).append(panel)
  found = []
  for name, some in by_measure.items():
    label = measure_of(name).label
    of_folds = name.startswith(("cv_", "fold"))
    where = "On the examples left out of the folds" if of_folds else "On the test split"
    heading = f"{label[0].upper()}{label[1:]} beside the paper's"
    found.append(Plot(name, heading, CAPTION.format(where=where), dot_plot.dot_plot(some)))
  return found


def panels(records, settings, name) -> Iterator[tuple[str, dot_plot.Panel]]:
  """Yield a setting's panels with their measures; those without a finished run are left out."""
  metrics, methods = settings.settings[name].metrics, _methods(records, settings, name)
  for last in dict.fromkeys(metric.rpartition("/")[2] for metric in metrics):
    ways = [metric for metric in metrics if metric.endswith(f"/{last}")]
    rows = {name: [(of.name, of, last) for of in methods]} if last in metrics else {}
    if ways:
      rows |= {f"{name}, {of.name}": [(w.partition("/")[0], of, w) for w in ways] for of in methods}
    for title, ones in rows.items():
      entries = [
        dot_plot.Entry(row, list(of.values(metric).values()), number.value, number.verified)
        for row, of, metric in ones
        for number in (_published(settings, name, of.name, metric),)
      ]
      if any(math.isfinite(value) for entry in entries for value in entry.values):
        yield last, dot_plot.Panel(title, entries, measure_of(last))


def _methods(records, settings, name) -> list[Group]:
  """Return the records of each of a setting's methods, without those of trials."""
  own = [r for r in records if r["cell"]["setting"] == name and "trial" not in r["cell"]]
  found = {of.name: of for of in group(own, lambda made: made["cell"]["method"])}
  return [found.get(method, Group(method, {})) for method, _ in settings.settings[name].methods]


def _published(settings, name: str, method: str, metric: str) -> papers.Number:
  """Return the paper's number; of many ways, as "temperature scaling/ece", that of the way."""
  *way, last = metric.split("/")
  where = settings.settings[name].published or name
  return papers.load(settings.paper).find(where, way[0] if way else method, last)


def _mean(of: Group, path: str) -> Cell:
  # In the unit that is printed, since a mean halfway between two numbers rounds by its last bit.
  measure = measure_of(path)
  values = [measure.scale * value for value in of.values(path).values()]
  as_printed = measure._replace(scale=1.0)
  if len(values) < 2:
    return Cell(as_printed.format(values[0] if values else math.nan))
  return mean_cell(values, as_printed)


def _unfinished(of: Group, wanted: int) -> str:
  statuses = [made["status"] for made in of.records]
  diverged, failed = statuses.count("diverged"), statuses.count("failed")
  absent = wanted - (len(statuses) - failed)
  parts = [f"{diverged} diverged"] if diverged else []
  parts += [f"{absent} not run"] if absent > 0 else []
  parts += ["failed"] if failed else []
  return ", ".join(parts) or MISSING


def _other_numbers(paper: papers.Paper, settings: ConfigDict) -> Iterator[str | Table]:
  """Yield what the paper has and nothing here stands beside."""
  shown = {
    (setting.published or name, method, metric)
    for name, setting in settings.settings.items()
    for method, _ in setting.methods
    for metric in setting.metrics
  }
  rows = [
    (of.setting, {"method": of.method, "measure": of.metric, "paper": of.format()})
    for of in paper.numbers
    if (of.setting, of.method, of.metric) not in shown
  ]
  if rows:
    yield "## Numbers of the paper that nothing here stands beside"
    yield table_of(rows, "setting", "other_numbers")
