"""Winograd's convolution against the library's: values, gradients, rounding, where it is taken."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from softmax_research.nn.convolution import conv
from softmax_research.nn.cpu.winograd import conv_3x3, saves_products

SAME = ((1, 1), (1, 1))
_BATCH_LAST, _NHWC = ("CHWN", "HWIO", "CHWN"), ("NHWC", "HWIO", "NHWC")


def _arrays(height, width, channels=3, filters=2, batch=2):
  rng = np.random.default_rng(height + width)
  return (
    rng.normal(size=(channels, height, width, batch)),
    rng.normal(size=(3, 3, channels, filters)),
  )


def _library(images, kernel, padding):
  return lax.conv_general_dilated(images, kernel, (1, 1), padding, dimension_numbers=_BATCH_LAST)


# Whole tiles and parts of them; one tile only; padding that is uneven, absent, or beyond the tiles.
@pytest.mark.parametrize(
  ("height", "width", "padding"),
  [
    (8, 12, SAME),
    (7, 5, SAME),
    (6, 9, ((0, 0), (0, 0))),
    (3, 4, ((0, 3), (2, 0))),
    (1, 2, ((5, 1), (1, 6))),
  ],
)
def test_values_and_gradients_are_the_librarys(height, width, padding):
  @functools.partial(jax.jit, static_argnums=0)
  def run(function, images, kernel):
    outputs, pullback = jax.vjp(lambda i, k: function(i, k, padding), images, kernel)
    return outputs, pullback(jnp.cos(outputs))

  with jax.enable_x64(True):
    arrays = _arrays(height, width)
    actual, expected = run(conv_3x3, *arrays), run(_library, *arrays)
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11), actual, expected
    )


def test_second_derivatives_are_the_librarys():
  with jax.enable_x64(True):
    arrays = _arrays(4, 5, 2, 2, 1)

    @functools.partial(jax.jit, static_argnums=0)
    def curvature(function, images, kernel):
      def slope(images, kernel):
        value = lambda *a: jnp.sin(function(*a, SAME)).sum()  # noqa: E731
        return sum(jnp.sum(jnp.cos(g)) for g in jax.grad(value, argnums=(0, 1))(images, kernel))

      return jax.grad(slope, argnums=(0, 1))(images, kernel)

    for a, b in zip(curvature(conv_3x3, *arrays), curvature(_library, *arrays), strict=True):
      np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_rounding_in_float32_stays_near_1e_5_of_the_largest_value():
  arrays = _arrays(16, 16, 64, 64)
  exact, actual = (
    np.asarray(jax.jit(form, static_argnums=2)(*map(np.float32, arrays), SAME))
    for form in (_library, conv_3x3)
  )
  assert np.abs(actual - exact).max() < 3e-5 * np.abs(exact).max()


@pytest.mark.parametrize("axes", [(0, None), (0, 0)])
def test_batching_is_a_loop(axes):
  images, kernel = _arrays(5, 4)
  images, kernels = np.stack([images, 2 * images]), np.stack([kernel, 3 * kernel])
  grad = jax.grad(lambda i, k: jnp.sin(conv_3x3(i, k, SAME)).sum(), argnums=(0, 1))
  chosen = kernels if axes[1] == 0 else kernels[0]
  actual = jax.jit(jax.vmap(grad, in_axes=axes))(images, chosen)
  grad = jax.jit(grad)
  for n in range(2):
    expected = grad(images[n], kernels[n] if axes[1] == 0 else kernels[0])
    for a, b in zip(actual, expected, strict=True):
      # Either side is rounded by up to 3e-5 of its largest value.
      np.testing.assert_allclose(a[n], b, rtol=1e-3, atol=6e-5 * np.abs(b).max())


@pytest.mark.parametrize(
  ("size", "kernel", "saves"),
  [
    (14, (3, 3, 32, 64), True),
    (7, (3, 3, 64, 64), True),
    (5, (3, 3, 64, 64), False),  # Two tiles, of which half is thrown away.
    (14, (3, 3, 3, 64), False),
    (14, (5, 5, 32, 64), False),
  ],
)
def test_it_is_taken_on_cpu_where_it_saves_half_the_products(monkeypatch, size, kernel, saves):
  monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
  assert saves_products((kernel[2], size, size, 2), kernel, SAME) == saves
  images = jnp.ones((2, size, size, kernel[2]))
  run = functools.partial(conv, window_strides=(1, 1), padding="SAME", dimension_numbers=_NHWC)
  for dtype, taken in ((jnp.float32, saves), (jnp.bfloat16, False)):
    text = str(jax.make_jaxpr(run)(images.astype(dtype), jnp.ones(kernel, dtype)))
    assert ("conv_3x3" in text) == taken
