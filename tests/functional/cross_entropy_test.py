"""Cross-entropy against numpy and PyTorch in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softmax_research.functional import cross_entropy
from tests.derivatives import check_derivatives

RNG = np.random.default_rng(0)
LOGITS = 3 * RNG.normal(size=(4, 5))
LABELS = np.array([0, 4, 2, 2])
SOFT = RNG.dirichlet(np.ones(5), size=4)


def _oracle(logits, targets, z_loss=0.0):
  log_total = np.log(np.exp(logits).sum(-1))
  return -(targets * (logits - log_total[:, None])).sum(-1) + z_loss * log_total**2


@pytest.mark.parametrize("labels", [LABELS, SOFT])
def test_values(labels):
  options = [(smoothing, z_loss) for smoothing in (0.0, 0.1, 1.0) for z_loss in (0.0, 0.01)]
  with jax.enable_x64(True):
    losses = jax.jit(
      lambda z: [
        cross_entropy(z, labels, label_smoothing=s, z_loss=weight) for s, weight in options
      ]
    )(LOGITS)
  hot = np.eye(5)[labels] if labels.ndim == 1 else labels
  for loss, (smoothing, z_loss) in zip(losses, options, strict=True):
    targets = (1 - smoothing) * hot + smoothing / 5
    np.testing.assert_allclose(loss, _oracle(LOGITS, targets, z_loss), rtol=1e-13)


@pytest.mark.parametrize("labels", [LABELS, SOFT])
def test_values_and_gradients_against_pytorch(labels):
  torch = pytest.importorskip("torch")
  logits = torch.tensor(LOGITS, requires_grad=True)
  loss = torch.nn.functional.cross_entropy(
    logits, torch.tensor(labels), label_smoothing=0.2, reduction="none"
  )
  loss.sum().backward()

  def ours(z):
    return cross_entropy(z, labels, label_smoothing=0.2)

  with jax.enable_x64(True):
    np.testing.assert_allclose(ours(LOGITS), loss.detach(), rtol=1e-13)
    gradient = jax.grad(lambda z: ours(z).sum())(LOGITS)
  np.testing.assert_allclose(gradient, logits.grad, rtol=1e-11, atol=1e-15)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=4, max_size=4), st.integers(0, 3))
def test_gradient_is_probability_minus_label(row, label):
  value, gradient = jax.value_and_grad(cross_entropy)(jnp.array(row, jnp.float32), label)
  shifted = np.exp(np.float64(row) - max(row))
  expected = shifted / shifted.sum() - np.eye(4)[label]
  np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)
  loss = np.log(shifted.sum()) + max(row) - row[label]
  np.testing.assert_allclose(value, loss, rtol=1e-6, atol=1e-6)


def test_second_order_and_both_modes():
  def loss(logits, labels, smoothing, weight):
    return cross_entropy(logits, labels, label_smoothing=smoothing, z_loss=weight)

  check_derivatives(loss, LOGITS, SOFT, 0.1, 0.2)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_up_to_ten_thousand(dtype):
  logits = jnp.array([[1e4, -1e4, 0.0], [1.0, 2.0, -1e4]], dtype)
  value, pull_back = jax.vjp(lambda z: cross_entropy(z, jnp.array([1, 0])), logits)
  (gradient,) = pull_back(jnp.ones(2, dtype))
  assert value.dtype == gradient.dtype == dtype
  wide = np.asarray(logits, np.float64)
  expected = [wide[0, 0] - wide[0, 1], np.log1p(np.e)]
  np.testing.assert_allclose(np.asarray(value, np.float64), expected, rtol=5e-3)
  p = 1 / (1 + np.e)
  np.testing.assert_allclose(
    np.asarray(gradient, np.float64), [[1, -1, 0], [p - 1, 1 - p, 0]], rtol=5e-3
  )


def test_z_loss_of_a_row_without_any_class_is_nothing():
  value, gradient = jax.value_and_grad(
    lambda z: cross_entropy(z, jnp.array([0.0, 0.0]), z_loss=1.0)
  )(jnp.full(2, -jnp.inf))
  assert value == 0
  np.testing.assert_array_equal(gradient, np.zeros(2))


@pytest.mark.parametrize("where", [np.zeros((4, 5), bool), np.array([1, 1, 1, 1, 0], bool)])
def test_a_label_without_its_class_costs_infinitely_and_has_a_finite_gradient(where):
  labels = np.full(4, 4)
  loss, pull_back = jax.vjp(lambda z: cross_entropy(z, labels, where=where), jnp.array(LOGITS))
  np.testing.assert_array_equal(loss, np.full(4, np.inf))
  assert np.all(np.isfinite(pull_back(jnp.ones(4))[0]))


def test_axis():
  loss = cross_entropy(LOGITS.T, LABELS, axis=0, z_loss=0.1)
  np.testing.assert_allclose(loss, cross_entropy(LOGITS, LABELS, z_loss=0.1), rtol=1e-6)


def test_small_shapes():
  assert cross_entropy(jnp.zeros((0, 3)), jnp.zeros(0, int)).shape == (0,)
  assert cross_entropy(jnp.array([7.0]), 0) == 0
  assert jnp.isnan(cross_entropy(jnp.array([7.0]), 1))


def test_small_label_types_with_many_classes():
  logits = RNG.normal(size=(3, 1000)).astype(np.float32)
  labels = np.array([5, 200, 255])
  np.testing.assert_array_equal(
    cross_entropy(logits, labels.astype(np.uint8)), cross_entropy(logits, labels)
  )


def test_no_one_hot_and_no_scatter_for_integer_labels():
  gradient = jax.jit(jax.grad(lambda z: cross_entropy(z, LABELS, label_smoothing=0.1).sum()))
  assert "scatter" not in gradient.lower(LOGITS).as_text()


@pytest.mark.parametrize(
  "options, message",
  [
    ({"z_loss": -1.0}, "z_loss=-1.0"),
    ({"z_loss": np.inf}, "z_loss=inf"),
    ({"label_smoothing": 1.1}, r"label_smoothing=1.1.*\[0, 1\]"),
  ],
)
def test_bad_options(options, message):
  with pytest.raises(ValueError, match=message):
    cross_entropy(LOGITS, LABELS, **options)
