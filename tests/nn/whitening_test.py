"""Whitening: filters against NumPy's principal components, white patches, and that it is frozen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from softmax_research.nn import make
from softmax_research.nn.whitening import Whitening, whitening_filters

_RNG = np.random.default_rng(0)
# Neighbours and channels are correlated, as in photographs; more images than stand in a chunk.
_NOISE = _RNG.normal(size=(103, 7, 6, 2))
IMAGES = (_NOISE + np.roll(_NOISE, 1, axis=2) + 2 * _NOISE[..., :1] + 0.5).astype(np.float32)


def _patches(images, size):
  """Return the patches in rows, collected one by one."""
  rows, columns = (images.shape[axis] - size + 1 for axis in (1, 2))
  found = [
    images[:, i : i + size, j : j + size].reshape(len(images), -1)
    for i in range(rows)
    for j in range(columns)
  ]
  return np.concatenate(found).astype(float)


@pytest.mark.parametrize("size", [2, 3])
def test_filters_are_numpys_principal_components(size):
  filters = whitening_filters(IMAGES, size, epsilon=1e-3).reshape(size * size * 2, -1)
  values, vectors = np.linalg.eigh(np.cov(_patches(IMAGES, size).T, bias=True))
  expected = (vectors / np.sqrt(values + 1e-3))[:, ::-1]
  signs = np.sign((filters * expected).sum(0))
  np.testing.assert_allclose(filters, signs * expected, rtol=1e-3, atol=1e-4)


def test_outputs_are_uncorrelated_and_of_variance_one_with_both_signs():
  layer = Whitening(2, 2, images=IMAGES, rngs=nnx.Rngs(0))
  outputs = np.asarray(jax.jit(layer)(IMAGES), float)
  assert outputs.shape == (103, 6, 5, 16)
  np.testing.assert_allclose(outputs[..., 8:], -outputs[..., :8], atol=1e-5)
  covariance = np.cov(outputs[..., :8].reshape(-1, 8).T, bias=True)
  np.testing.assert_allclose(covariance, np.eye(8), atol=5e-3)


def test_a_network_has_the_filters_as_state_and_bias_as_parameter():
  net = make("cnn", stages=((3,),), dense=(), whitening=2, examples=IMAGES)
  params, state = jax.jit(net.init, static_argnums=1)(jax.random.key(0), (7, 6, 2))
  assert jax.tree.map(jnp.shape, params["whitening"]) == {"0": {"bias": (16,)}}
  kernel = state["whitening"]["0"]["linear"]["kernel"]
  np.testing.assert_array_equal(kernel[..., :8], whitening_filters(IMAGES, 2))
  # What trains the network leaves it: the state after a step in training has the same filters.
  _, moved = jax.jit(lambda p: net.apply(p, state, IMAGES[:2], train=True))(params)
  np.testing.assert_array_equal(moved["whitening"]["0"]["linear"]["kernel"], kernel)


def test_without_images_filters_are_orthogonal_and_random():
  kernels = [
    Whitening(2, 1, rngs=nnx.Rngs(seed)).kernel[...][..., :4].reshape(4, 4) for seed in (0, 1)
  ]
  np.testing.assert_allclose(kernels[0] @ kernels[0].T, np.eye(4), atol=1e-5)
  assert not np.allclose(*kernels)


def test_images_that_hold_no_patch_are_refused():
  with pytest.raises(ValueError, match=r"shape \(2, 4\) for patches of 2 by 2"):
    whitening_filters(np.ones((2, 4)), 2)
  with pytest.raises(ValueError, match="whitening=9; it must be an integer between 0 and 8"):
    make("cnn", whitening=9).init(jax.random.key(0), (8, 8, 1))
  with pytest.raises(ValueError, match=r"examples of shape \(2, 8, 8, 1\) for .* 3 channels"):
    make("cnn", whitening=2, examples=np.ones((2, 8, 8, 1))).init(jax.random.key(0), (8, 8, 3))
  with pytest.raises(TypeError, match="images of type uint8"):
    whitening_filters(np.ones((2, 4, 4, 1), np.uint8), 2)
  with pytest.raises(ValueError, match="not finite"):
    whitening_filters(np.full((2, 4, 4, 1), np.nan), 2)
