"""Figures of a table: each measure's means beside the paper's numbers, settings as panels."""

import math

from experiments.reproduction.protocol import Protocol
from experiments.reproduction.queue import Merged
from softmax_research.reporting import note, table_plot
from softmax_research.reporting.figures import Plot
from softmax_research.reporting.observations import measure_of, observe

_CAPTION = (
  "{where}. Dots are seeds, diamonds their means with 95% t intervals; squares are the "
  "paper's numbers, open where unverified. A number with an arrow lies beyond the axis."
)


def plots(protocol: Protocol, merged: Merged) -> list[Plot]:
  """Draw a figure for each measure that finished runs have.

  Args:
    protocol: the table's.
    merged: its results.

  Returns:
    The figures. Measures of many ways, as "temperature scaling/ece", share one, with a panel for
    each method and a row for each way.
  """
  panels: dict[str, list[table_plot.Panel]] = {}
  for setting in protocol.config.settings:
    for name, some in _panels(protocol, setting, merged).items():
      panels.setdefault(name, []).extend(some)
  found = []
  for name, some in panels.items():
    measure = measure_of(name)
    figure = table_plot.table_plot(some, measure)
    heading = f"{measure.label[0].upper()}{measure.label[1:]} beside the paper's"
    of_folds = name.startswith(("cv_", "fold"))
    where = "On the examples left out of the folds" if of_folds else "On the test split"
    found.append(note.make_plot(name, heading, _CAPTION.format(where=where), figure))
  return found


def _panels(protocol, setting, merged) -> dict[str, list[table_plot.Panel]]:
  """Return a setting's panels by measure; those without a finished run are left out."""
  config = protocol.setting(setting)
  methods = [method for method, _ in config.methods]
  panels: dict[str, list[table_plot.Panel]] = {}
  for name in dict.fromkeys(metric.rpartition("/")[2] for metric in config.metrics):
    ways = [metric for metric in config.metrics if metric.endswith(f"/{name}")]
    rows = {}
    if name in config.metrics:
      rows[setting] = [(method, method, name) for method in methods]
    if ways:
      for method in methods:
        rows[f"{setting}, {method}"] = [(way.partition("/")[0], method, way) for way in ways]
    for title, ones in rows.items():
      entries = [_entry(protocol, setting, merged, *row) for row in ones]
      if any(entry.values for entry in entries):
        panels.setdefault(name, []).append(table_plot.Panel(title, entries))
  return panels


def _entry(protocol, setting, merged, row, method, metric) -> table_plot.Entry:
  runs = [run for key, run in merged.finished.items() if key[:2] == (setting, method)]
  values = [observe(run, metric) for run in runs if run["status"] == "finished"]
  published = protocol.setting(setting).published or setting
  number = protocol.paper.find(published, row, metric.rpartition("/")[2])
  finite = [value for value in values if math.isfinite(value)]
  return table_plot.Entry(row, finite, number.value, number.verified)
