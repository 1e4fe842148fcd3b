"""Borrowed cells: those of a table whose numbers are another study's, read from its records.

The study's records lie below the working directory, as in `runs/qin2019/gaussians`.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict

from experiments import studies
from softmax_research import study
from softmax_research.study import record, workdir
from softmax_research.study.study import (
  Cell,
  Record,
  Study,
  Task,
  check_configs,
  config_of,
  from_json,
)


def lender(settings: ConfigDict, cell: Cell) -> tuple[Study, Any, Cell, dict[str, Any]]:
  """Return what a table's cell is elsewhere: the study, its settings, its cell, and the items.

  Those of the table's setting and method say which of the cell's numbers count. A ValueError says
  that there is no such study or cell.
  """
  setting = settings.settings[cell["setting"]]
  name = f"{cell['setting']} / {cell['method']}"
  if setting.study not in settings.studies:
    known = ", ".join(settings.studies)
    raise ValueError(f"{name}: got the study {setting.study!r}; the studies are {known}.")
  chosen = settings.studies[setting.study]
  if chosen.name not in READERS:
    raise ValueError(f"got the study {chosen.name!r}; those with readers are {', '.join(READERS)}.")
  of = studies.find(chosen.name)
  of_study = from_json(of, chosen.settings.to_dict())
  of.check(of_study)
  items = setting["items"].to_dict() | dict(setting.methods)[cell["method"]]
  for own in of.cells(of_study):
    if all(items.get(key) == value for key, value in own.items()):
      return of, of_study, own, items
  raise ValueError(f"{name}: got {items}, which fits no cell of {chosen.name}.")


def config(settings: ConfigDict, cell: Cell) -> dict[str, Any]:
  """Return what a cell's numbers depend on."""
  of, of_study, own, items = lender(settings, cell)
  return {"study": of.name, "items": items, "settings": config_of(of, of_study, own)}


def run(context: study.Context) -> Iterator[list[Record]]:
  """Yield what the study has recorded of a cell, with the numbers that the table shows.

  A ValueError says how its settings differ from the table's, a SkippedError what is not there.
  """
  of, settings, cell, items = lender(context.settings, context.cell)
  directory = context.workdir / context.settings.settings[context.cell["setting"]].study
  found = [
    made
    for made in workdir.read(directory)
    if made["cell"] == cell and made["seed"] in context.seeds and made["status"] != "failed"
  ]
  check_configs(of, settings, [Task(cell, context.seeds)], found)
  rows = []
  for made in found:
    numbers = {"test": READERS[of.name](made, items)} if made["status"] == "finished" else {}
    row = context.record(made["seed"], status=made["status"], metrics=numbers)
    rows.append(row | {key: made[key] for key in ("versions", "device", "revision", "time")})
  if rows:
    yield rows
  if left := sorted(set(context.seeds) - {made["seed"] for made in found}):
    raise study.SkippedError(
      f"{directory} lacks seeds {record.span(left)} of {record.describe(cell)}. Make them there "
      f"by the study {of.name}, as the configuration says, and run the same command again."
    )


def _information(made: Record, items: Mapping[str, Any]) -> dict[str, Any]:
  """Return `information`, the estimate, and `bias`, what it is above the truth; both in nats."""
  estimate = made["measured"]["estimators"][items["estimator"]]["estimate"]
  if estimate is None:
    return {"information": None, "bias": None}
  return {"information": estimate, "bias": estimate - made["measured"]["truth"]}


def _imbalance(made: Record, items: Mapping[str, Any]) -> dict[str, Any]:
  return dict(made["metrics"][items["judgement"]]["as_is"])


def _many_classes(made: Record, items: Mapping[str, Any]) -> dict[str, Any]:
  """Return the metrics with the `minutes` of training and `step_ms`, the time of a step."""
  seconds, steps = (made["curves"][key][-1] for key in ("seconds", "steps"))
  return made["metrics"]["test"] | {"minutes": seconds / 60, "step_ms": 1000 * seconds / steps}


#: For each study what takes a table's numbers out of one of its records.
READERS: dict[str, Callable[[Record, Mapping[str, Any]], dict[str, Any]]] = {
  "imbalance": _imbalance,
  "many_classes": _many_classes,
  "mutual_information.gaussians": _information,
}
