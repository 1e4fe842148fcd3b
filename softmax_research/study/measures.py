"""Measures: how a number of a record is named, scaled and printed."""

import math
from collections.abc import Sequence
from typing import NamedTuple

MISSING = "–"

_LABELS = {
  "brier": "Brier",
  "cv_accuracy": "cross-validation accuracy",
  "cv_std": "standard deviation over folds",
  "ece": "ECE",
  "known": "boxes found given the class",
  "macro_f1": "macro F1",
  "mce": "MCE",
  "mean_average_precision": "mAP",
  "micro_f1": "micro F1",
  "nll": "NLL",
  "step_ms": "milliseconds a step",
  "top_1": "boxes found with their class",
}
_NATS = ("nll", "information", "estimate", "truth", "bias")
_OF_SETS = ("mean_average_precision", "micro_f1", "macro_f1", "exact_match")
_SHARES = ("error", "ece", "mce", "cv_std", "known", "top_1", *_OF_SETS)
_HIGHER_IS_BETTER = ("information", "known", "top_1", *_OF_SETS)
_DECIMALS = {"perplexity": 1, "minutes": 2, "rank": 0, "step_ms": 2}
_DECIMALS_OF_UNIT = {"%": 2, "degrees": 1}


class Measure(NamedTuple):
  """Say how a number of the records is printed.

  Attributes:
    key: its path in a record, as `record.look_up` takes it.
    label: its name in a report.
    unit: of a printed value: `%`, `nats` or empty.
    scale: factor from the record's number to the printed one.
    decimals: of the printed number.
    higher_is_better: whether a larger value is the better one.
  """

  key: str
  label: str
  unit: str
  scale: float
  decimals: int
  higher_is_better: bool

  @property
  def title(self) -> str:
    """Return its label with the unit of its values."""
    return f"{self.label}, {self.unit}" if self.unit else self.label

  @property
  def difference_unit(self) -> str:
    """Return the unit of a difference: percentages differ by points."""
    return "points" if self.unit == "%" else self.unit

  def format(self, value: float, *, signed: bool = False) -> str:
    """Return a record's number as it is printed, without its unit."""
    return format_number(value * self.scale, self.decimals, signed=signed)

  def format_interval(self, low: float, high: float, *, signed: bool = False) -> str:
    """Return an interval in brackets, or a dash where it is undefined."""
    if math.isnan(low):
      return MISSING
    return f"[{self.format(low, signed=signed)}, {self.format(high, signed=signed)}]"

  def format_detectable(self, value: float) -> str:
    """Return a detectable difference; two percentages never differ by more than 100."""
    if self.unit == "%" and value * self.scale > 100:
      return "more than 100"
    return self.format(value)


def measure_of(path: str) -> Measure:
  """Say how a number is printed, by its path in a record, whose places in lists do not matter.

  Example:
    >>> measure_of("selected/error").format(0.004), measure_of("nll").unit
    ('0.40', 'nats')
  """
  name = next((part for part in reversed(path.split("/")) if not part.isdigit()), path)
  share = name in _SHARES or name.endswith("accuracy")
  unit = "%" if share else "nats" if name in _NATS else ""
  unit = "degrees" if name.startswith("angle") else unit
  return Measure(
    key=path,
    label=_LABELS.get(name, name.replace("_", " ")),
    unit=unit,
    scale=100.0 if share else 1.0,
    decimals=_DECIMALS.get(name, _DECIMALS_OF_UNIT.get(unit, 4)),
    higher_is_better=name.endswith("accuracy") or name in _HIGHER_IS_BETTER,
  )


def as_measure(measure: str | Measure) -> Measure:
  """Return a measure that is given as such or by its path."""
  return measure_of(measure) if isinstance(measure, str) else measure


def as_measures(measures: str | Measure | Sequence[str | Measure]) -> list[Measure]:
  """Return measures of which one or several are given, each as such or by its path."""
  return list(map(as_measure, [measures] if isinstance(measures, str | Measure) else measures))


def format_number(value: float, decimals: int, *, signed: bool = False) -> str:
  """Return a number with so many decimals and a true minus sign; NaN is a dash, infinity its sign.

  A value that rounds to zero has no sign.
  """
  if math.isnan(value):
    return MISSING
  text = "∞" if math.isinf(value) else f"{abs(value):.{decimals}f}"
  if text.strip("0.") == "":
    return text
  return ("−" if value < 0 else "+" if signed else "") + text


def format_p_value(value: float) -> str:
  """Return a p-value with two significant digits, and no more than three decimals."""
  if math.isnan(value):
    return MISSING
  if value < 0.001:
    return "< 0.001"
  return f"{value:.3f}" if value < 0.0995 else f"{value:.2f}"
