"""Max pooling against the library's `reduce_window`."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from softmax_research.nn import max_pool
from softmax_research.nn.cpu import pooling


def _library(images, window):
  return lax.reduce_window(
    images, -jnp.inf, lax.max, (1, window, window, 1), (1, window, window, 1), "VALID"
  )


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(
  ("height", "width", "window"), [(6, 6, 2), (7, 5, 2), (9, 8, 3), (4, 4, 1)]
)
def test_values_and_gradients_are_the_librarys(height, width, window, ties):
  images = np.random.default_rng(0).normal(size=(2, height, width, 3)).astype(np.float32)
  images = np.round(images) if ties else images  # Rounded, most windows hold equal values.

  @functools.partial(jax.jit, static_argnums=0)
  def run(function, images):
    outputs, pullback = jax.vjp(functools.partial(function, window=window), images)
    weights = jnp.arange(1.0, outputs.size + 1).reshape(outputs.shape)
    return outputs, pullback(weights)[0]

  actual, expected = run(max_pool, images), run(_library, images)
  np.testing.assert_array_equal(actual[0], expected[0])
  np.testing.assert_array_equal(actual[1], expected[1])


def test_the_winner_is_found_where_the_largest_value_was_rounded_otherwise(monkeypatch):
  """The compiler may compute the images twice, once with fused products and sums."""
  images = np.random.default_rng(3).normal(size=(1, 4, 4, 2)).astype(np.float32)
  largest = pooling._pool
  monkeypatch.setattr(pooling, "_pool", lambda *given: jnp.nextafter(largest(*given), jnp.inf))
  _, winner = pooling._forward(images.reshape(1, 2, 2, 2, 2, 2), 2)
  expected = images.reshape(1, 2, 2, 2, 2, 2).transpose(0, 1, 3, 5, 2, 4).reshape(1, 2, 2, 2, 4)
  np.testing.assert_array_equal(winner, expected.argmax(-1))


def test_batching_is_a_loop():
  images = np.random.default_rng(1).normal(size=(3, 2, 5, 4, 2)).astype(np.float32)
  grad = jax.grad(lambda x: (max_pool(x, 2) ** 3).sum())
  run = jax.jit(lambda images: (jax.vmap(grad)(images), jax.lax.map(grad, images)))
  np.testing.assert_array_equal(*run(images))


def test_nan_in_any_position_is_passed_on():
  images = np.where(np.eye(4, dtype=bool), np.float32(np.nan), 0)
  assert np.isnan(max_pool(images.reshape(4, 2, 2, 1), 2)).all()


def test_a_window_that_is_none_is_refused():
  with pytest.raises(ValueError, match="Got window=0; it must be an integer of at least 1"):
    max_pool(jnp.zeros((1, 2, 2, 1)), 0)


def test_second_derivatives():
  with jax.enable_x64(True):
    images = np.random.default_rng(2).normal(size=(1, 4, 4, 1))
    square = lambda x: (max_pool(x, 2) ** 2).sum()  # noqa: E731
    run = jax.jit(lambda x: (jax.jacrev(jax.grad(square))(x), jax.grad(square)(x)))
    hessian, slopes = jax.device_get(run(images))
    np.testing.assert_allclose(hessian.reshape(16, 16), 2 * np.diag((slopes != 0).ravel()))
