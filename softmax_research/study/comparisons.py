"""Comparisons: paired tests of groups against the first one, over the seeds that both finished."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from softmax_research.study import statistics
from softmax_research.study.groups import Group
from softmax_research.study.measures import Measure


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
  paired: statistics.PairedDifference
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

  Args:
    groups: the first is the one to compare with.
    measure: what is compared.

  Returns:
    A difference for each group but the first.
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
