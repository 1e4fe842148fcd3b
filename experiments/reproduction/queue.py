"""Queue: the cells of a table, which of them are finished, and results merged from many files.

A cell is a method in a setting with some seeds, which train in one program. Results are one
JSON line a seed; files of several machines are merged by concatenation, in any order and with
repetitions: of records of one seed the first that is no failure counts.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from experiments.reproduction.protocol import Protocol

#: Setting, method, seed.
Key = tuple[str, str, int]


class Cell(NamedTuple):
  """Hold a cell: what trains in one program.

  Example:
    >>> Cell("mnist", "m=2", "l_softmax:margin=2", (0, 1)).name
    'mnist / m=2 / seeds 0, 1'
  """

  setting: str
  method: str
  head: str
  seeds: tuple[int, ...]

  @property
  def name(self) -> str:
    """Name the cell for a person."""
    seeds = ", ".join(map(str, self.seeds))
    return f"{self.setting} / {self.method} / seed{'s' * (len(self.seeds) > 1)} {seeds}"

  def keys(self) -> list[Key]:
    """List the keys of its records."""
    return [(self.setting, self.method, seed) for seed in self.seeds]


class Merged(NamedTuple):
  """Hold what results files say.

  Attributes:
    finished: finished and diverged runs by key.
    failures: of cells that have not finished since, the newest failure's record by setting and
      method.
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
  try:
    pattern = re.compile(only)
  except re.error as error:
    raise ValueError(f"Got --only={only!r}, no regular expression ({error}).") from None
  seeds = range(protocol.config.seeds)
  size = protocol.config.seeds_together or len(seeds)
  groups = [tuple(seeds[start : start + size]) for start in range(0, len(seeds), size)]
  cells = [
    Cell(name, method, head, group)
    for name, setting in protocol.config.settings.items()
    for method, head in setting.methods
    for group in groups
  ]
  chosen = [cell for cell in cells if pattern.search(cell.name)]
  if not chosen:
    names = ", ".join(dict.fromkeys(f"{cell.setting} / {cell.method}" for cell in cells))
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
  heads = {
    (name, method): head
    for name, setting in protocol.config.settings.items()
    for method, head in setting.methods
  }
  expected = {pair: protocol.fingerprint(pair[0], head) for pair, head in heads.items()}
  finished, failures, duplicates = {}, {}, 0
  for record in records:
    if (record.get("paper"), record.get("variant")) != (protocol.paper.name, protocol.variant):
      continue
    pair = record["setting"], record["method"]
    if pair not in heads:
      continue
    if record["kind"] == "failure":
      failures[pair] = record
      continue
    if record["fingerprint"] != expected[pair]:
      raise ValueError(
        f"The results of {' / '.join(pair)}, seed {record['seed']}, were made with another "
        f"protocol ({record['fingerprint']}, now {expected[pair]}). Give another --workdir, or "
        "the former settings."
      )
    key = (*pair, record["seed"])
    duplicates += key in finished
    finished.setdefault(key, record)
  for pair in {key[:2] for key in finished}:
    if all((*pair, seed) in finished for seed in range(protocol.config.seeds)):
      failures.pop(pair, None)
  return Merged(finished, failures, duplicates)


def missing(cells: Sequence[Cell], finished: dict[Key, Any]) -> list[Cell]:
  """Return the cells that are left, each with the seeds that are.

  Example:
    >>> missing([Cell("mnist", "m=2", "softmax", (0, 1))], {("mnist", "m=2", 0): ...})
    [Cell(setting='mnist', method='m=2', head='softmax', seeds=(1,))]
  """
  left = []
  for cell in cells:
    seeds = tuple(seed for *_, seed in (key for key in cell.keys() if key not in finished))
    if seeds:
      left.append(cell._replace(seeds=seeds))
  return left
