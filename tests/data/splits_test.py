import numpy as np
import pytest

from softmax_research.data import Split, split_train_validation, stratified_sample


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
  with pytest.raises(ValueError, match="seed must not be negative; got -1"):
    split_train_validation(_pool([0, 1] * 5), num_validation=2, seed=-1)


@pytest.mark.parametrize("sizes", [{}, {"num_validation": 2, "fraction": 0.2}])
def test_exactly_one_size_is_given(sizes):
  with pytest.raises(TypeError, match="one of num_validation and fraction"):
    split_train_validation(_pool([0, 1] * 5), **sizes, seed=0)


def test_a_count_is_an_integer():
  with pytest.raises(TypeError):
    split_train_validation(_pool([0, 1] * 5), num_validation=2.0, seed=0)
