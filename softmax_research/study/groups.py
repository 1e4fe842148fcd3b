"""Groups: the records of what is compared, by seed, in a report's order; and their differences."""

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

from softmax_research import registry
from softmax_research.study import record, statistics
from softmax_research.study.measures import Measure, as_measure
from softmax_research.study.statistics import PairedDifference, Summary, summarise

#: How records are grouped: the name of a cell's item, several names, a function of a record to a
#: group's name, or None for whatever differs between the cells.
By = str | Sequence[str] | Callable[[dict[str, Any]], Hashable] | None

# So many rows can be searched by eye; more are sorted.
_MOST_UNSORTED = 8


class Group(NamedTuple):
  """Hold the records of one row.

  Attributes:
    name: of the row.
    finished: finished records by seed, in the order of the seeds.
    unfinished: diverged and failed records.
    ensemble: the record of an ensemble of the seeds, or None.
  """

  name: str
  finished: dict[int | None, dict[str, Any]]
  unfinished: tuple[dict[str, Any], ...] = ()
  ensemble: dict[str, Any] | None = None

  @property
  def records(self) -> list[dict[str, Any]]:
    """Return the records of all seeds."""
    return [*self.finished.values(), *self.unfinished]

  def values(self, measure: str | Measure) -> dict[int | None, float]:
    """Return a measure of every finished seed."""
    key = as_measure(measure).key
    return {seed: record.look_up(made, key) for seed, made in self.finished.items()}

  def summary(self, measure: str | Measure) -> Summary:
    """Summarise a measure over the finished seeds."""
    return summarise(list(self.values(measure).values()))


#: What tables and plots are made from: records of a study, or groups of them, whose order is kept.
Records = Sequence[dict[str, Any]] | Sequence[Group]


def group(records: Sequence[dict[str, Any]], by: By = None) -> list[Group]:
  """Group records, ensembles with the seeds that they are of.

  Args:
    records: of a study, in any order.
    by: what makes a group.

  Returns:
    The groups, in the order in which they first appear.

  Raises:
    ValueError: a group would have two finished records of one seed.

  Example:
    >>> cells = {"head": "softmax", "width": 8}, {"head": "sm", "width": 8}
    >>> made = [{"cell": cell, "seed": 0, "status": "finished"} for cell in cells]
    >>> [of.name for of in group(made)]
    ['softmax', 'sm']
  """
  name_of = _naming(records, by)
  found: dict[str, list[dict[str, Any]]] = {}
  for made in records:
    found.setdefault(" ".join(name_of(made).split()), []).append(made)
  return [_make(name, members, by) for name, members in found.items()]


def check_measures(records: Records, measures: Sequence[Measure]) -> None:
  """Raise a ValueError for a measure that no finished record has; see `record.check_path`."""
  if _are_groups(records):
    records = [made for of in records for made in of.finished.values()]
  for measure in measures:
    record.check_path(records, measure.key)


def check_items(records: Sequence[dict[str, Any]], items: Sequence[str]) -> None:
  """Raise a ValueError for an item that no record's cell has."""
  known = dict.fromkeys(name for made in records for name in made["cell"])
  if unknown := [item for item in items if known and item not in known]:
    raise ValueError(
      f"Got {unknown[0]!r}, which no cell has; cells have {', '.join(known)}."
      f"{registry.closest(unknown[0], known)}"
    )


def as_groups(
  records: Records,
  by: By = None,
  *,
  sort_by: str | Measure | None = None,
  baseline: str | None = None,
) -> list[Group]:
  """Return groups of what a table or a plot is made from; what is groups already is left as it is.

  Groups of records are arranged by a measure, if one is given.
  """
  if _are_groups(records):
    return list(records)
  groups = group(records, by)
  return groups if sort_by is None else arrange(groups, sort_by, baseline=baseline)


def title_of(records: Records, by: By = None) -> str:
  """Return the title of the column of the rows' names: what makes a group."""
  if callable(by):
    return "row"
  if by is None:
    by = differing(
      [made for of in records for made in of.records] if _are_groups(records) else records
    )
  return " / ".join(name.replace("_", " ") for name in ((by,) if isinstance(by, str) else by))


def differing(records: Sequence[dict[str, Any]]) -> tuple[str, ...]:
  """Return the names of the items in which cells differ; all names where none does."""
  cells = [_without_ensemble(made["cell"]) for made in records]
  names = tuple(dict.fromkeys(name for cell in cells for name in cell))
  first = cells[0] if cells else {}
  found = [name for name in names if any(cell.get(name) != first.get(name) for cell in cells)]
  return tuple(found) or names


