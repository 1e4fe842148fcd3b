"""The departures of released code: the formulas' side against this library, and the known sums."""

import jax
import numpy as np

from experiments import departures
from softmax_research import functional


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


def test_a_tiled_denominator_is_right_only_where_the_sums_agree():
  values = np.exp(_problem()[0])
  released = departures.tiled_denominator(values)
  sums = values.sum(1)
  for i in range(20):
    for j in range(5):
      assert released[i, j] == values[i, j] / sums[(5 * i + j) % 20]
  equal = np.ones((20, 5))
  np.testing.assert_array_equal(departures.tiled_denominator(equal).sum(1), 1)


def test_a_sum_over_the_batch_makes_rows_sum_to_little():
  values = np.exp(_problem()[0])
  rows = departures.batch_margin(values, np.exp(-0.6) * values).sum(1)
  assert rows.max() < 1 and 0.3 < rows.sum() < 1


def test_the_table_has_a_line_for_each_departure():
  lines = departures.table(departures.measure(50, 10, 2.0, 0)).splitlines()
  assert len(lines) == 2 + 7
  assert all(line.count("|") == 5 for line in lines)
