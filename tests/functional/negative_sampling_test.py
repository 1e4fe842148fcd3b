"""Negative sampling and noise-contrastive estimation against float64 numpy, and their minima."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from softmax_research.functional import (
  Candidates,
  negative_sampling_loss,
  noise_contrastive_loss,
  taylor_score,
  weighted_sampler,
)
from tests.derivatives import check_derivatives, differences
from tests.programs import program

RNG = np.random.default_rng(0)
K, S = 12, 5
FEATURES, KERNEL, BIAS = RNG.normal(size=(6, 4)), RNG.normal(size=(4, K)), RNG.normal(size=K)
LABELS = np.array([[2, 5], [11, 0], [3, -1], [3, 4], [7, 1], [8, 9]])
WEIGHTS = RNG.uniform(0.5, 2, size=K)
NOISE = RNG.uniform(0.5, 2, size=K)
KEY = jax.random.key(1)


def _softplus(x):
  return np.log1p(np.exp(x))


def _oracle(features, classes, counts, label_counts, shift, weight, removes, score):
  scores, losses = score(features @ KERNEL + BIAS) - shift, []
  for row, own in enumerate(LABELS):
    own = own[own >= 0]
    noise = sum(
      _softplus(scores[row, c] - np.log(counts[i]))
      for i, c in enumerate(classes)
      if not (removes and c in own)
    )
    each = [
      WEIGHTS[c] * (_softplus(-scores[row, c] + np.log(label_counts[c])) + weight * noise)
      for c in own
    ]
    losses.append(np.mean(each))
  return np.array(losses)


@pytest.mark.parametrize("removes", [True, False])
@pytest.mark.parametrize("loss", [negative_sampling_loss, noise_contrastive_loss])
def test_value_and_gradient(loss, removes):
  sampler = weighted_sampler(NOISE, replacement=True)
  contrastive = loss is noise_contrastive_loss
  options = {"log_normaliser": 0.3} if contrastive else {}

  @jax.jit
  def run(features):
    def ours(features):
      return loss(
        features,
        KERNEL,
        LABELS,
        key=KEY,
        num_samples=S,
        num_noise=3,
        bias=BIAS,
        sampler=sampler,
        score=taylor_score,
        remove_accidental_hits=removes,
        class_weights=WEIGHTS,
        ignore_label=-1,
        **options,
      )

    losses, pull = jax.vjp(ours, features)
    return sampler.sample(KEY, S)[0], losses, pull(jnp.ones(6))[0]

  with jax.enable_x64(True):
    classes, losses, gradient = jax.device_get(run(FEATURES))
  assert len(set(classes) & set(LABELS.ravel())) > 0
  counts = 3 * NOISE / NOISE.sum() if contrastive else np.ones(K)
  shift = 0.3 if contrastive else 0

  def oracle(features):
    return _oracle(
      features,
      classes,
      counts[classes],
      counts,
      shift,
      3 / S,
      removes,
      lambda z: np.log(1 + z + z**2 / 2),
    )

  # The sampler rounds its shares to 32 bits.
  np.testing.assert_allclose(losses, oracle(FEATURES), rtol=1e-8)
  np.testing.assert_allclose(gradient, differences(oracle, FEATURES), rtol=1e-6, atol=1e-7)


def test_minima():
  # In expectation over labels of p and noise of q, with no features: the gradient is zero at log p
  # for noise contrast, and at log p - log k q for negative sampling.
  p, q = RNG.dirichlet(np.ones(K)), NOISE / NOISE.sum()
  labels, noise = (grid.ravel() for grid in np.meshgrid(np.arange(K), np.arange(K)))
  candidates = Candidates(noise[:, None], np.log(q)[noise][:, None], np.log(q)[labels])

  def expected(bias, loss):
    features, kernel = jnp.zeros((K * K, 1)), jnp.zeros((1, K))
    losses = loss(features, kernel, labels, bias=bias, candidates=candidates, num_noise=4.0)
    return losses @ (p[labels] * q[noise])

  with jax.enable_x64(True):
    for loss, best in (
      (noise_contrastive_loss, np.log(p)),
      (negative_sampling_loss, np.log(p / (4 * q))),
    ):
      gradient = jax.jit(jax.grad(expected), static_argnums=1)
      np.testing.assert_allclose(gradient(best, loss), 0, atol=1e-12)
      assert np.max(np.abs(gradient(np.zeros(K), loss))) > 0.01


def test_second_order_and_both_modes():
  candidates = Candidates(np.array([1, 3, 6]), np.zeros(3), np.zeros(3))

  def ours(features, kernel, bias):
    options = {"bias": bias, "candidates": candidates, "num_noise": 2.0}
    return noise_contrastive_loss(features, kernel, LABELS[:3, 0], **options)

  check_derivatives(ours, FEATURES[:3], KERNEL, BIAS)


@pytest.mark.parametrize("loss", [negative_sampling_loss, noise_contrastive_loss])
def test_on_a_mesh_in_half_precision_and_with_impossible_classes(loss):
  bias = np.where(np.arange(K) == 3, -np.inf, BIAS).astype(np.float32)

  def ours(features, kernel, labels):
    losses = loss(features, kernel, labels, key=KEY, num_samples=S, bias=bias)
    return jnp.where(labels == 3, 0, losses).sum(), losses

  run = jax.jit(jax.grad(ours, has_aux=True))
  features, kernel, labels = np.float32(FEATURES), np.float32(KERNEL), LABELS[:, 0]
  gradient, losses = expected = run(features, kernel, labels)
  assert np.array_equal(np.isinf(losses), labels == 3) and np.all(np.isfinite(gradient))
  for kind in (AxisType.Auto, AxisType.Explicit):
    mesh = jax.make_mesh((2,), ("batch",), (kind,), devices=jax.devices("cpu")[:2])
    with jax.set_mesh(mesh):
      rows = NamedSharding(mesh, P("batch"))
      whole = jax.device_put(kernel, NamedSharding(mesh, P()))
      found = run(jax.device_put(features, rows), whole, jax.device_put(labels, rows))
    for one, other in zip(found, expected, strict=True):
      np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
  half = FEATURES.astype(jnp.bfloat16), KERNEL.astype(jnp.bfloat16)
  options = {"key": KEY, "num_samples": S, "num_noise": 2.5}
  with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
    found = jax.jit(functools.partial(loss, dtype=jnp.float32, **options))(*half, labels)
  wide = [np.asarray(array, np.float32) for array in half]
  expected = jax.jit(functools.partial(loss, **options))(*wide, labels)
  np.testing.assert_allclose(found, expected, rtol=2e-3)


def test_bad_arguments():
  sampling, contrast = program(negative_sampling_loss), program(noise_contrastive_loss)
  with pytest.raises(ValueError, match="neither candidates nor both key and num_samples"):
    sampling(FEATURES, KERNEL, LABELS, key=KEY)
  with pytest.raises(ValueError, match="num_noise=0; it must be finite and > 0"):
    contrast(FEATURES, KERNEL, LABELS, key=KEY, num_samples=3, num_noise=0)
  for wrong in ({"num_noise": np.ones(6)}, {"log_normaliser": np.ones((2, len(LABELS)))}):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} of shape"):
      contrast(FEATURES, KERNEL, LABELS, key=KEY, num_samples=3, **wrong)
  with pytest.raises(TypeError, match="label_smoothing"):
    sampling(FEATURES, KERNEL, LABELS, key=KEY, num_samples=3, label_smoothing=0.1)
