"""Search: a value of each hyperparameter for each method, chosen on the validation split.

A setting's `search` lists keys of its training with the values to try. Every combination is a
trial, trained with seeds that no reported run has, and recorded without a look at the test split.
A method's runs take the values of its best trial: the highest mean validation accuracy after the
last epoch, the first of equals.
"""

import itertools
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from softmax_research.reporting import statistics
from softmax_research.reporting.observations import measure_of, observe
from softmax_research.reporting.tables import Cell, Row, Table

#: Keys of a training's configuration with their values.
Values = tuple[tuple[str, Any], ...]

#: Seeds of trials count from here, those of reported runs from 0.
FIRST_SEED = 1000
_METRIC = "metrics/validation/accuracy"


def trials(setting: ConfigDict) -> list[Values]:
  """List the combinations that a setting tries; none where it searches nothing.

  Example:
    >>> trials(ConfigDict({"search": (("batch_size", (32, 64)),)}))
    [(('batch_size', 32),), (('batch_size', 64),)]
  """
  searched = setting.get("search")
  if not searched:
    return []
  keys = [key for key, _ in searched]
  each = itertools.product(*(values for _, values in searched))
  return [tuple(zip(keys, values, strict=True)) for values in each]


def seeds(setting: ConfigDict) -> range:
  """Return the seeds of each trial."""
  return range(FIRST_SEED, FIRST_SEED + setting.search_seeds)


def describe(values: Values) -> str:
  """Name values for a person.

  Example:
    >>> describe((("optimizer.learning_rate", 0.003), ("batch_size", 64)))
    'learning_rate=0.003, batch_size=64'
  """
  return ", ".join(f"{key.rpartition('.')[2]}={value}" for key, value in values)


def row(method: str, values: Values) -> str:
  """Name a method with values."""
  return f"{method}, {describe(values)}" if values else method


def change(train: ConfigDict, values: Values) -> None:
  """Set values in a training's configuration.

  Raises:
    ValueError: a key is not there.
  """
  for key, value in values:
    *parents, last = key.split(".")
    node = train
    for parent in parents:
      node = node.get(parent) if isinstance(node, ConfigDict) else None
    if not isinstance(node, ConfigDict) or last not in node:
      raise ValueError(
        f"Got search={key!r}, which no training has; name a key of configs/default.py, as "
        "'optimizer.learning_rate'."
      )
    node[last] = value


def check(setting: ConfigDict, num_seeds: int) -> None:
  """Raise a ValueError unless a setting's search can be made."""
  if not setting.get("search"):
    return
  for key, values in setting.search:
    if not values or len(set(values)) < len(values):
      raise ValueError(f"Got the values {values} of {key}; give at least one, and each once.")
  if setting.search_seeds < 1 or num_seeds > FIRST_SEED:
    raise ValueError(
      f"Got search_seeds={setting.search_seeds}, seeds={num_seeds}; a search needs at least 1 seed "
      f"a trial, and leaves at most {FIRST_SEED} to the runs."
    )
  if setting.protocol != "train":
    raise ValueError(f"Got a search with protocol={setting.protocol!r}; it needs 'train'.")


def choose(
  name: str, setting: ConfigDict, method: str, finished: Mapping[tuple[str, str, int], Any]
) -> Values:
  """Return the values of a method's best trial.

  Args:
    name: the setting's.
    setting: which searches.
    method: a method of the setting.
    finished: records by setting, `row` and seed.

  Returns:
    The values.

  Raises:
    ValueError: trials are missing, or all of them diverged.
  """
  of_trial = accuracies(name, setting, method, finished)
  missing = [describe(v) for v, found in of_trial.items() if len(found) < setting.search_seeds]
  if missing:
    raise ValueError(
      f"The search of {name} / {method} lacks {'; '.join(missing)}. Run the same command without "
      "--only, or add the results.jsonl that has these trials."
    )
  means = {values: sum(found) / len(found) for values, found in of_trial.items()}
  best = max(means, key=means.get)
  if not means[best]:
    raise ValueError(f"All trials of {name} / {method} diverged; search other values.")
  return best


def accuracies(name, setting, method, finished) -> dict[Values, list[float]]:
  """Return the trials' validation accuracies in percent; a diverged seed has 0."""
  return {
    values: [
      observe(record, _METRIC) if record["status"] == "finished" else 0.0
      for seed in seeds(setting)
      if (record := finished.get((name, row(method, values), seed)))
    ]
    for values in trials(setting)
  }


def table(name: str, setting: ConfigDict, finished: Mapping[tuple[str, str, int], Any]) -> Table:
  """Tabulate the trials' mean validation accuracies, a method's best one in bold."""
  measure, rows = measure_of("accuracy"), []
  for method, _ in setting.methods:
    try:
      best = choose(name, setting, method, finished)
    except ValueError:
      best = None
    of_trial = accuracies(name, setting, method, finished)
    cells = [
      Cell(measure.format(statistics.summarise(found).mean), strong=values == best)
      for values, found in of_trial.items()
    ]
    rows.append(Row(method, (*cells, Cell(describe(best) if best else "not all trials are there"))))
  columns = (*(f"{describe(values)}, %" for values in trials(setting)), "chosen")
  return Table(columns, tuple(rows), name_column="validation accuracy")
