"""Verdicts: what paired differences say of a claim."""

import math

from softmax_research.reporting.comparisons import LEVEL
from softmax_research.reporting.statistics import PairedDifference

HOLDS, DOES_NOT_HOLD, UNDECIDED = "holds", "does not hold", "undecided"


def decide(sign: int, paired: PairedDifference, p_corrected: float, margin: float) -> str:
  """Decide a claim from its paired differences.

  A claimed difference holds if it is significant in that direction; it does not hold if it is
  significant in the other, or the whole interval lies within the margin. No difference holds if
  the whole interval lies within the margin, and does not if one is significant.

  Args:
    sign: +1, -1 or 0.
    paired: the differences.
    p_corrected: the corrected p-value; NaN where there is no spread or no pair.
    margin: what counts as no difference.

  Returns:
    `holds`, `does not hold` or `undecided`.

  Example:
    >>> from softmax_research import reporting
    >>> paired = reporting.paired_difference([0.91, 0.93, 0.92], [0.90, 0.91, 0.91])
    >>> decide(1, paired, 0.02, 0.005), decide(0, paired, 0.02, 0.005)
    ('holds', 'does not hold')
  """
  same = -margin < paired.low and paired.high < margin  # False for NaN.
  significant = p_corrected < LEVEL
  if sign == 0:
    return HOLDS if same else DOES_NOT_HOLD if significant else UNDECIDED
  if significant and not math.isnan(paired.mean):
    return HOLDS if paired.mean * sign > 0 else DOES_NOT_HOLD
  return DOES_NOT_HOLD if same else UNDECIDED


def combine(verdicts: list[str]) -> str:
  """Return the verdict on a claim that says several things: all must hold, one can refute it.

  Example:
    >>> combine(["holds", "undecided"]), combine(["undecided", "does not hold"])
    ('undecided', 'does not hold')
  """
  if DOES_NOT_HOLD in verdicts:
    return DOES_NOT_HOLD
  return UNDECIDED if UNDECIDED in verdicts else HOLDS
