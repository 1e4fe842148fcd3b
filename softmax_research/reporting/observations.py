"""Observations: one number of a run's record, by name and in the unit in which papers print it."""

from typing import Any

from softmax_research.reporting.measures import Measure
from softmax_research.reporting.records import as_float

_LABELS = {
  "ece": "ECE",
  "mce": "MCE",
  "nll": "NLL",
  "cv_accuracy": "cross-validation accuracy",
  "cv_std": "standard deviation over folds",
  "step_ms": "milliseconds a step",
}
_NATS = ("nll", "information", "bias")
_DECIMALS = {"perplexity": 1, "minutes": 2, "step_ms": 2}
_DECIMALS_OF_UNIT = {"%": 2, "degrees": 1}


def observe(record: dict[str, Any], metric: str) -> float:
  """Return a number of a run.

  Args:
    record: of a finished run.
    metric: `accuracy` and the like are of the last epoch on the test split; `selected/accuracy` of
      the epoch that the validation split chose; `metrics/balanced/as_is/nll` leads there from the
      record; anything else is looked up in its `measured`. Parts are parted by `/`.

  Returns:
    The number, shares in percent; NaN where the record has none.

  Example:
    >>> record = {"metrics": {"test": {"accuracy": 0.5}}, "measured": {"histogram": {"nll": 2.0}}}
    >>> observe(record, "accuracy"), observe(record, "histogram/nll")
    (50.0, 2.0)
  """
  *path, name = metric.split("/")
  test = (record.get("metrics") or {}).get("test") or {}
  if path[:1] in (["selected"], ["metrics"]):
    node = record
  elif not path and name in test:
    node = test
  else:
    node = record.get("measured")
  for part in path:
    node = (node or {}).get(part)
  value = as_float((node or {}).get(name))
  return 100 * value if _is_share(name) else value


def measure_of(metric: str) -> Measure:
  """Say how a number that `observe` returned is printed.

  Example:
    >>> measure_of("selected/error").format(0.4), measure_of("nll").unit
    ('0.40', 'nats')
  """
  name = metric.rpartition("/")[2]
  unit = "%" if _is_share(name) else "nats" if name in _NATS else ""
  unit = "degrees" if name.startswith("angle") else unit
  label = _LABELS.get(name, name.replace("_", " "))
  higher = name.endswith("accuracy") or name == "information"
  decimals = _DECIMALS.get(name, _DECIMALS_OF_UNIT.get(unit, 4))
  return Measure(metric, label, unit, 1.0, decimals, higher)


def _is_share(name: str) -> bool:
  return name in ("error", "ece", "mce", "cv_std") or name.endswith("accuracy")
