"""Checks of arguments."""

import jax
import numpy as np
import pytest

from softmax_research.functional.arguments import check_at_least, check_epsilon, check_fraction


@pytest.mark.parametrize("value", [0, 0.5, np.float32(2), np.array([0.0, 3.0])])
def test_at_least_accepts(value):
  check_at_least("margin", value, 0, "Remedy.")


@pytest.mark.parametrize("value", [-1e-9, np.inf, np.nan, None, np.array([1.0, -1.0])])
def test_at_least_refuses(value):
  with pytest.raises(ValueError, match=r"margin=.*>= 0\. Remedy\."):
    check_at_least("margin", value, 0, "Remedy.")


def test_strict_bound_is_excluded():
  with pytest.raises(ValueError, match=r"> 0\. Remedy\."):
    check_at_least("temperature", 0.0, 0, "Remedy.", strict=True)


@pytest.mark.parametrize("value", [-0.1, 1.0, np.nan, np.array([0.1, 1.0])])
def test_fraction_refuses(value):
  with pytest.raises(ValueError, match=r"label_smoothing=.*\[0, 1\)"):
    check_fraction("label_smoothing", value)


def test_fractions_of_several_examples():
  check_fraction("label_smoothing", np.array([0.0, 0.1]))


def test_one_is_a_fraction_where_it_is_allowed():
  check_fraction("label_smoothing", 1.0, or_one=True)
  with pytest.raises(ValueError, match=r"\[0, 1\]"):
    check_fraction("label_smoothing", 1.1, or_one=True)


@pytest.mark.parametrize("value", [0.0, -1.0, 1e-60, np.inf])
def test_epsilon_refuses(value):
  with pytest.raises(ValueError, match=r"Pass 0\.01 or so"):
    check_epsilon(value, typical=0.01)


def test_tracers_pass():
  @jax.jit
  def traced(value):
    check_at_least("margin", value, 0, "Remedy.")
    check_fraction("label_smoothing", value)
    check_epsilon(value, typical=1)
    return value

  assert traced(-1.0) == -1.0
