"""How numbers are printed."""

import math

import pytest

from softmax_research.reporting import measures


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
  assert measures.ACCURACY.format(0.98765) == "98.77"
  assert measures.ACCURACY.difference_unit == "points"
  assert measures.ACCURACY.format_detectable(0.025) == "2.50"
  assert measures.ACCURACY.format_detectable(1.5) == "more than 100"
  assert measures.NLL.format_detectable(1.5) == "1.5000"
  assert measures.NLL.difference_unit == "nats"
