"""Comparisons of heads with the first head over the seeds that both finished."""

import math
from typing import NamedTuple

from softmax_research.reporting import statistics
from softmax_research.reporting.records import HeadRecords

LEVEL = 0.05
POWER = 0.8


class Comparison(NamedTuple):
  """Compare one head with the first one on one metric.

  Attributes:
    head: Name of the head that is compared.
    seeds: Seeds that both heads finished.
    differences: Difference for each of these seeds, head minus first head.
    paired: Summary and test of the differences.
    p_corrected: P-value after Holm's correction over all the heads compared.
    detectable: Smallest true difference that would have been found with 80% power.
  """

  head: str
  seeds: tuple[int, ...]
  differences: tuple[float, ...]
  paired: statistics.PairedDifference
  p_corrected: float
  detectable: float

  @property
  def significant(self) -> bool:
    """Return whether the corrected p-value is below the level."""
    return self.p_corrected < LEVEL


def compare_heads(heads: list[HeadRecords], metric: str) -> list[Comparison]:
  """Compare every head with the first one by paired t-tests over their common seeds.

  The detectable difference is taken at the level over the number of comparisons, which is the
  level that the smallest p-value has to meet in Holm's method.

  Args:
    heads: Heads; the first is the one to compare with.
    metric: Name of a metric in the records.

  Returns:
    One comparison for each head but the first.
  """
  baseline = heads[0].values(metric)
  pairs = []
  for head in heads[1:]:
    values = head.values(metric)
    seeds = tuple(seed for seed in values if seed in baseline)
    left, right = [values[seed] for seed in seeds], [baseline[seed] for seed in seeds]
    paired = statistics.paired_difference(left, right)
    # An infinite loss has no difference: infinity less infinity is undefined.
    finite = [math.isfinite(a) and math.isfinite(b) for a, b in zip(left, right, strict=True)]
    differences = tuple(
      a - b if ok else math.nan for a, b, ok in zip(left, right, finite, strict=True)
    )
    pairs.append((head.name, seeds, differences, paired))
  corrected = statistics.holm([paired.p_value for *_, paired in pairs])
  level = LEVEL / max(1, sum(not math.isnan(p) for p in corrected))
  return [
    Comparison(
      name,
      seeds,
      differences,
      paired,
      float(p_corrected),
      statistics.detectable_difference(paired.std, paired.n, level=level, power=POWER),
    )
    for (name, seeds, differences, paired), p_corrected in zip(pairs, corrected, strict=True)
  ]
