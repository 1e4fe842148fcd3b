"""Measures of a classifier, as a report names, scales and prints them."""

import math
from typing import NamedTuple

MISSING = "–"


class Measure(NamedTuple):
  """Say how a metric of the records is printed.

  Attributes:
    key: Name of the metric in the records.
    label: Name in a report.
    unit: Unit of a value: `%`, `nats` or empty.
    scale: Factor from the record's number to the printed one.
    decimals: Decimals of the printed number.
    higher_is_better: Whether a larger value is the better one.
  """

  key: str
  label: str
  unit: str
  scale: float
  decimals: int
  higher_is_better: bool

  @property
  def difference_unit(self) -> str:
    """Return the unit of a difference: percentages differ by points."""
    return "points" if self.unit == "%" else self.unit

  def format_detectable(self, value: float) -> str:
    """Return a detectable difference; two percentages never differ by more than 100."""
    if self.unit == "%" and value * self.scale > 100:
      return "more than 100"
    return self.format(value)

  def format(self, value: float, *, signed: bool = False) -> str:
    """Return a record's number as it is printed, without its unit."""
    return format_number(value * self.scale, self.decimals, signed=signed)


ACCURACY = Measure("accuracy", "accuracy", "%", 100.0, 2, True)
ERROR = Measure("error", "error", "%", 100.0, 2, False)
NLL = Measure("nll", "NLL", "nats", 1.0, 4, False)
ECE = Measure("ece", "ECE", "%", 100.0, 2, False)
BRIER = Measure("brier", "Brier", "", 1.0, 4, False)
MACRO_ACCURACY = Measure("macro_accuracy", "macro accuracy", "%", 100.0, 2, True)

SUMMARISED = (ACCURACY, ERROR, NLL, ECE, BRIER, MACRO_ACCURACY)
COMPARED = (ACCURACY, NLL)


def format_number(value: float, decimals: int, *, signed: bool = False) -> str:
  """Return a number with a fixed number of decimals, a true minus sign and words for no number.

  Args:
    value: Number; NaN prints as a dash and infinity as its sign.
    decimals: Number of decimals.
    signed: Whether a plus sign is printed.

  Returns:
    The text. A value that rounds to zero has no sign.

  Example:
    >>> format_number(-0.126, 2), format_number(0.126, 2, signed=True), format_number(-0.001, 2)
    ('−0.13', '+0.13', '0.00')
  """
  if math.isnan(value):
    return MISSING
  text = "∞" if math.isinf(value) else f"{abs(value):.{decimals}f}"
  if text.strip("0.") == "":
    return text
  return ("−" if value < 0 else "+" if signed else "") + text


def format_p_value(value: float) -> str:
  """Return a p-value with two significant digits, and no more than three decimals.

  Example:
    >>> [format_p_value(p) for p in (0.24, 0.0123, 0.00002)]
    ['0.24', '0.012', '< 0.001']
  """
  if math.isnan(value):
    return MISSING
  if value < 0.001:
    return "< 0.001"
  return f"{value:.3f}" if value < 0.0995 else f"{value:.2f}"
