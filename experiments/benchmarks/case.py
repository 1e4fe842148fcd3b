"""Case: one thing that is timed, done by ours and by peers that do the same."""

from collections.abc import Callable
from typing import NamedTuple

#: Does the work once and returns when it is finished.
Run = Callable[[], None]
#: Makes whatever the work needs, in the process that it is timed in, and returns the work.
Side = Callable[[], Run]

OURS = "ours"


class Case(NamedTuple):
  """Hold what is compared.

  Attributes:
    name: what is done, with its sizes.
    sides: `ours` and the peers by name.
    count: how many units of work a run does; times are per unit.
  """

  name: str
  sides: dict[str, Side]
  count: int = 1

  def peers(self) -> list[str]:
    """List the names of the peers."""
    return [name for name in self.sides if name != OURS]
