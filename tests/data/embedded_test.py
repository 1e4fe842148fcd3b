import hashlib
import itertools

import numpy as np
import pytest
from sklearn.datasets import load_digits

from softmax_research.data import check_dataset, digits, spiral


def test_digits_are_scikit_learns_in_two_disjoint_parts():
  dataset = check_dataset(digits())
  images = np.concatenate([dataset.train.images, dataset.test.images])
  labels = np.concatenate([dataset.train.labels, dataset.test.labels])
  # 255/16 steps of ink: the original counts come back exactly.
  ink = np.rint(images[..., 0] * (16 / 255)).astype(int)
  ours = sorted(zip(ink.reshape(-1, 64).tolist(), labels.tolist(), strict=True))
  source = load_digits()
  theirs = zip(source.data.astype(int).tolist(), source.target.tolist(), strict=True)
  assert ours == sorted(theirs)
  assert images.max() == 255


def test_digits_test_split_is_a_stratified_fifth():
  dataset = digits()
  test = np.bincount(dataset.test.labels)
  total = test + np.bincount(dataset.train.labels)
  assert test.sum() == 360 and total.sum() == 1797
  assert np.abs(test - total * 360 / 1797).max() <= 1


def test_digits_split_never_changes():
  # Written down once: published results rest on this very test split.
  test = digits().test
  digest = hashlib.sha256(test.images.tobytes() + test.labels.astype("<i4").tobytes())
  assert digest.hexdigest()[:16] == "883634103e27df12"


def test_spiral_points_lie_on_their_arms_without_noise():
  dataset = check_dataset(spiral(5, num_train=50, num_test=10, turns=0.5, noise=0.0))
  for points, labels in (dataset.train, dataset.test):
    z = points[:, 0] + 1j * points[:, 1]
    turned_back = z * np.exp(-2j * np.pi * (labels / 5 + 0.5 * np.abs(z)))
    np.testing.assert_allclose(turned_back.imag, 0.0, atol=1e-6)
    assert turned_back.real.min() >= 0.05 - 1e-6 and turned_back.real.max() <= 1.0


def test_spiral_noise_has_its_standard_deviation():
  clean, noisy = (spiral(num_train=20_000, turns=0.0, noise=noise) for noise in (0.0, 0.2))
  # One draw of radii serves both, so the difference is the noise alone.
  difference = noisy.train.images - clean.train.images
  np.testing.assert_allclose(difference.std(axis=0), 0.2, rtol=0.03)
  np.testing.assert_allclose(difference.mean(axis=0), 0.0, atol=0.01)


def test_spiral_splits_and_seeds_differ_and_a_seed_repeats():
  first, again, other = spiral(), spiral(), spiral(seed=1)
  np.testing.assert_array_equal(first.train.images, again.train.images)
  draws = [first.train.images, first.test.images, other.train.images, other.test.images]
  for a, b in itertools.combinations(draws, 2):
    assert not np.isin(a[:, 0], b[:, 0]).all()


def test_spiral_classes_are_of_equal_size():
  dataset = spiral(3, num_train=31, num_test=30)
  assert np.bincount(dataset.train.labels).tolist() == [11, 10, 10]
  assert dataset.num_classes == len(dataset.class_names) == 3


@pytest.mark.parametrize(
  "options, message",
  [
    ({"num_arms": 1}, "at least 2.*got 1"),
    ({"num_train": 2}, "at least num_arms=3.*got 2"),
    ({"num_test": 0}, "at least num_arms=3.*got 3000 and 0"),
    ({"noise": -0.1}, "must not be negative; got -0.1"),
  ],
)
def test_spiral_rejects_bad_options(options, message):
  with pytest.raises(ValueError, match=message):
    spiral(**options)
