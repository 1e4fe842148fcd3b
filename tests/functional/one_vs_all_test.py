"""One-against-all logistic loss against mpmath and PyTorch."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softmax_research.functional import one_vs_all_cross_entropy
from tests.derivatives import check_derivatives

LOGITS = np.array([[0.4, -1.7, 2.2], [30.0, 0.0, -20.0]])
LABELS = np.array([1, 0])


def _loss(row, targets):
  terms = []
  for z, q in zip(row, targets, strict=True):
    sigma = 1 / (1 + mpmath.exp(-mpmath.mpf(float(z))))
    terms += [q * mpmath.log(sigma), (1 - q) * mpmath.log(1 - sigma)]
  return float(-mpmath.fsum(terms))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-60, 60, width=32), min_size=3, max_size=3), st.integers(0, 2))
def test_against_mpmath(row, label):
  with mpmath.workdps(60):
    expected = _loss(row, np.eye(3)[label])
  loss = one_vs_all_cross_entropy(jnp.array(row, jnp.float32), label)
  np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_gradient_is_each_probability_minus_its_target():
  sigma = 1 / (1 + np.exp(-LOGITS))
  soft = np.array([[0.2, 1.0, 0.0], [0.9, 0.5, 0.7]])
  with jax.enable_x64(True):
    gradient = jax.grad(lambda z: one_vs_all_cross_entropy(z, LABELS).sum())(LOGITS)
    soft_gradient = jax.grad(lambda z: one_vs_all_cross_entropy(z, soft).sum())(LOGITS)
    check_derivatives(one_vs_all_cross_entropy, LOGITS[0], soft[0])
  np.testing.assert_allclose(gradient, sigma - np.eye(3)[LABELS], rtol=1e-12, atol=1e-14)
  np.testing.assert_allclose(soft_gradient, sigma - soft, rtol=1e-12, atol=1e-14)


def test_values_against_pytorch():
  torch = pytest.importorskip("torch")
  soft = np.array([[0.2, 1.0, 0.0], [0.9, 0.5, 0.7]])
  expected = torch.nn.functional.binary_cross_entropy_with_logits(
    torch.tensor(LOGITS), torch.tensor(soft), reduction="none"
  ).sum(-1)
  with jax.enable_x64(True):
    np.testing.assert_allclose(one_vs_all_cross_entropy(LOGITS, soft), expected, rtol=1e-13)


def test_integers_are_one_hot():
  hard = one_vs_all_cross_entropy(LOGITS, LABELS)
  np.testing.assert_allclose(one_vs_all_cross_entropy(LOGITS, np.eye(3)[LABELS]), hard, rtol=1e-6)


def test_small_losses_keep_their_digits():
  loss = one_vs_all_cross_entropy(jnp.array([25.0, -25.0]), 0)
  np.testing.assert_allclose(loss, 2 * np.log1p(np.exp(-25)), rtol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_up_to_ten_thousand(dtype):
  logits = jnp.array([[1e4, -1e4, 0.0], [1e4, -1e4, 0.0]], dtype)
  loss, pull_back = jax.vjp(lambda z: one_vs_all_cross_entropy(z, [0, 1]), logits)
  assert loss.dtype == dtype
  wide = np.asarray(logits, np.float64)[0, 0]
  np.testing.assert_allclose(np.asarray(loss, np.float64), [np.log(2), 2 * wide], rtol=5e-3)
  np.testing.assert_allclose(
    np.asarray(pull_back(jnp.ones(2, dtype))[0], np.float64), [[0, 0, 0.5], [1, -1, 0.5]], rtol=5e-3
  )


def test_impossible_and_masked_classes():
  where = np.array([True, True, False])
  expected = one_vs_all_cross_entropy(LOGITS[:, :2], LABELS)
  np.testing.assert_allclose(
    one_vs_all_cross_entropy(LOGITS, LABELS, where=where), expected, rtol=1e-6
  )
  impossible = jnp.where(where, LOGITS, -jnp.inf)
  for labels in (LABELS, np.eye(3)[LABELS]):
    loss, pull_back = jax.vjp(lambda z, y=labels: one_vs_all_cross_entropy(z, y), impossible)
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    np.testing.assert_array_equal(pull_back(jnp.ones(2))[0][:, 2], [0, 0])
  assert one_vs_all_cross_entropy(impossible[0], 2) == jnp.inf
  assert one_vs_all_cross_entropy(impossible[0], jnp.array([0.0, 0.5, 0.5])) == jnp.inf


def test_axis_and_small_shapes():
  expected = one_vs_all_cross_entropy(LOGITS, LABELS)
  np.testing.assert_allclose(
    one_vs_all_cross_entropy(LOGITS.T, LABELS, axis=0), expected, rtol=1e-6
  )
  assert one_vs_all_cross_entropy(jnp.zeros((0, 3)), jnp.zeros(0, int)).shape == (0,)
  np.testing.assert_allclose(one_vs_all_cross_entropy(jnp.zeros(1), 0), np.log(2), rtol=1e-6)


def test_bad_labels():
  assert jnp.all(jnp.isnan(one_vs_all_cross_entropy(LOGITS, [3, -1])))
  with pytest.raises(ValueError, match="one class index"):
    one_vs_all_cross_entropy(LOGITS, [0])
  with pytest.raises(TypeError, match="type bool"):
    one_vs_all_cross_entropy(LOGITS, np.zeros((2, 3), bool))
