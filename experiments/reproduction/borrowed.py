"""Borrowed cells: those of a table whose numbers are another study's, made by that study's `run`.

What the study has recorded in its own directory below the working directory, as below
`runs/qin2019/gaussians`, is taken over; its further records are written there too, so that several
settings can read the same cell.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from experiments import studies
from softmax_research import study
from softmax_research.study import record, workdir
from softmax_research.study.study import (
  Record,
  Study,
  Task,
  check_configs,
  config_of,
  from_json,
  iterate,
  name_of,
)


class Lender(NamedTuple):
  """Hold a study and its cell, where the numbers of a table's cell come from.

  The study has a directory; items of the table's setting and method say which numbers count.
  """

  directory: str
  study: Study
  settings: Any
  cell: study.study.Cell
  items: dict[str, Any]


def find(chosen: ConfigDict) -> Study:
  """Return the study of `tables.variant` that cells can be borrowed from."""
  if chosen.name not in READERS:
    raise ValueError(f"got the study {chosen.name!r}; those with readers are {', '.join(READERS)}.")
  return studies.find(chosen.name)


def seed_by_seed(settings: ConfigDict) -> bool:
  """Say whether all studies of a table go seed by seed, and there are any."""
  return bool(settings.studies) and all(find(of).seed_by_seed for of in settings.studies.values())


def lender(settings: ConfigDict, cell: Mapping[str, Any]) -> Lender:
  """Return what a table's cell is in its study; a ValueError if there is none."""
  setting = settings.settings[cell["setting"]]
  name = f"{cell['setting']} / {cell['method']}"
  if setting.study not in settings.studies:
    known = ", ".join(settings.studies)
    raise ValueError(f"{name}: got the study {setting.study!r}; the studies are {known}.")
  chosen = settings.studies[setting.study]
  of = find(chosen)
  of_study = from_json(of, chosen.settings.to_dict())
  of.check(of_study)
  items = setting["items"].to_dict() | dict(setting.methods)[cell["method"]]
  for own in of.cells(of_study):
    if all(items.get(key) == value for key, value in own.items()):
      return Lender(setting.study, of, of_study, own, items)
  raise ValueError(f"{name}: got {items}, which fits no cell of {chosen.name}.")


def config(settings: ConfigDict, cell: Mapping[str, Any]) -> dict[str, Any]:
  """Return what a cell's numbers depend on."""
  of = lender(settings, cell)
  return {
    "study": name_of(of.study),
    "items": of.items,
    "settings": config_of(of.study, of.settings, of.cell),
  }


def prepare(settings: ConfigDict, cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
  """Let each study prepare those of its cells that are left; return what it prepared."""
  by_study: dict[str, list[Lender]] = {}
  for of in (lender(settings, cell) for cell in cells):
    by_study.setdefault(of.directory, []).append(of)
  return {
    name: some[0].study.prepare(some[0].settings, [of.cell for of in some])
    for name, some in by_study.items()
  }


def run(context: study.Context) -> Iterator[list[Record]]:
  """Run what is missing of a cell in its study; see `study.Study`."""
  of = lender(context.settings, context.cell)
  own = context.workdir / of.directory
  path = own / f"{record.file_name(of.cell)}.jsonl"
  known = record.unique([*workdir.read(own), *record.read(path)])
  known = [made for made in known if made["cell"] == of.cell]
  check_configs(of.study, of.settings, [Task(of.cell, context.seeds)], known)
  finished = [m for m in known if m["seed"] in context.seeds and m["status"] != "failed"]
  if finished:
    yield [_as_row(made, of, context) for made in finished]
  left = [seed for seed in context.seeds if seed not in {made["seed"] for made in finished}]
  if not left:
    return
  inner = _context(of, context, left)
  own.mkdir(parents=True, exist_ok=True)
  for some in iterate(of.study.run(of.cell, inner)):
    workdir.append(path, some)
    yield [_as_row(made, of, context) for made in some]
  workdir.remove(inner.directory)


def estimate(context: study.Context) -> float:
  """Estimate the seconds of a cell as its study does; a ValueError where it has no estimate."""
  of = lender(context.settings, context.cell)
  if of.study.estimate is None:
    raise ValueError(f"the study {name_of(of.study)} has no estimate of its time.")
  return of.study.estimate(of.cell, _context(of, context, context.seeds))


def _context(of: Lender, context: study.Context, left: Sequence[int]) -> study.Context:
  own = {"study": of.study, "settings": of.settings, "cell": of.cell, "seeds": tuple(left)}
  own |= {"prepared": context.prepared.lent[of.directory], "finished": ()}
  return dataclasses.replace(context, workdir=context.workdir / of.directory, **own)


def _as_row(made: Record, of: Lender, context: study.Context) -> Record:
  """Return a study's record as one of the table, with the numbers that the table shows."""
  metrics = READERS[name_of(of.study)](made, of.items) if made["status"] == "finished" else {}
  row = context.record(
    made["seed"], seconds=0.0, status=made["status"], metrics=metrics and {"test": metrics}
  )
  return row | {key: made[key] for key in ("versions", "device", "revision", "time")}


def _information(made: Record, items: Mapping[str, Any]) -> dict[str, Any]:
  """Return `information`, the estimate, and `bias`, what it is above the truth; both in nats."""
  estimate = made["measured"]["estimators"][items["estimator"]]["estimate"]
  if estimate is None:
    return {"information": None, "bias": None}
  return {"information": estimate, "bias": estimate - made["measured"]["truth"]}


def _many_classes(made: Record, items: Mapping[str, Any]) -> dict[str, Any]:
  """Return the metrics with the `minutes` of training and `step_ms`, the time of a step."""
  seconds, steps = (made["curves"][key][-1] for key in ("seconds", "steps"))
  return made["metrics"]["test"] | {"minutes": seconds / 60, "step_ms": 1000 * seconds / steps}


#: For each study what takes a table's numbers out of one of its records.
READERS: dict[str, Callable[[Record, Mapping[str, Any]], dict[str, Any]]] = {
  "imbalance": lambda made, items: made["metrics"][items["judgement"]]["as_is"],
  "many_classes": _many_classes,
  "mutual_information.gaussians": _information,
}
