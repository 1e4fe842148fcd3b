"""Papers: the numbers that they published, as data, each with marks that say who read it where."""

import functools
import json
import math
import pathlib
from typing import NamedTuple

from softmax_research.study.measures import format_number, measure_of

_DIRECTORY = pathlib.Path(__file__).parent / "published"

#: READ: read in the source named. RECALLED: believed right, read nowhere. NOT FOUND: looked for.
MARKS = ("READ", "RECALLED", "NOT FOUND")
#: Where a number was read: in the paper, in its authors' code, notebooks or README, in another's
#: transcription of the paper, or in another's run of the authors' method.
ORIGINS = ("paper", "authors", "secondary", "reproduction")
#: What stands in place of a number that was not found.
UNKNOWN = "not available"
# Percentages, unless the name is here.
_DECIMALS = {"nll": 4, "perplexity": 1, "minutes": 0, "f1": 2, "cv_std": 3, "cv_accuracy": 3}


class Number(NamedTuple):
  """Hold one number of a paper.

  Attributes:
    paper: name of the paper, as `liu2016`.
    table: the table it stands in, for a reader.
    setting: data and protocol, as the configuration of the paper names them.
    method: the row, in the paper's words or nearly so.
    metric: what was measured; accuracies and errors are percentages.
    value: the number, or None where it was not found.
    mark: one of `MARKS`.
    origin: one of `ORIGINS`, if it was read.
    source: where it was read.
  """

  paper: str
  table: str
  setting: str
  method: str
  metric: str
  value: float | None
  mark: str
  origin: str = ""
  source: str = ""

  @property
  def verified(self) -> bool:
    """Say whether somebody read the number in the source named."""
    return self.mark == "READ"

  @property
  def raw(self) -> float:
    """Return the number in the unit of records, where shares are shares; NaN where there is none.

    Example:
      >>> load("liu2016").find("mnist", "m=2", "accuracy").raw
      0.9968
    """
    if self.value is None:
      return math.nan
    return round(self.value / measure_of(self.metric).scale, 9)

  def format(self) -> str:
    """Return the number as a report prints it: what nobody read in the paper says so.

    Example:
      >>> row = Number("p", "t", "s", "m", "error", 6.5, "RECALLED")
      >>> row.format(), row._replace(mark="READ", origin="secondary").format()
      ('6.50 (unverified)', '6.50 (secondary)')
      >>> row._replace(value=None, mark="NOT FOUND").format()
      'not available'
    """
    if self.value is None:
      return UNKNOWN
    text = format_number(self.value, _DECIMALS.get(self.metric, 2))
    return f"{text} ({self.note})" if self.note else text

  @property
  def note(self) -> str:
    """Say what keeps the number from being the paper's own word; empty where nothing does."""
    note = self.origin if self.verified else "unverified"
    return "" if note in ("paper", "authors") else note


class Paper(NamedTuple):
  """Hold a paper's citation and its numbers."""

  name: str
  title: str
  citation: str
  arxiv: str
  numbers: tuple[Number, ...]

  def find(self, setting: str, method: str, metric: str) -> Number:
    """Return one number; where the data have none, it is marked as not found.

    Example:
      >>> load("liu2016").find("mnist", "m=2", "accuracy").value
      99.68
      >>> load("liu2016").find("mnist", "m=2", "ece").format()
      'not available'
    """
    wanted = (setting, method, metric)
    for number in self.numbers:
      if (number.setting, number.method, number.metric) == wanted:
        return number
    return Number(self.name, "", setting, method, metric, None, "NOT FOUND")


def names() -> list[str]:
  """List the papers that there are numbers of.

  Example:
    >>> "liu2016" in names()
    True
  """
  return sorted(path.stem for path in _DIRECTORY.glob("*.json"))


@functools.cache
def load(name: str) -> Paper:
  """Load a paper's numbers.

  Args:
    name: one of `names`.

  Returns:
    The paper.

  Raises:
    ValueError: there is no such paper, or its data break the schema.
  """
  path = _DIRECTORY / f"{name}.json"
  if not path.is_file():
    raise ValueError(f"Got the paper {name!r}; the papers are {', '.join(names())}.")
  return parse(json.loads(path.read_text(encoding="utf-8")))


def parse(plain: dict) -> Paper:
  """Turn a data file's content into a paper, and check it.

  Args:
    plain: an object with `name`, `title`, `citation`, `arxiv` and `numbers`, a list of objects
      whose keys are the fields of `Number`.

  Returns:
    The paper.

  Raises:
    ValueError: a field is missing or unknown, a mark does not fit its value, or two numbers stand
      for one thing.
  """
  fields = {"name", "title", "citation", "arxiv", "numbers"}
  if set(plain) != fields:
    raise ValueError(f"a paper has the fields {sorted(fields)}; got {sorted(plain)}")
  numbers, seen = [], set()
  for row in plain["numbers"]:
    try:
      number = Number(paper=plain["name"], **row)
    except TypeError as error:
      raise ValueError(f"{plain['name']}: {row} is not a number of a paper: {error}") from None
    _check(number)
    key = (number.setting, number.method, number.metric)
    if key in seen:
      raise ValueError(f"{plain['name']}: {', '.join(key)} stands there twice; keep one")
    seen.add(key)
    numbers.append(number)
  return Paper(**plain | {"numbers": tuple(numbers)})


def _check(number: Number) -> None:
  where = f"{number.paper}: {number.setting}, {number.method}, {number.metric}"
  if number.mark not in MARKS:
    raise ValueError(f"{where}: got the mark {number.mark!r}; the marks are {', '.join(MARKS)}")
  if (number.value is None) != (number.mark == "NOT FOUND"):
    raise ValueError(f"{where}: NOT FOUND has no value, and every other mark has one")
  if number.value is not None and not math.isfinite(number.value):
    raise ValueError(f"{where}: got {number.value}; a published number is finite")
  if (number.mark == "READ") != bool(number.source):
    raise ValueError(f"{where}: READ names its source, and no other mark has one")
  if number.origin not in (ORIGINS if number.mark == "READ" else ("",)):
    raise ValueError(
      f"{where}: got the origin {number.origin!r}; what was READ has one of {', '.join(ORIGINS)}, "
      "and nothing else has one"
    )
