import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softmax_research.data import (
  Dataset,
  Split,
  channel_statistics,
  check_dataset,
  class_counts,
  split_train_validation,
  standardise,
  stratified_sample,
)


def _images(size=4, shape=(2, 2, 1)):
  return Split(np.zeros((size, *shape), np.uint8), (np.arange(size) % 2).astype(np.int32))


def _points(value):
  return Split(np.full((2, 2), value, np.float32), np.array([0, 1], np.int32))


VALID = Dataset("tiny", _images(), _images(2), ("even", "odd"))


_FLOATS = Split(_images().images.astype(np.float32), _images().labels)


@pytest.mark.parametrize("split", [_images(), _FLOATS, _points(0.5)])
def test_a_valid_dataset_is_returned_as_it_is(split):
  dataset = dataclasses.replace(VALID, train=split, test=split)
  assert check_dataset(dataset) is dataset


@pytest.mark.parametrize(
  "train, message",
  [
    (Split(_images().images, np.array([0, 1, 0, 2], np.int32)), r"1 labels.*\[0, 2\).*is 2"),
    (Split(_images().images, np.array([0, -1, 0, 1], np.int32)), r"1 labels.*is -1"),
    (Split(_images().images, np.zeros(4, np.int64)), "labels are int64"),
    (Split(_images().images, np.zeros(3, np.int32)), r"labels are int32 \(3,\)"),
    (Split(_images().images.astype(np.float64), _images().labels), "images are float64"),
    (Split(_images().images[..., 0], _images().labels), r"images are uint8 \(4, 2, 2\)"),
    (_images(0), "images are empty"),
    (_images(shape=(0, 2, 1)), "images are empty"),
    (_images(shape=(2, 3, 1)), r"train images are uint8 \(2, 3, 1\)"),
    (_points(np.nan), "not finite"),
    (_points(np.inf), "not finite"),
  ],
)
@pytest.mark.parametrize("where", ["train", "test"])
def test_what_is_wrong_is_named(train, message, where):
  if message.startswith("train images") and where == "test":
    message = message.replace("train", "test")
  with pytest.raises(ValueError, match=f"tiny.*{message}"):
    check_dataset(dataclasses.replace(VALID, **{where: train}))


def test_a_dataset_may_declare_labels_that_are_missing():
  split = Split(_images().images, np.array([0, -1, 0, 1], np.int32))
  valid = dataclasses.replace(VALID, train=split, ignore_label=-1)
  assert check_dataset(valid) is valid
  with pytest.raises(ValueError, match="tiny: ignore_label is 1, which is a class"):
    check_dataset(dataclasses.replace(VALID, ignore_label=1))
  none = Split(_images().images, np.full(4, -1, np.int32))
  with pytest.raises(ValueError, match="tiny/test: all labels are -1"):
    check_dataset(dataclasses.replace(valid, test=none))
  assert class_counts(split.labels, 2).tolist() == [2, 1]
  # Those without a label are shared among the splits as a class is.
  pool = _pool([-1] * 10 + [0] * 20 + [1] * 20)
  _, validation = split_train_validation(pool, num_validation=5, seed=0)
  assert validation.labels.tolist() == [-1, 0, 0, 1, 1]


def test_labels_may_be_distributions():
  soft = np.array([[0.5, 0.5], [1, 0], [0.25, 0.75], [0, 1]], np.float32)
  valid = dataclasses.replace(VALID, train=Split(_images().images, soft))
  assert check_dataset(valid) is valid
  assert class_counts(soft, 2).tolist() == [1.75, 2.25]
  for wrong, message in (
    (soft[:3], r"distributions must be \(4, 2\)"),
    (2 * soft, "4 labels are no distributions, the first of example 0"),
    (soft - [[0, 0], [0, 0], [0, 0], [1, -1]], "1 labels are no distributions.*example 3"),
  ):
    with pytest.raises(ValueError, match=f"tiny/train: .*{message}"):
      split = Split(_images().images, wrong.astype(np.float32))
      check_dataset(dataclasses.replace(VALID, train=split))
  pool = Split(np.zeros((40, 1), np.float32), np.tile(soft[1:3], (20, 1)))
  _, validation = split_train_validation(pool, num_validation=10, seed=0)
  assert validation.labels[:, 0].mean() == 0.625


def _pool(labels):
  labels = np.asarray(labels, np.int32)
  return Split(np.arange(len(labels), dtype=np.float32)[:, None], labels)


def _random_labels(size, num_classes, seed=0):
  return np.random.default_rng(seed).integers(0, num_classes, size)


@pytest.mark.parametrize("num_validation", [1, 37, 100, 500, 990])
def test_the_two_splits_partition_the_pool_in_its_order(num_validation):
  pool = _pool(_random_labels(1000, 10))
  train, validation = split_train_validation(pool, num_validation=num_validation, seed=3)
  assert len(validation.labels) == num_validation
  rows = np.concatenate([train.images, validation.images])[:, 0]
  np.testing.assert_array_equal(np.sort(rows), np.arange(1000))
  for split in (train, validation):
    index = split.images[:, 0].astype(int)
    assert (np.diff(index) > 0).all()
    np.testing.assert_array_equal(split.labels, pool.labels[index])


