"""Parameters of a tree softmax: their size, scale and checks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softmax_research.functional import balanced_tree, tree_init
from softmax_research.functional.tree_parameters import check_tree_inputs, row_logits, take_runs


def test_init():
  params = tree_init(jax.random.key(0), 200, balanced_tree(100, branching=3))
  assert params["kernel"].shape == (149, 200) and params["kernel"].dtype == jnp.float32
  np.testing.assert_allclose(jnp.std(params["kernel"]), 200**-0.5, rtol=0.02)
  np.testing.assert_array_equal(params["bias"], np.zeros(149))


def test_a_binary_tree_has_half_the_rows():
  assert tree_init(jax.random.key(0), 3, balanced_tree(100))["kernel"].shape == (99, 3)
  assert tree_init(jax.random.key(0), 3, balanced_tree(1))["kernel"].shape == (0, 3)


def test_logits_of_shared_and_of_each_example_s_own_rows():
  rng = np.random.default_rng(0)
  features = jnp.asarray(rng.normal(size=(2, 3, 4)), jnp.float32)
  kernel = jnp.asarray(rng.normal(size=(2, 3, 5, 4)), jnp.float32)
  bias = jnp.asarray(rng.normal(size=(2, 3, 5)), jnp.float32)
  expected = np.sum(np.asarray(kernel) * features[..., None, :], -1) + bias
  own = row_logits(features, {"kernel": kernel, "bias": bias})
  np.testing.assert_allclose(own, expected, rtol=1e-5, atol=1e-6)
  shared = row_logits(features, {"kernel": kernel[0, 0], "bias": bias[0, 0]})
  np.testing.assert_allclose(shared[0, 0], expected[0, 0], rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(
    shared[1, 2], kernel[0, 0] @ features[1, 2] + bias[0, 0], rtol=1e-5, atol=1e-6
  )


@pytest.mark.parametrize(
  ("features", "kernel", "bias"),
  [((2, 3), (4, 5), (4,)), ((2, 3), (5, 3), (5,)), ((2, 3), (4, 3), (5,)), ((), (4, 3), (4,))],
)
def test_shapes_that_do_not_fit(features, kernel, bias):
  params = {"kernel": np.zeros(kernel), "bias": np.zeros(bias)}
  with pytest.raises(ValueError, match=r"they must be \[4, D\] and \[4\]"):
    check_tree_inputs(np.zeros(features), params, 4)


def test_runs_of_rows():
  params = {"kernel": jnp.arange(12.0).reshape(6, 2), "bias": jnp.arange(6.0)}
  starts = jnp.array([[3, 0, 1], [2, 2, 3]])
  rows = np.asarray(starts)[..., None] + np.arange(3)
  runs = take_runs(params, starts, 3)
  for name in params:
    np.testing.assert_array_equal(runs[name], np.asarray(params[name])[rows])
