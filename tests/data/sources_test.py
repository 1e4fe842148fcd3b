import subprocess
import sys

import numpy as np
import pytest

from softmax_research import data


@pytest.mark.parametrize("name", ["digits", "spiral", "wdbc"])
def test_embedded_datasets_touch_no_files(name, tmp_path):
  (tmp_path / "file").write_text("")
  dataset = data.load(name, data_dir=tmp_path / "file", cache_dir=tmp_path / "file")
  assert dataset.name == name
  assert dataset.num_classes == data.NUM_CLASSES[name]


def test_an_unknown_name_is_an_error_that_lists_the_names():
  listed = "digits, spiral, wdbc, mnist, fashion_mnist, cifar10, cifar100"
  with pytest.raises(ValueError, match=f"unknown dataset 'minst'; there are: {listed}"):
    data.load("minst")


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


def test_real_cifar10(load_images):
  cifar10 = load_images("cifar10")
  assert cifar10.train.images.shape == (50000, 32, 32, 3)
  assert np.bincount(cifar10.train.labels).tolist() == [5000] * 10
  assert np.bincount(cifar10.test.labels).tolist() == [1000] * 10
  assert cifar10.class_names[0] == "airplane" and cifar10.class_names[9] == "truck"
  mean, std = data.channel_statistics(cifar10.train.images)
  np.testing.assert_allclose(mean, [0.4914, 0.4822, 0.4465], atol=1e-4)
  np.testing.assert_allclose(std, [0.2470, 0.2435, 0.2616], atol=1e-4)


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
