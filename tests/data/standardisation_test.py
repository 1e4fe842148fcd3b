import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softmax_research.data import channel_statistics, standardise


def _images(shape=(2500, 4, 5, 3)):
  return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_statistics_are_those_of_all_pixels_of_a_channel():
  images = _images()  # More than one chunk.
  mean, std = channel_statistics(images)
  scaled = images.astype(np.float64) / 255
  np.testing.assert_allclose(mean, scaled.mean((0, 1, 2)), rtol=1e-6)
  np.testing.assert_allclose(std, scaled.std((0, 1, 2)), rtol=1e-6)
  assert mean.dtype == std.dtype == np.float32


def test_statistics_hold_far_from_zero():
  points = np.random.default_rng(0).normal(1000.0, 0.1, (5000, 2)).astype(np.float32)
  _, std = channel_statistics(points)
  np.testing.assert_allclose(std, points.astype(np.float64).std(0), rtol=1e-6)


@pytest.mark.parametrize("value", [0.0, 5.1, -300.7])
def test_a_constant_channel_becomes_zero(value):
  points = np.full((3000, 2), value, np.float32)
  points[:, 1] = np.arange(3000)
  mean, std = channel_statistics(points)
  assert std[0] == 1.0
  np.testing.assert_array_equal(standardise(points, mean, std)[:, 0], 0.0)


def test_a_constant_image_channel_becomes_zero():
  images = np.full((10, 2, 2, 1), 51, np.uint8)
  mean, std = channel_statistics(images)
  assert std[0] == 1.0
  np.testing.assert_allclose(standardise(images, mean, std), 0.0, atol=1e-7)


@pytest.mark.parametrize("images", [_images(), _images((3000, 2)).astype(np.float32)])
def test_standardised_training_data_has_mean_0_and_variance_1(images):
  mean, std = channel_statistics(images)
  out = jax.jit(standardise)(images, mean, std)
  assert out.dtype == jnp.float32
  axes = tuple(range(images.ndim - 1))
  out = np.asarray(out, np.float64)
  np.testing.assert_allclose(out.mean(axes), 0.0, atol=1e-6)
  np.testing.assert_allclose(out.std(axes), 1.0, rtol=1e-6)


def test_standardise_equals_the_formula():
  images = _images((4, 3, 3, 3))
  mean, std = np.array([0.1, 0.5, 0.9]), np.array([0.2, 0.3, 0.4])
  expected = (images.astype(np.float64) / 255 - mean) / std
  np.testing.assert_allclose(standardise(images, mean, std), expected, rtol=1e-5, atol=1e-6)


def test_points_are_not_divided_by_255():
  points = np.array([[1.0, 2.0]], np.float32)
  np.testing.assert_allclose(standardise(points, np.zeros(2), np.ones(2)), points)


@pytest.mark.parametrize("dtype", [np.int32, np.int8, np.uint16, bool])
def test_images_of_unknown_scale_are_rejected(dtype):
  with pytest.raises(TypeError, match=f"uint8 or floating; got {np.dtype(dtype)}"):
    standardise(np.zeros((1, 2, 2, 1), dtype), 0.0, 1.0)
