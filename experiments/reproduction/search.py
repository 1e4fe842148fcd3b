"""Search: a value of each hyperparameter for each method, chosen on the validation split.

A setting's `search` lists keys of its training with the values to try. Every combination is a
trial, a cell of its own with seeds that no reported run has, recorded without a look at the test
split. A method's runs take the values of its best trial: the highest mean validation accuracy after
the last epoch, the first of equals.
"""

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from softmax_research import study
from softmax_research.study.blocks import Cell, Table, table_of
from softmax_research.study.groups import text_of
from softmax_research.study.measures import measure_of
from softmax_research.study.study import as_tuples

#: Keys of a training's configuration with their values.
Values = Mapping[str, Any]

#: Seeds of trials count from here, those of reported runs from 0.
FIRST_SEED = 1000
_METRIC = "metrics/validation/accuracy"


def trials(setting: ConfigDict) -> list[dict[str, Any]]:
  """List the combinations that a setting tries, as records hold them: tuples as lists.

  There are none where it searches nothing.
  """
  if not setting.get("search"):  # Settings whose cells are another study's lack it.
    return []
  keys = [key for key, _ in setting.search]
  combinations = itertools.product(*(values for _, values in setting.search))
  return [json.loads(json.dumps(dict(zip(keys, of, strict=True)))) for of in combinations]


def cells(method: Values, setting: ConfigDict) -> list[dict[str, Any]]:
  """List the cells of a method's trials before its own."""
  return [*({**method, "trial": values} for values in trials(setting)), dict(method)]


def seeds(cell: Values, setting: ConfigDict, num_seeds: int) -> range:
  """Return the seeds of a cell; those of trials are none of a run's."""
  trial = range(FIRST_SEED, FIRST_SEED + setting.get("search_seeds", 0))
  return trial if "trial" in cell else range(num_seeds)


def change(train: ConfigDict, values: Values) -> None:
  """Set values in a training's configuration; a ValueError where a key is not there."""
  for key, value in values.items():
    node, last = _parent(train, key)
    node[last] = as_tuples(value)


def train_config(cell: Values, setting: ConfigDict, values: Values | None = None) -> ConfigDict:
  """Return the configuration, as of `configs/default.py`, that trains a cell with some values.

  These are by default those that a trial tries.
  """
  config = setting.train.copy_and_resolve_references()
  config.heads = dict(setting.methods)[cell["method"]]
  change(config, cell.get("trial", {}) if values is None else values)
  return config


def leave_open(train: ConfigDict, setting: ConfigDict) -> None:
  """Take the keys that a setting searches out of a training's configuration."""
  for key, _ in setting.search:
    node, last = _parent(train, key)
    del node[last]


def check_methods(methods: Sequence[Any], example: tuple) -> None:
  """Raise a ValueError unless there are methods, each as an example and with a name of its own."""
  kind = tuple | list if isinstance(example[-1], tuple) else object
  for of in methods:
    if not (isinstance(of, tuple | list) and len(of) == len(example) and isinstance(of[-1], kind)):
      raise ValueError(f"Got the method {of!r}; write it as {example}.")
  names = [name for name, *_ in methods]
  if not names or len(set(names)) < len(names):
    raise ValueError(f"Got the methods {names}; give at least one, and each name once.")


def check(setting: ConfigDict, num_seeds: int) -> None:
  """Raise a ValueError unless a setting's search can be made."""
  if not setting.search:
    return
  for key, values in setting.search:
    if not values or len(set(map(json.dumps, values))) < len(values):
      raise ValueError(f"Got the values {values} of {key}; give at least one, and each once.")
  if setting.search_seeds < 1 or num_seeds > FIRST_SEED:
    raise ValueError(
      f"Got search_seeds={setting.search_seeds}, seeds={num_seeds}; a search needs at least 1 seed "
      f"a trial, and leaves at most {FIRST_SEED} to the runs."
    )
  if setting.protocol != "train":
    raise ValueError(f"Got a search with protocol={setting.protocol!r}; it needs 'train'.")


def choose(cell: Values, setting: ConfigDict, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
  """Return the values of a method's best trial; none where nothing is searched.

  Raises:
    SkippedError: trials are missing.
    ValueError: all of them diverged.
  """
  if not setting.search:
    return {}
  name, tried = f"{cell['setting']} / {cell['method']}", accuracies(cell, setting, records)
  if missing := [text_of(v) for v, found in tried if len(found) < setting.search_seeds]:
    raise study.SkippedError(
      f"its search lacks {'; '.join(missing)}. Run the same command again when these trials are "
      "there."
    )
  means = [sum(found) / len(found) for _, found in tried]
  if not max(means):
    raise ValueError(f"All trials of {name} diverged; search other values.")
  return tried[int(np.argmax(means))][0]


def accuracies(
  cell: Values, setting: ConfigDict, records: Sequence[dict[str, Any]]
) -> list[tuple[dict[str, Any], list[float]]]:
  """Return each trial's values with its seeds' accuracies in percent, 0 where one diverged."""
  method = {key: cell[key] for key in ("setting", "method")}
  own = seeds({"trial": None}, setting, 0)  # An earlier search may have had more.
  return [
    (
      values,
      [
        100 * study.look_up(made, _METRIC) if made["status"] == "finished" else 0.0
        for made in records
        if made["cell"] == {**method, "trial": values}
        and made["status"] != "failed"
        and made["seed"] in own
      ],
    )
    for values in trials(setting)
  ]


def table(name: str, setting: ConfigDict, records: Sequence[dict[str, Any]]) -> Table:
  """Tabulate the trials' mean validation accuracies, a method's best one in bold."""
  measure, rows = measure_of(_METRIC)._replace(scale=1.0), []
  for method, _ in setting.methods:
    cell = {"setting": name, "method": method}
    try:
      best, said = choose(cell, setting, records), ""
    except (study.SkippedError, ValueError):
      best, said = None, "not all trials are there"
    cells = {
      f"{text_of(values)}, %": Cell(
        measure.format(float(np.mean(found)) if found else np.nan), strong=values == best
      )
      for values, found in accuracies(cell, setting, records)
    }
    rows.append((method, cells | {"chosen": said or text_of(best)}))
  return table_of(rows, "validation accuracy", f"{name}_search")


def _parent(train: ConfigDict, key: str) -> tuple[ConfigDict, str]:
  *parents, last = key.split(".")
  node = train
  for parent in parents:
    node = node.get(parent) if isinstance(node, ConfigDict) else None
  if not isinstance(node, ConfigDict) or last not in node:
    raise ValueError(
      f"Got search={key!r}, which no training has; name a key of configs/default.py, as "
      "'optimizer.learning_rate'."
    )
  return node, last
