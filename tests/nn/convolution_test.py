"""The patches form against the library's convolution: values, gradients, batching."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from softmax_research.nn import cpu
from softmax_research.nn.convolution import conv

NUMBERS = ("NHWC", "HWIO", "NHWC")
# Few channels and many, since the form depends on them; odd sizes; images below the kernel's size.
SHAPES = [(6, 6, 1, 4), (7, 5, 3, 2), (5, 8, 4, 5), (1, 2, 3, 3)]


def _arrays(size, shape, batch=3):
  height, width, channels, filters = shape
  rng = np.random.default_rng(size)
  images = rng.normal(size=(batch, height, width, channels))
  kernel = rng.normal(size=(size, size, channels, filters))
  return images, kernel


def _ours(padding, strides=(1, 1)):
  return functools.partial(conv, window_strides=strides, padding=padding, dimension_numbers=NUMBERS)


def _library(padding, strides=(1, 1)):
  return functools.partial(
    lax.conv_general_dilated, window_strides=strides, padding=padding, dimension_numbers=NUMBERS
  )


@pytest.mark.parametrize("padding", ["SAME", "VALID", ((1, 2), (0, 3))])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_values_and_gradients_are_the_librarys(size, padding):
  def run(function, images, kernel):
    outputs, pullback = jax.vjp(function(padding), images, kernel)
    return outputs, pullback(jnp.cos(outputs))

  @jax.jit
  def both(cases):
    return [[run(function, *arrays) for arrays in cases] for function in (_ours, _library)]

  with jax.enable_x64(True):
    actual, expected = both([_arrays(size, shape) for shape in SHAPES])
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-11), actual, expected
    )


@pytest.mark.parametrize("padding", ["SAME", "VALID", ((1, 1), (1, 1))])
def test_strides_are_the_librarys(padding):
  all_strides = ((2, 2), (2, 2), (3, 2), (2, 1))
  shapes = ((3, (7, 6, 3, 2)), (1, (5, 6, 3, 2)), (2, (8, 6, 2, 3)), (5, (9, 7, 2, 3)))
  cases = [_arrays(*shape) for shape in shapes]

  @functools.partial(jax.jit, static_argnums=0)
  def run(form, cases):
    found = []
    for strides, arrays in zip(all_strides, cases, strict=True):
      outputs, pullback = jax.vjp(form(padding, strides), *arrays)
      found.append((outputs, pullback(jnp.cos(outputs))))
    return found

  with jax.enable_x64(True):
    actual, expected = (run(form, cases) for form in (_ours, _library))
  text = run.lower(_ours, cases).as_text()
  assert "stablehlo.convolution" not in text
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11), actual, expected
  )


def test_second_derivatives_are_the_librarys():
  with jax.enable_x64(True):
    images, kernel = _arrays(3, SHAPES[1])

    @functools.partial(jax.jit, static_argnums=0)
    def curvature(function, images, kernel):
      def slope(images, kernel):
        grads = jax.grad(lambda *a: jnp.sin(function(*a)).sum(), argnums=(0, 1))(images, kernel)
        return sum(jnp.vdot(jnp.cos(g), g) for g in grads)

      return jax.grad(slope, argnums=(0, 1))(images, kernel)

    actual, expected = (curvature(f("SAME"), images, kernel) for f in (_ours, _library))
    for a, b in zip(actual, expected, strict=True):
      np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)])
def test_gradients_under_vmap_are_the_librarys(axes):
  images, kernel = _arrays(3, SHAPES[2])
  stacked = (
    jnp.stack([images, 2 * images]) if axes[0] == 0 else images,
    jnp.stack([kernel, 3 * kernel]) if axes[1] == 0 else kernel,
  )

  def grads(function):
    loss = lambda images, kernel: jnp.sin(function(images, kernel)).sum()  # noqa: E731
    return jax.jit(jax.vmap(jax.grad(loss, argnums=(0, 1)), in_axes=axes))(*stacked)

  for a, b in zip(grads(_ours("SAME")), grads(_library("SAME")), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
  ("options", "channels"),
  [
    ({"window_strides": (1, 1), "rhs_dilation": (2, 2)}, 4),
    ({"window_strides": (1, 1), "lhs_dilation": (2, 1), "padding": ((1, 1), (0, 0))}, 4),
    ({"window_strides": (1, 1), "feature_group_count": 2}, 2),
    ({"window_strides": (1, 1), "precision": lax.Precision.HIGHEST}, 4),
  ],
)
def test_other_cases_take_the_librarys_form(options, channels):
  images, kernel = _arrays(3, SHAPES[2])
  kernel = kernel[:, :, :channels, :4]
  options = {"padding": "SAME", "dimension_numbers": NUMBERS} | options
  np.testing.assert_array_equal(
    conv(images, kernel, **options), lax.conv_general_dilated(images, kernel, **options)
  )


def test_other_layouts_take_the_librarys_form():
  images, kernel = _arrays(3, SHAPES[2])
  images = images.transpose(0, 3, 1, 2)
  options = {"padding": "SAME", "dimension_numbers": ("NCHW", "HWIO", "NCHW")}
  np.testing.assert_array_equal(
    conv(images, kernel, (1, 1), **options),
    lax.conv_general_dilated(images, kernel, (1, 1), **options),
  )


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_flax_layer_takes_it(padding):
  @jax.jit
  def run(images):
    layer = functools.partial(nnx.Conv, 2, 3, (3, 3), padding=padding, rngs=nnx.Rngs(0))
    ours = functools.partial(layer, conv_general_dilated=conv, rngs=nnx.Rngs(0))
    return layer()(images), ours()(images)

  np.testing.assert_allclose(*run(np.ones((2, 6, 6, 2), np.float32)), rtol=1e-5, atol=1e-6)


def test_bfloat16_keeps_its_type_and_sums_in_float32():
  images, kernel = (jnp.asarray(a, jnp.bfloat16) for a in _arrays(3, (6, 6, 16, 4)))
  outputs = np.asarray(jax.jit(_ours("SAME"))(images, kernel))
  exact = jax.jit(_library("SAME"))(*(np.asarray(a, np.float32) for a in (images, kernel)))
  assert outputs.dtype == jnp.bfloat16
  # One rounding to 8 bits; sums in bfloat16 would be off by many times that.
  np.testing.assert_allclose(outputs.astype(np.float32), exact, rtol=2**-8, atol=1e-4)


def test_on_a_gpu_each_column_of_the_kernel_is_summed_in_float32(monkeypatch):
  monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
  images, kernel = (jnp.asarray(a, jnp.bfloat16) for a in _arrays(3, (6, 6, 16, 4)))
  pads = ((1, 1), (1, 1))
  wide = cpu.convolve(
    *(cpu.batch_last(images).astype(jnp.float32), kernel.astype(jnp.float32)), pads
  )
  outputs = cpu.convolve(cpu.batch_last(images), kernel, pads).astype(jnp.float32)
  # Three sums are rounded to 8 bits, and then their own sum.
  scale = np.abs(wide).max()
  np.testing.assert_allclose(outputs, wide, rtol=2**-8, atol=2**-8 * scale)
  assert 0 < np.abs(outputs - wide).max()


def test_sizes_that_leave_nothing_are_the_librarys_too():
  images, kernel = np.ones((1, 2, 2, 1)), np.ones((3, 3, 1, 1))
  assert _ours("VALID")(images, kernel).shape == _library("VALID")(images, kernel).shape
