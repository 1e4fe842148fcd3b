"""Queue: the cells of a table, which of them are finished, and results merged from many files.

A cell is a method in a setting with some seeds, which train in one program. Where a setting
searches, a method's trials are cells of their own before it. Results are one JSON line a seed;
files of several machines are merged by concatenation, in any order and with repetitions: of
records of one seed the first that is no failure counts.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from experiments.reproduction import search
from experiments.reproduction.protocol import Protocol
from experiments.reproduction.variant import compile_only

#: Setting, row, seed; a row is a method, or one of its trials.
Key = tuple[str, str, int]


class Cell(NamedTuple):
  """Hold a cell: what trains in one program.

  Attributes:
    setting: its name.
    method: its name.
    head: the method's.
    seeds: that train together.
    values: of hyperparameters, where they are searched; of a run they are settled last.
    trial: whether it is a trial of the search.

  Example:
    >>> Cell("mnist", "m=2", "l_softmax:margin=2", (0, 1)).name
    'mnist / m=2 / seeds 0, 1'
  """

  setting: str
  method: str
  head: str
  seeds: tuple[int, ...]
  values: search.Values = ()
  trial: bool = False

  @property
  def row(self) -> str:
    """Name the method, and a trial's values."""
    return search.row(self.method, self.values) if self.trial else self.method

  @property
  def name(self) -> str:
    """Name the cell for a person."""
    seeds = ", ".join(map(str, self.seeds))
    return f"{self.setting} / {self.row} / seed{'s' * (len(self.seeds) > 1)} {seeds}"

  def keys(self) -> list[Key]:
    """List the keys of its records."""
    return [(self.setting, self.row, seed) for seed in self.seeds]


class Merged(NamedTuple):
  """Hold what results files say.

  Attributes:
    finished: finished and diverged runs by key.
    failures: of cells that have not finished since, the newest failure's record by setting and
      row.
    duplicates: number of runs that stood there already.
  """

  finished: dict[Key, dict[str, Any]]
  failures: dict[tuple[str, str], dict[str, Any]]
  duplicates: int


def make_cells(protocol: Protocol, *, only: str = "") -> list[Cell]:
  """List the cells of a table, in their order.

  Args:
    protocol: of `make_protocol`.
    only: a regular expression; cells whose name it is not found in are left out.

  Returns:
    The cells.

  Raises:
    ValueError: the expression is bad, or leaves nothing.
  """
  pattern = compile_only(only)
  cells = []
  for name, setting in protocol.config.settings.items():
    plan = [(values, True, search.seeds(setting)) for values in search.trials(setting)]
    plan.append(((), False, range(protocol.seeds(name))))
    for method, head in setting.methods:
      for values, trial, seeds in plan:
        size = protocol.config.seeds_together or len(seeds)
        for start in range(0, len(seeds), size):
          group = tuple(seeds[start : start + size])
          cells.append(Cell(name, method, head, group, values, trial))
  chosen = [cell for cell in cells if pattern.search(cell.name)]
  if not chosen:
    names = ", ".join(dict.fromkeys(f"{cell.setting} / {cell.row}" for cell in cells))
    raise ValueError(f"Got --only={only!r}, which no cell's name holds; the cells are {names}.")
  return chosen


def merge(records: Iterable[dict[str, Any]], protocol: Protocol) -> Merged:
  """Sort records of this table into finished runs and failures.

  Args:
    records: of one results file or of several, one after the other.
    protocol: of `make_protocol`; records of another paper or variant are left alone, and so are
      methods that the table no longer has.

  Returns:
    What they say.

  Raises:
    ValueError: a run was made with other settings than the protocol's.
  """
  cells = make_cells(protocol)
  wanted: dict[tuple[str, str], Cell] = {}
  needed: dict[tuple[str, str], set[Key]] = {}
  for cell in cells:
    wanted[cell.setting, cell.row] = cell
    needed.setdefault((cell.setting, cell.row), set()).update(cell.keys())
  finished, failures, duplicates = {}, {}, 0
  for record in records:
    if (record.get("paper"), record.get("variant")) != (protocol.paper.name, protocol.variant):
      continue
    values = tuple((key, value) for key, value in record.get("values", {}).items())
    of_trial = record["kind"] == "trial" or record.get("trial", False)
    pair = record["setting"], search.row(record["method"], values if of_trial else ())
    if pair not in wanted or wanted[pair].trial != of_trial:
      continue
    if record["kind"] == "failure":
      failures[pair] = record
      continue
    expected = protocol.fingerprint(pair[0], wanted[pair].head, values)
    if record["fingerprint"] != expected:
      raise ValueError(
        f"The results of {' / '.join(pair)}, seed {record['seed']}, were made with another "
        f"protocol ({record['fingerprint']}, now {expected}). Give another --workdir, or "
        "the former settings."
      )
    key = (*pair, record["seed"])
    duplicates += key in finished
    finished.setdefault(key, record)
  for pair, keys in needed.items():
    if keys <= set(finished):
      failures.pop(pair, None)
  _check_chosen(protocol, wanted, finished)
  return Merged(finished, failures, duplicates)


def settle(protocol: Protocol, cell: Cell, finished: Mapping[Key, Mapping[str, Any]]) -> Cell:
  """Return a run's cell with the values that its search has chosen; other cells as they are.

  Raises:
    ValueError: the search is not complete.
  """
  setting = protocol.setting(cell.setting)
  if cell.trial or not search.trials(setting):
    return cell
  return cell._replace(values=search.choose(cell.setting, setting, cell.method, finished))


def _check_chosen(protocol, wanted, finished) -> None:
  """Raise a ValueError where a run has other values than those that its trials choose."""
  chosen = {}
  for key, record in finished.items():
    cell = wanted[key[:2]]
    if cell.trial or not search.trials(protocol.setting(cell.setting)):
      continue
    if key[:2] not in chosen:
      try:
        chosen[key[:2]] = dict(settle(protocol, cell, finished).values)
      except ValueError:  # Trials may stand in a file that is yet to be added.
        chosen[key[:2]] = None
    best = chosen[key[:2]]
    if best is not None and record["values"] != best:
      raise ValueError(
        f"The results of {' / '.join(key[:2])}, seed {key[2]}, have {record['values']}, but the "
        f"search chooses {best}. Remove these results to have them made again."
      )


def missing(cells: Sequence[Cell], finished: dict[Key, Any]) -> list[Cell]:
  """Return the cells that are left, each with the seeds that are.

  Example:
    >>> cells = [Cell("mnist", "m=2", "softmax", (0, 1))]
    >>> [cell.name for cell in missing(cells, {("mnist", "m=2", 0): ...})]
    ['mnist / m=2 / seed 1']
  """
  left = []
  for cell in cells:
    seeds = tuple(seed for *_, seed in (key for key in cell.keys() if key not in finished))
    if seeds:
      left.append(cell._replace(seeds=seeds))
  return left