@pytest.mark.parametrize("size", [10, 123, 400])
def test_each_class_gets_its_share_to_within_one(size):
  labels = np.concatenate([np.full(n, k) for k, n in enumerate([500, 300, 150, 50])])
  chosen = stratified_sample(labels, size, seed=0)
  exact = np.array([500, 300, 150, 50]) * size / 1000
  assert np.abs(np.bincount(labels[chosen], minlength=4) - exact).max() <= 1


def test_the_choice_within_a_class_is_uniform():
  labels = np.repeat([0, 1], 10)
  times = np.zeros(20)
  for seed in range(2000):
    times[stratified_sample(labels, 4, seed=seed)] += 1
  # Binomial(2000, 0.2): a standard deviation is 18; five of them on each side.
  assert times.min() > 400 - 90 and times.max() < 400 + 90


def test_the_seed_alone_decides():
  pool = _pool(_random_labels(200, 5))
  first, again, other = (
    split_train_validation(pool, num_validation=40, seed=seed)[1].images for seed in (1, 1, 2)
  )
  np.testing.assert_array_equal(first, again)
  assert (first != other).any()


def test_the_choice_never_changes():
  # Written down once: results on disk rest on these very splits.
  labels = np.arange(20) % 2
  assert stratified_sample(labels, 6, seed=0).tolist() == [2, 3, 8, 11, 13, 18]


def test_fraction_is_rounded_to_a_count():
  pool = _pool(_random_labels(101, 3))
  by_fraction = split_train_validation(pool, fraction=0.1, seed=0)[1]
  by_count = split_train_validation(pool, num_validation=10, seed=0)[1]
  np.testing.assert_array_equal(by_fraction.images, by_count.images)


def test_every_class_keeps_a_training_example():
  pool = _pool([0] * 50 + [1] * 2 + [2] + [4])
  train, _ = split_train_validation(pool, num_validation=50, seed=0)
  assert np.bincount(train.labels).tolist() == [1, 1, 1, 0, 1]


@pytest.mark.parametrize("num_validation", [0, -1, 9, 10, 11])
def test_impossible_sizes_are_errors(num_validation):
  with pytest.raises(ValueError, match=f"{num_validation} of 10 .*at least 1, and at most 8"):
    split_train_validation(_pool([0, 1] * 5), num_validation=num_validation, seed=0)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_fractions_lie_between_0_and_1(fraction):
  with pytest.raises(ValueError, match="between 0 and 1"):
    split_train_validation(_pool([0, 1]), fraction=fraction, seed=0)


def test_a_fraction_that_rounds_to_nothing_is_an_error():
  with pytest.raises(ValueError, match="set aside 0 of 10"):
    split_train_validation(_pool([0, 1] * 5), fraction=0.01, seed=0)


def test_a_negative_seed_is_an_error():
  with pytest.raises(ValueError, match="seed=-1; it must be an integer of at least 0"):
    split_train_validation(_pool([0, 1] * 5), num_validation=2, seed=-1)


@pytest.mark.parametrize("sizes", [{}, {"num_validation": 2, "fraction": 0.2}])
def test_exactly_one_size_is_given(sizes):
  with pytest.raises(TypeError, match="one of num_validation and fraction"):
    split_train_validation(_pool([0, 1] * 5), **sizes, seed=0)


def test_a_count_is_an_integer():
  with pytest.raises(TypeError):
    split_train_validation(_pool([0, 1] * 5), num_validation=2.0, seed=0)


def _pixels(shape=(2500, 4, 5, 3)):
  return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_statistics_are_those_of_all_pixels_of_a_channel():
  images = _pixels()  # More than one chunk.
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


@pytest.mark.parametrize("images", [_pixels(), _pixels((3000, 2)).astype(np.float32)])
def test_standardised_training_data_has_mean_0_and_variance_1(images):
  mean, std = channel_statistics(images)
  out = jax.jit(standardise)(images, mean, std)
  assert out.dtype == jnp.float32
  axes = tuple(range(images.ndim - 1))
  out = np.asarray(out, np.float64)
  np.testing.assert_allclose(out.mean(axes), 0.0, atol=1e-6)
  np.testing.assert_allclose(out.std(axes), 1.0, rtol=1e-6)


def test_standardise_equals_the_formula():
  images = _pixels((4, 3, 3, 3))
  mean, std = np.array([0.1, 0.5, 0.9]), np.array([0.2, 0.3, 0.4])
  expected = (images.astype(np.float64) / 255 - mean) / std
  np.testing.assert_allclose(standardise(images, mean, std), expected, rtol=1e-5, atol=1e-6)


def test_points_are_not_divided_by_255():
  points = np.array([[1.0, 2.0]], np.float32)
  np.testing.assert_allclose(standardise(points, np.zeros(2), np.ones(2)), points)


@pytest.mark.parametrize("dtype", [np.int32, np.int8, np.uint16, bool])
def test_pixels_of_unknown_scale_are_rejected(dtype):
  with pytest.raises(TypeError, match=f"uint8 or floating; got {np.dtype(dtype)}"):
    standardise(np.zeros((1, 2, 2, 1), dtype), 0.0, 1.0)
