"""Programs of many seeds: over devices, and each seed as if it were alone."""

import jax
import numpy as np

from experiments.information import programs


def test_a_seeds_key_and_share_do_not_depend_on_the_others():
  def draw(key, x, shared):
    return {"drawn": jax.random.normal(key, (2,)), "sum": x + shared}

  seeds = tuple(range(12))
  found, _ = programs.run_seeds(draw, seeds, np.arange(12.0), shared=np.float32(1))
  np.testing.assert_array_equal(found["sum"], np.arange(12.0) + 1)
  alone, _ = programs.run_seeds(draw, (7,), np.array([7.0]), shared=np.float32(1))
  np.testing.assert_array_equal(alone["drawn"][0], found["drawn"][7])
  assert len(np.unique(found["drawn"])) == 24
