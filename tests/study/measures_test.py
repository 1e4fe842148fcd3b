"""How numbers are printed."""

import math

import pytest

from softmax_research.study import measures
from softmax_research.study.measures import measure_of


@pytest.mark.parametrize(
  ("value", "signed", "text"),
  [
    (1.005, False, "1.00"),
    (-1.25, False, "−1.25"),
    (1.25, True, "+1.25"),
    (-0.004, True, "0.00"),
    (0.0, True, "0.00"),
    (math.nan, True, "–"),
    (math.inf, False, "∞"),
    (-math.inf, True, "−∞"),
  ],
)
def test_numbers(value, signed, text):
  assert measures.format_number(value, 2, signed=signed) == text


@pytest.mark.parametrize(
  ("value", "text"),
  [
    (0.0009, "< 0.001"),
    (0.001, "0.001"),
    (0.0496, "0.050"),
    (0.0994, "0.099"),
    (0.0996, "0.10"),
    (1.0, "1.00"),
    (math.nan, "–"),
  ],
)
def test_p_values(value, text):
  assert measures.format_p_value(value) == text


def test_percentages_differ_by_points():
  accuracy, nll = measure_of("accuracy"), measure_of("nll")
  assert accuracy.format(0.98765) == "98.77" and accuracy.title == "accuracy, %"
  assert (accuracy.difference_unit, nll.difference_unit) == ("points", "nats")
  assert accuracy.format_detectable(0.025) == "2.50"
  assert accuracy.format_detectable(1.5) == "more than 100"
  assert nll.format_detectable(1.5) == "1.5000"
  assert accuracy.format_interval(0.5, 0.25, signed=True) == "[+50.00, +25.00]"
  assert nll.format_interval(math.nan, math.nan) == "–"


@pytest.mark.parametrize(
  ("path", "printed"),
  [
    ("selected/error", ("error", "%", 100.0, 2, False)),
    ("metrics/balanced/as_is/macro_accuracy", ("macro accuracy", "%", 100.0, 2, True)),
    ("nll", ("NLL", "nats", 1.0, 4, False)),
    ("information", ("information", "nats", 1.0, 4, True)),
    ("perplexity", ("perplexity", "", 1.0, 1, False)),
    ("angle_margin", ("angle margin", "degrees", 1.0, 1, False)),
    ("brier", ("Brier", "", 1.0, 4, False)),
  ],
)
def test_measures_are_known_by_their_paths(path, printed):
  assert measure_of(path) == (path, *printed)
  assert measures.as_measure(path) == measures.as_measure(measure_of(path)) == measure_of(path)
