import hashlib
import itertools
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from softmax_research import data
from softmax_research.data import check_dataset, digits, spiral, tfds_images


@pytest.mark.parametrize("name", ["digits", "spiral", "wdbc", "iris", "wine"])
def test_embedded_datasets_touch_no_files(name, tmp_path):
  (tmp_path / "file").write_text("")
  dataset = data.load(name, data_dir=tmp_path / "file", cache_dir=tmp_path / "file")
  assert dataset.name == name
  assert dataset.num_classes == data.NUM_CLASSES[name]


def test_an_unknown_name_is_an_error_that_lists_the_names():
  with pytest.raises(ValueError, match=r"dataset 'minst'; the datasets are cifar10, .*wine"):
    data.load("minst")


def test_options_are_those_of_what_is_named():
  assert data.load("spiral:num_arms=4").num_classes == 4
  with pytest.raises(ValueError, match=r"option 'arms' .* its options are noise=0.04, num_arms=3"):
    data.check_name("spiral:arms=4")


def test_real_mnist(load_images):
  mnist = load_images("mnist")
  assert mnist.train.images.shape == (60000, 28, 28, 1)
  assert mnist.test.images.shape == (10000, 28, 28, 1)
  counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
  assert np.bincount(mnist.train.labels).tolist() == counts
  counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
  assert np.bincount(mnist.test.labels).tolist() == counts
  assert mnist.num_classes == data.NUM_CLASSES["mnist"]
  assert mnist.class_names == tuple("0123456789")
  # The published statistics of its pixels.
  mean, std = data.channel_statistics(mnist.train.images)
  np.testing.assert_allclose([mean[0], std[0]], [0.1307, 0.3081], atol=5e-5)


def test_real_cifar10(tfds_data_dir, tmp_path, monkeypatch):
  """Of the test split alone: to decode both takes 16 s, and MNIST's are told apart above."""
  decode = tfds_images._decode_split

  def decode_test_split(builder, split, image, label):
    return decode(builder, "test", image, label)

  monkeypatch.setattr(tfds_images, "_decode_split", decode_test_split)
  cifar10 = data.load("cifar10", data_dir=tfds_data_dir, cache_dir=tmp_path)
  assert cifar10.test.images.shape == (10000, 32, 32, 3)
  assert np.bincount(cifar10.test.labels).tolist() == [1000] * 10
  assert cifar10.class_names[0] == "airplane" and cifar10.class_names[9] == "truck"
  mean, std = data.channel_statistics(cifar10.test.images)
  np.testing.assert_allclose(mean, [0.4942, 0.4851, 0.4504], atol=1e-4)
  np.testing.assert_allclose(std, [0.2467, 0.2429, 0.2616], atol=1e-4)


def test_a_second_load_maps_the_files_and_imports_nothing_of_tfds(load_images, image_cache):
  load_images("mnist")
  program = """
import sys, numpy as np
from softmax_research import data
lazy = {"tensorflow", "tensorflow_datasets", "array_record", "sklearn"}
assert not lazy & set(sys.modules), lazy & set(sys.modules)
mnist = data.load("mnist", data_dir="/nowhere", cache_dir=sys.argv[1])
assert not lazy & set(sys.modules), lazy & set(sys.modules)
assert isinstance(mnist.train.images, np.memmap)
assert len(mnist.test.labels) == 10000
"""
  subprocess.run([sys.executable, "-c", program, str(image_cache)], check=True)


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
