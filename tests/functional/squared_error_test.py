"""The squared error against PyTorch's and its formula; the contracts have the rest."""

import jax
import numpy as np
import pytest

from softmax_research import functional
from tests.programs import program, values_and_gradient

one_vs_all_cross_entropy = program(functional.one_vs_all_cross_entropy)
squared_error_loss = program(functional.squared_error_loss)

_LOGITS, _LABELS = np.random.default_rng(0).normal(size=(4, 5)), np.array([0, 3, 1, 4])


def test_it_is_the_mean_squared_error_of_one_hot_labels():
  torch = pytest.importorskip("torch")
  logits = torch.tensor(_LOGITS, requires_grad=True)
  hot = torch.nn.functional.one_hot(torch.tensor(_LABELS), 5).double()
  losses = torch.nn.functional.mse_loss(logits, hot, reduction="none").mean(-1)
  losses.sum().backward()
  with jax.enable_x64(True):
    ours, gradient = values_and_gradient(lambda z: squared_error_loss(z, _LABELS), _LOGITS)
  np.testing.assert_allclose(ours, losses.detach(), rtol=1e-13)
  np.testing.assert_allclose(gradient, logits.grad, rtol=1e-12)


def test_distributions_and_options_for_each_example():
  shares, target = np.random.default_rng(1).dirichlet(np.ones(5), 4), np.array([1.0, 2.0, 3.0, 4.0])
  with jax.enable_x64(True):
    ours = squared_error_loss(_LOGITS, shares, target=target, label_weight=3.0)
  expected = shares * 3 * (_LOGITS - target[:, None]) ** 2 + (1 - shares) * _LOGITS**2
  np.testing.assert_allclose(ours, expected.mean(-1), rtol=1e-12)


@pytest.mark.parametrize("label_weight", [0.5, 1.0, 5.0])
@pytest.mark.parametrize("labels", [np.array([0, 1]), np.array([[1, 0, 0], [0, 0.5, 0.5]], "f4")])
def test_squares_that_overflow_are_infinite_and_their_gradient_is_finite(labels, label_weight):
  logits = np.array([[1e20, 0.0, 1.0], [1e20, -1e20, 1.0]])
  losses, gradient = values_and_gradient(
    lambda z: squared_error_loss(z, labels, label_weight=label_weight), logits
  )
  assert np.all(np.isposinf(losses)) and np.all(np.isfinite(gradient))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64])
def test_several_labels_are_ones_among_zeros(dtype):
  several = np.array([[1, 0, 1, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [0, 1, 0, 0, 0]], dtype)
  weights = np.array([0.5, 2.0, 3.0, 0.0, 1.0])

  @jax.jit
  def run(z):
    def loss(z):
      return squared_error_loss(z, several, target=2.0, label_weight=3.0, class_weights=weights)

    losses, pull = jax.vjp(loss, z)
    moved = squared_error_loss(z.T, several.T, target=2.0, label_weight=3.0, axis=0)
    return losses, pull(np.ones(4))[0], moved

  with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
    losses, gradient, moved = run(_LOGITS)
  plain = np.where(several == 1, 3 * (_LOGITS - 2) ** 2, _LOGITS**2).mean(-1)
  means = np.array([(0.5 + 3) / 2, 1, 6.5 / 5, 2])  # Of the weights of an example's labels.
  np.testing.assert_allclose(moved, plain, rtol=1e-12)
  np.testing.assert_allclose(losses, means * plain, rtol=1e-12)
  slopes = np.where(several == 1, 6 * (_LOGITS - 2), 2 * _LOGITS) / 5
  np.testing.assert_allclose(gradient, means[:, None] * slopes, rtol=1e-12)


def test_numbers_where_there_should_be_zero_or_one_give_nan():
  several = np.array([[1, 0, 2, 0, 0], [1, 0, 1, 0, 0], [-1, 0, 0, 0, 0]])
  losses, gradient = values_and_gradient(lambda z: squared_error_loss(z, several), _LOGITS[:3])
  np.testing.assert_array_equal(np.isnan(losses), [True, False, True])
  np.testing.assert_array_equal(np.any(gradient != 0, axis=1), [False, True, False])


@pytest.mark.parametrize("loss", [squared_error_loss, one_vs_all_cross_entropy])
def test_a_row_of_several_labels_has_no_place_for_one_that_is_ignored(loss):
  message = r"ignore_label=-1 and integer labels of shape \(4, 5\), rows .* pass ignore_label=None"
  with pytest.raises(ValueError, match=message):
    loss(_LOGITS, np.ones((4, 5), int), ignore_label=-1)


@pytest.mark.parametrize("option", ["target", "label_weight"])
def test_bad_options(option):
  with pytest.raises(ValueError, match=f"{option}=0; it must be finite and > 0"):
    squared_error_loss(_LOGITS, _LABELS, **{option: 0})
