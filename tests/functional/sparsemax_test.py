"""Sparsemax against the exact sort in numpy, in PyTorch with its gradients, and its properties."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from softmax_research.functional import sparsemax, sparsemax_loss

SCALES = np.array([[1e-3, 0.1, 0.5, 1, 3, 30]]).T
LOGITS = np.random.default_rng(0).normal(size=(6, 40)) * SCALES
LABELS = np.array([3, 0, 39, 7, 7, 20])


def _sparsemax(logits):
  """Return probabilities and threshold in float64: the sort of Martins and Astudillo."""
  logits = logits.astype(np.float64)
  descending = np.sort(logits, -1)[..., ::-1]
  sums = np.cumsum(descending, -1)
  n = np.arange(1, logits.shape[-1] + 1)
  size = np.sum(1 + n * descending > sums, -1, keepdims=True)
  threshold = (np.take_along_axis(sums, size - 1, -1) - 1) / size
  return np.maximum(logits - threshold, 0), threshold


def _loss(logits, labels):
  """Return equation 16 of Martins and Astudillo."""
  probs, threshold = _sparsemax(logits)
  squares = np.where(probs > 0, logits**2 - threshold**2, 0).sum(-1)
  return -np.take_along_axis(logits, labels[:, None], -1)[:, 0] + squares / 2 + 0.5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_to_the_last_digits(dtype):
  logits, eps = LOGITS.astype(dtype), np.finfo(dtype).eps
  with jax.enable_x64(dtype == np.float64):
    probs, loss = np.asarray(sparsemax(logits)), np.asarray(sparsemax_loss(logits, LABELS))
  assert probs.dtype == loss.dtype == dtype
  # The oracle's own rounding, of logits up to 100, is what float64 is judged by.
  np.testing.assert_allclose(probs, _sparsemax(logits)[0], atol=max(4 * eps, 1e-14))
  np.testing.assert_allclose(np.sum(probs, -1, dtype=np.float64), 1, atol=4 * eps)
  np.testing.assert_allclose(
    loss, _loss(logits.astype(np.float64), LABELS), rtol=4 * eps, atol=1e-12
  )


def test_the_support_is_exact_but_for_ties_with_the_threshold():
  logits = np.random.default_rng(1).integers(-8, 8, size=(50, 30)) / 16
  probs, lead = sparsemax(logits), logits - _sparsemax(logits)[1]
  np.testing.assert_array_equal((probs > 0)[abs(lead) > 1e-6], (lead > 0)[abs(lead) > 1e-6])
  assert np.any(abs(lead) < 1e-6) and np.all(probs[abs(lead) < 1e-6] < 1e-6)


def test_many_classes():
  logits = np.random.default_rng(2).normal(size=(2, 50_000)).astype(np.float32) * [[0.01], [1]]
  logits = logits.astype(np.float32)
  np.testing.assert_allclose(sparsemax(logits), _sparsemax(logits)[0], atol=3e-7)


def test_gradients_against_torch_through_a_sort():
  torch = pytest.importorskip("torch")
  weights = np.random.default_rng(3).normal(size=LOGITS.shape)

  def peer(z):
    descending, _ = torch.sort(z, dim=-1, descending=True)
    sums, n = torch.cumsum(descending, -1), torch.arange(1, z.shape[-1] + 1)
    size = (1 + n * descending > sums).sum(-1, keepdim=True)
    return torch.clamp(z - (sums.gather(-1, size - 1) - 1) / size, min=0)

  z = torch.tensor(LOGITS, requires_grad=True)
  probs = peer(z)
  label_logits = z.gather(-1, torch.tensor(LABELS)[:, None])[:, 0]
  losses = (probs * z).sum(-1) + (1 - (probs**2).sum(-1)) / 2 - label_logits
  (probs_gradient,) = torch.autograd.grad(
    (probs * torch.tensor(weights)).sum(), z, retain_graph=True
  )
  (loss_gradient,) = torch.autograd.grad(peer_sum := losses.sum(), z)
  with jax.enable_x64(True):
    ours = jax.grad(lambda z: jnp.sum(sparsemax(z) * weights))(LOGITS)
    np.testing.assert_allclose(ours, probs_gradient, atol=1e-13)
    loss, ours = jax.value_and_grad(lambda z: jnp.sum(sparsemax_loss(z, LABELS)))(LOGITS)
    np.testing.assert_allclose(ours, loss_gradient, atol=1e-13)
    np.testing.assert_allclose(loss, peer_sum.item(), rtol=1e-13)


def test_the_hessian_of_the_loss_is_the_jacobian():
  logits = np.array([0.3, 0.0, 0.5, -9.0])
  support = np.array([True, True, True, False])
  expected = np.diag(support) - np.outer(support, support) / 3
  with jax.enable_x64(True):
    hessian = jax.jit(jax.hessian(lambda z: sparsemax_loss(z, 1)))(logits)
    np.testing.assert_allclose(hessian, expected, atol=1e-15)
    for jacobian in (jax.jacfwd, jax.jacrev):
      np.testing.assert_allclose(jacobian(sparsemax)(logits), expected, atol=1e-15)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
  hnp.arrays(np.float32, (4, 7), elements=st.floats(-(2.0**14), 2.0**14, width=16)),
  st.integers(0, 6),
)
def test_properties_of_any_logits(logits, label):
  probs = np.asarray(sparsemax(logits))
  np.testing.assert_allclose(probs, _sparsemax(logits)[0], atol=1e-6)
  np.testing.assert_allclose(probs.sum(-1, dtype=np.float64), 1, atol=1e-6)
  # Ties share; a class that leads by 1 takes all; the loss is zero exactly there.
  rivals = np.delete(logits, label, -1).max(-1)
  loss = np.asarray(sparsemax_loss(logits, np.full(4, label)))
  np.testing.assert_array_equal(loss == 0, logits[:, label] >= rivals + 1)
  np.testing.assert_array_equal(probs[:, label] == 1, logits[:, label] >= rivals + 1)
  assert np.all(loss >= 0)


def test_masks_axes_and_rows_without_any_class():
  logits = jnp.array([[0.3, 9.0, 0.5], [0.1, 0.2, 0.3]])
  where = np.array([[True, False, True], [False, False, False]])
  probs = sparsemax(logits, where=where)
  np.testing.assert_allclose(probs, [[0.4, 0, 0.6], [0, 0, 0]], atol=1e-7)
  np.testing.assert_array_equal(sparsemax(logits.T, where=where.T, axis=0).T, probs)
  np.testing.assert_allclose(
    sparsemax_loss(logits.T, jnp.array([2, 0]), where=where.T, axis=0),
    [_loss(np.array([[0.3, 0.5]]), np.array([1]))[0], np.inf],
    rtol=1e-6,
  )
