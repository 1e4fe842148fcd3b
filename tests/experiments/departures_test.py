"""The departures of released code: the formulas' side against this library."""

import pathlib
import re

import jax
import numpy as np

from experiments import departures
from softmax_research import functional

_NUMBER = re.compile(r"[+-]?\d+\.\d+")


def _problem():
  rng = np.random.default_rng(3)
  return 2 * rng.normal(size=(20, 5)), rng.integers(0, 5, 20)


def test_the_formulas_side_is_the_librarys():
  logits, labels = _problem()
  with jax.enable_x64(True):
    taylor = functional.taylor_softmax(logits, order=6)
    loss = functional.cross_entropy(functional.soft_margin(logits, labels, margin=0.6), labels)
  np.testing.assert_allclose(departures.formula_probs(departures.series(logits, 6)), taylor)
  lowered = np.exp(logits - 0.6 * np.eye(5)[labels])
  np.testing.assert_allclose(departures.keras_loss(departures.formula_probs(lowered), labels), loss)


def test_the_documentation_has_the_numbers_of_the_defaults():
  page = pathlib.Path(__file__).resolve().parents[2] / "docs" / "differences.rst"
  shown = set(_NUMBER.findall(page.read_text(encoding="utf-8")))
  for departure in departures.measure(100, 10, 2.0, 0):
    assert set(_NUMBER.findall(departure.effect)) <= shown, departure


def test_the_table_has_a_line_for_each_departure():
  lines = departures.table(departures.measure(50, 10, 2.0, 0)).splitlines()
  assert len(lines) == 2 + 7
  assert all(line.count("|") == 5 for line in lines)