def arrange(
  groups: Sequence[Group], measure: str | Measure, *, baseline: str | None = None
) -> list[Group]:
  """Put the baseline first and, where there are many groups, the better before the worse.

  Args:
    groups: in their own order.
    measure: what they are sorted by: its mean over the seeds.
    baseline: name of the group that others are compared with; by default the first.

  Raises:
    ValueError: there is no group of that name.
  """
  measure = as_measure(measure)
  first = groups[0] if baseline is None and groups else None
  first = next((of for of in groups if of.name == baseline), first)
  if first is None and baseline is not None:
    known = ", ".join(of.name for of in groups)
    raise ValueError(f"Got the baseline {baseline!r}; the rows are {known}.")
  rest = [of for of in groups if of is not first]

  def rank(of: Group) -> float:
    mean = of.summary(measure).mean
    return math.inf if math.isnan(mean) else -mean if measure.higher_is_better else mean

  if len(groups) > _MOST_UNSORTED:
    rest.sort(key=rank)
  return [first, *rest] if first is not None else rest


class Difference(NamedTuple):
  """Hold how one group differs from the first.

  Attributes:
    name: of the group.
    values: its value less the first group's, by seed; NaN where one of both is not finite.
    paired: summary and test of the differences.
    p_corrected: p-value after Holm's correction over all the groups compared.
    detectable: smallest true difference that would have been found with 80% power.
  """

  name: str
  values: dict[int | None, float]
  paired: PairedDifference
  p_corrected: float
  detectable: float

  @property
  def significant(self) -> bool:
    """Return whether the corrected p-value is below the level."""
    return self.p_corrected < statistics.LEVEL


def compare(groups: Sequence[Group], measure: str | Measure) -> list[Difference]:
  """Compare every group with the first one by paired t-tests over their common seeds.

  The detectable difference is taken at the level over the number of comparisons, which is the
  level that the smallest p-value has to meet in Holm's method.
  """
  baseline = groups[0].values(measure) if groups else {}
  pairs = []
  for group in groups[1:]:
    both = {s: (v, baseline[s]) for s, v in group.values(measure).items() if s in baseline}
    left, right = [a for a, _ in both.values()], [b for _, b in both.values()]
    # An infinite loss has no difference: infinity less infinity is undefined.
    values = {
      s: a - b if math.isfinite(a) and math.isfinite(b) else math.nan for s, (a, b) in both.items()
    }
    pairs.append((group.name, values, statistics.paired_difference(left, right)))
  corrected = statistics.holm([paired.p_value for *_, paired in pairs])
  level = statistics.LEVEL / max(1, sum(not math.isnan(p) for p in corrected))
  return [
    Difference(
      name,
      values,
      paired,
      float(p),
      statistics.detectable_difference(paired.std, paired.n, level=level),
    )
    for (name, values, paired), p in zip(pairs, corrected, strict=True)
  ]


def _are_groups(records: Sequence[Any]) -> bool:
  return bool(records) and isinstance(records[0], Group)


def _naming(records, by: By) -> Callable[[dict[str, Any]], str]:
  if callable(by):
    return lambda made: str(by(made))
  items = differing(records) if by is None else (by,) if isinstance(by, str) else tuple(by)
  check_items(records, items)

  def name_of(made):
    cell = _without_ensemble(made["cell"])
    if len(items) == 1:
      return text_of(cell.get(items[0]))
    return record.describe({item: cell[item] for item in items if item in cell})

  return name_of


def text_of(value: Any) -> str:
  """Return an item of a cell as text; one that is absent as a dash."""
  if isinstance(value, dict):
    return record.describe({"": value})
  return "–" if value is None else str(value)


def _make(name: str, members: Sequence[dict[str, Any]], by: By) -> Group:
  finished: dict[int | None, dict[str, Any]] = {}
  ensemble = None
  for made in members:
    if "ensemble" in made["cell"]:
      # More seeds may have come since the first ensemble of a cell.
      most = len(ensemble["cell"]["ensemble"]) if ensemble else 0
      ensemble = made if len(made["cell"]["ensemble"]) > most else ensemble
    elif made["status"] == "finished":
      if made["seed"] in finished:
        cells = [record.describe(of["cell"]) for of in (finished[made["seed"]], made)]
        raise ValueError(
          f"The row {name!r} has two records of seed {made['seed']}: {' and '.join(cells)}. Rows "
          f"are grouped by {by!r}; name more of what differs, or give fewer records."
        )
      finished[made["seed"]] = made
  unfinished = [made for made in members if made["status"] != "finished"]
  if None not in finished:
    finished = dict(sorted(finished.items()))
  return Group(name, finished, tuple(unfinished), ensemble)


def _without_ensemble(cell: dict[str, Any]) -> dict[str, Any]:
  return {name: value for name, value in cell.items() if name != "ensemble"}
