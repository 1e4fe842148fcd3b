"""Checks of settings."""

import pytest

from softmax_research import study


def test_numbers_lie_within_bounds():
  study.check_numbers("errors", (0.0, 0.5, 1.0), 0, 1)
  study.check_numbers("seeds", 2, 2)
  for values, message in (
    ((), r"Got no --errors; pass one number in \[0, 1\] or more"),
    ((0.5, 1.5), r"Got --errors=1.5; it must be in \[0, 1\]"),
    (float("nan"), "errors=nan"),
  ):
    with pytest.raises(ValueError, match=message):
      study.check_numbers("errors", values, 0, 1)
  with pytest.raises(ValueError, match="seeds=1; it must be at least 2"):
    study.check_numbers("seeds", 1, 2)
