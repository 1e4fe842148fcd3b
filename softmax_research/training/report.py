"""Report: the few numbers of a state that the loop looks at between calls."""

from typing import NamedTuple

import numpy as np


class Divergence(NamedTuple):
  """Hold where a run met a loss that is not finite."""

  step: int
  last_finite_loss: float | None


class Report(NamedTuple):
  """Hold numbers of each seed `[S]`; see `TrainState` for what they are.

  Example:
    >>> report = Report(*map(np.array, ([7, 3], [1.5, 2.0], [0.5, 0.6], [-1, 3])))
    >>> report.position(), report.goes_on(10), report.divergences()[0]
    (7, True, None)
  """

  step: np.ndarray
  loss_sum: np.ndarray
  last_finite_loss: np.ndarray
  bad_step: np.ndarray

  def position(self) -> int:
    """Return the number of steps made by the seeds that are well."""
    return int(self.step.max())

  def goes_on(self, num_steps: int) -> bool:
    """Say whether any seed has steps left to make."""
    return bool(np.any((self.bad_step < 0) & (self.step < num_steps)))

  def divergences(self) -> list[Divergence | None]:
    """Return for each seed None, or where its loss ceased to be finite."""
    losses = [float(loss) if np.isfinite(loss) else None for loss in self.last_finite_loss]
    return [
      Divergence(int(step), loss) if step >= 0 else None
      for step, loss in zip(self.bad_step, losses, strict=True)
    ]
