"""Papers: the numbers that they published, as data, each with marks that say who read it where."""

import functools
import json
import math
import pathlib
from typing import NamedTuple

from softmax_research.study.measures import format_number, measure_of

_DIRECTORY = pathlib.Path(__file__).parent / "published"
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
    mark: READ in the source named; RECALLED, believed right and read nowhere; or NOT FOUND.
    origin: where it was read: in the `paper`, in code, notebooks or README of its `authors`, in
      another's transcription (`secondary`), or in another's run of the method (`reproduction`).
    source: the page, in words.
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
    """Return the number in the unit of records, in which shares are shares, or NaN."""
    if self.value is None:
      return math.nan
    return round(self.value / measure_of(self.metric).scale, 9)

  def format(self) -> str:
    """Return the number as a report prints it: what nobody read in the paper says so."""
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
  """Hold a paper's citation and its numbers; `arxiv` is empty where it is not there."""

  name: str
  title: str
  citation: str
  arxiv: str
  numbers: tuple[Number, ...]

  def find(self, setting: str, method: str, metric: str) -> Number:
    """Return one number; where the data have none, it is marked as not found."""
    wanted = (setting, method, metric)
    for number in self.numbers:
      if (number.setting, number.method, number.metric) == wanted:
        return number
    return Number(self.name, "", setting, method, metric, None, "NOT FOUND")


def names() -> list[str]:
  """List the papers that there are numbers of."""
  return sorted(path.stem for path in _DIRECTORY.glob("*.json"))


@functools.cache
def load(name: str) -> Paper:
  """Load a paper's numbers; a ValueError lists the papers where there is none of that name."""
  path = _DIRECTORY / f"{name}.json"
  if not path.is_file():
    raise ValueError(f"Got the paper {name!r}; the papers are {', '.join(names())}.")
  plain = json.loads(path.read_text(encoding="utf-8"))
  numbers = tuple(Number(paper=name, **row) for row in plain["numbers"])
  return Paper(**plain | {"numbers": numbers})
