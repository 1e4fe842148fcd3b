"""The released arithmetic against loops over its description, entry by entry."""

import jax.numpy as jnp
import numpy as np

from experiments.released import arithmetic


def _values():
  return np.exp(2 * np.random.default_rng(3).normal(size=(20, 5)))


def test_a_tiled_denominator_is_right_only_where_the_sums_agree():
  values = _values()
  released = arithmetic.tiled_denominator(values)
  sums = values.sum(1)
  for i in range(20):
    for j in range(5):
      assert released[i, j] == values[i, j] / sums[(5 * i + j) % 20]
  equal = np.ones((20, 5))
  np.testing.assert_array_equal(arithmetic.tiled_denominator(equal).sum(1), 1)


def test_a_sum_over_the_batch_makes_rows_sum_to_little():
  values = _values()
  rows = arithmetic.batch_margin(values, np.exp(-0.6) * values).sum(1)
  assert rows.max() < 1 and 0.3 < rows.sum() < 1


def test_jax_computes_the_same():
  values = _values()
  for function in (
    arithmetic.tiled_denominator,
    arithmetic.keras_probs,
    arithmetic.keras_one_hot_probs,
  ):
    computed = function(jnp.asarray(values, jnp.float32))
    np.testing.assert_allclose(computed, function(values), rtol=1e-5)
