"""The squared error against PyTorch's and its formula; the contracts have the rest."""

import jax
import numpy as np
import pytest

from softmax_research.functional import squared_error_loss

_LOGITS, _LABELS = np.random.default_rng(0).normal(size=(4, 5)), np.array([0, 3, 1, 4])


def test_it_is_the_mean_squared_error_of_one_hot_labels():
  torch = pytest.importorskip("torch")
  logits = torch.tensor(_LOGITS, requires_grad=True)
  hot = torch.nn.functional.one_hot(torch.tensor(_LABELS), 5).double()
  losses = torch.nn.functional.mse_loss(logits, hot, reduction="none").mean(-1)
  losses.sum().backward()
  with jax.enable_x64(True):

    def total(z):
      losses = squared_error_loss(z, _LABELS)
      return losses.sum(), losses

    run = jax.jit(jax.value_and_grad(total, has_aux=True))
    (_, ours), gradient = run(_LOGITS)
  np.testing.assert_allclose(ours, losses.detach(), rtol=1e-13)
  np.testing.assert_allclose(gradient, logits.grad, rtol=1e-12)


def test_distributions_and_options_for_each_example():
  shares, target = np.random.default_rng(1).dirichlet(np.ones(5), 4), np.array([1.0, 2.0, 3.0, 4.0])
  with jax.enable_x64(True):
    ours = squared_error_loss(_LOGITS, shares, target=target, label_weight=3.0)
  expected = shares * 3 * (_LOGITS - target[:, None]) ** 2 + (1 - shares) * _LOGITS**2
  np.testing.assert_allclose(ours, expected.mean(-1), rtol=1e-12)


@pytest.mark.parametrize("option", ["target", "label_weight"])
def test_bad_options(option):
  with pytest.raises(ValueError, match=f"{option}=0; it must be finite and > 0"):
    squared_error_loss(_LOGITS, _LABELS, **{option: 0})
