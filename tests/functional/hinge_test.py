"""Multiclass hinge against loops in float64 and PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softmax_research.functional import multiclass_hinge

LOGITS = np.array([[2.0, 1.5, 1.75, -3.0], [0.5, 4.0, -1.0, 3.75]])
LABELS = np.array([0, 3])


def _hinge(row, label, margin, sum_rivals):
  gaps = [max(0, margin + z - row[label]) for j, z in enumerate(row) if j != label]
  return sum(gaps) if sum_rivals else max(gaps, default=0)


@settings(max_examples=30, deadline=None)
@given(
  st.lists(st.floats(-1e4, 1e4, width=32), min_size=3, max_size=3),
  st.integers(0, 2),
  st.booleans(),
)
def test_against_loops(row, label, sum_rivals):
  loss = multiclass_hinge(jnp.array(row, jnp.float32), label, sum_rivals=sum_rivals)
  expected = _hinge(row, label, 1.0, sum_rivals)
  np.testing.assert_allclose(loss, expected, rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("margin", [0.0, 0.5, 2.0])
def test_the_sum_against_pytorch(margin):
  torch = pytest.importorskip("torch")
  logits = torch.tensor(LOGITS, requires_grad=True)
  loss = 4 * torch.nn.functional.multi_margin_loss(
    logits, torch.tensor(LABELS), margin=margin, reduction="none"
  )
  loss.sum().backward()
  with jax.enable_x64(True):
    ours, pull_back = jax.vjp(
      lambda z: multiclass_hinge(z, LABELS, margin=margin, sum_rivals=True), LOGITS
    )
    np.testing.assert_allclose(ours, loss.detach(), rtol=1e-14)
    np.testing.assert_allclose(pull_back(jnp.ones(2))[0], logits.grad, rtol=1e-14)


def test_gradient_of_the_maximum():
  gradient = jax.grad(lambda z: multiclass_hinge(z, LABELS).sum())(LOGITS)
  np.testing.assert_array_equal(gradient, [[-1, 0, 1, 0], [0, 1, 0, -1]])


def test_no_loss_and_no_gradient_once_the_lead_suffices():
  logits = jnp.array([5.0, 1.0, 4.0])
  for sum_rivals in (False, True):
    value, gradient = jax.value_and_grad(
      lambda z, s=sum_rivals: multiclass_hinge(z, 0, sum_rivals=s)
    )(logits)
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros(3))


@pytest.mark.parametrize("sum_rivals", [False, True])
def test_a_distribution_gives_the_expectation(sum_rivals):
  weights = np.array([[0.5, 0.0, 0.2, 0.3], [0.0, 0.0, 1.0, 0.0]])
  loss = multiclass_hinge(LOGITS, weights, sum_rivals=sum_rivals)
  expected = [
    sum(q * _hinge(row, y, 1.0, sum_rivals) for y, q in enumerate(w))
    for row, w in zip(LOGITS, weights, strict=True)
  ]
  np.testing.assert_allclose(loss, expected, rtol=1e-6)
  by_column = multiclass_hinge(LOGITS.T, weights.T, sum_rivals=sum_rivals, axis=0)
  np.testing.assert_array_equal(by_column, loss)


@pytest.mark.parametrize("sum_rivals", [False, True])
def test_impossible_and_masked_classes(sum_rivals):
  where = np.array([True, True, True, False])
  labels = np.array([0, 2])
  expected = multiclass_hinge(LOGITS[:, :3], labels, sum_rivals=sum_rivals)
  masked = multiclass_hinge(LOGITS, labels, sum_rivals=sum_rivals, where=where)
  np.testing.assert_array_equal(masked, expected)
  impossible = jnp.where(where, LOGITS, -jnp.inf)
  loss, pull_back = jax.vjp(
    lambda z: multiclass_hinge(z, labels, sum_rivals=sum_rivals), impossible
  )
  np.testing.assert_array_equal(loss, expected)
  assert jnp.all(jnp.isfinite(pull_back(jnp.ones(2))[0]))
  assert multiclass_hinge(impossible[0], 3, sum_rivals=sum_rivals) == jnp.inf
  weights = jnp.array([0.5, 0.5, 0.0, 0.0])
  assert jnp.isfinite(multiclass_hinge(impossible[0], weights, sum_rivals=sum_rivals))


@pytest.mark.parametrize("sum_rivals", [False, True])
def test_small_shapes_and_rows_without_rivals(sum_rivals):
  assert multiclass_hinge(jnp.array([-5.0]), 0, sum_rivals=sum_rivals) == 0
  alone = jnp.array([1.0, -jnp.inf])
  value, gradient = jax.value_and_grad(lambda z: multiclass_hinge(z, 0, sum_rivals=sum_rivals))(
    alone
  )
  assert value == 0
  np.testing.assert_array_equal(gradient, np.zeros(2))
  nothing = jnp.full(2, -jnp.inf)
  assert multiclass_hinge(nothing, 0, sum_rivals=sum_rivals) == jnp.inf
  empty = multiclass_hinge(jnp.zeros((0, 3)), jnp.zeros(0, int), sum_rivals=sum_rivals)
  assert empty.shape == (0,)


@pytest.mark.parametrize("sum_rivals", [False, True])
@pytest.mark.parametrize("logits", [LOGITS, LOGITS[:, :1]])
def test_labels_out_of_range_are_nan(logits, sum_rivals):
  assert np.all(np.isnan(multiclass_hinge(logits, [4, -1], sum_rivals=sum_rivals)))


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_up_to_ten_thousand(dtype):
  logits = jnp.array([1e4, -1e4, 0.0], dtype)
  loss = multiclass_hinge(logits, 1)
  assert loss.dtype == dtype
  np.testing.assert_allclose(float(loss), 20001, rtol=5e-3)


@pytest.mark.parametrize("margin", [-1.0, np.inf, np.nan])
def test_bad_margins(margin):
  with pytest.raises(ValueError, match=r"margin=.*Pass 1\.0"):
    multiclass_hinge(LOGITS, LABELS, margin=margin)


def test_bad_labels():
  with pytest.raises(ValueError, match="one class index"):
    multiclass_hinge(LOGITS, [0])
