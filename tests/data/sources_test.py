import dataclasses
import hashlib
import itertools
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from softmax_research import data
from softmax_research.data import check_dataset, digits, spiral, tfds_images
from softmax_research.data.cache import load_or_build


@pytest.mark.parametrize("name", ["digits", "spiral", "wdbc", "iris", "wine"])
def test_embedded_datasets_touch_no_files(name, tmp_path):
  (tmp_path / "cache").write_text("")
  dataset = data.load(name, data_dir=tmp_path / "cache")
  assert dataset.name == name
  assert dataset.num_classes == data.NUM_CLASSES[name]


def test_measurements_are_scikit_learns_in_two_parts():
  for name, features, sizes in (
    ("iris", 4, (105, 45)),
    ("wine", 13, (125, 53)),
    ("wdbc", 30, (398, 171)),
  ):
    found = data.load(name)
    shapes = [split.images.shape for split in (found.train, found.test)]
    assert shapes == [(size, features) for size in sizes]
  assert data.load("iris").class_names == ("setosa", "versicolor", "virginica")


def test_an_unknown_name_is_an_error_that_lists_the_names():
  with pytest.raises(ValueError, match=r"dataset 'minst'; the datasets are cifar10, .*wine"):
    data.load("minst")


def test_options_are_those_of_what_is_named():
  assert data.load("spiral:num_arms=4").num_classes == 4
  with pytest.raises(ValueError, match=r"option 'arms' .* its options are noise=0.04, num_arms=3"):
    data.check_name("spiral:arms=4")
  with pytest.raises(
    ValueError, match=r"missing a required argument: 'name'; write .*tfds:cifar10"
  ):
    data.load("tfds")


def test_a_fingerprint_is_of_what_is_in_a_file_or_folder(tmp_path):
  for name in ("one", "two"):
    (tmp_path / name).mkdir()
    for i in range(2):
      (tmp_path / name / f"{i}.png").write_text("image")
  one, two = f"{tmp_path}/one", f"{tmp_path}/two:size=8"
  assert data.fingerprint(one) == data.fingerprint(two)
  (tmp_path / "two" / "2.png").touch()
  assert data.fingerprint(one) != data.fingerprint(two)
  assert data.fingerprint(f"{one}/0.png") == data.fingerprint(f"{one}/1.png")
  (tmp_path / "two" / "labels").write_text("01")
  (tmp_path / "one" / "2.png").touch()
  (tmp_path / "one" / "labels").write_text("10")
  assert data.fingerprint(one) != data.fingerprint(two)
  assert data.fingerprint("tfds:mnist") is data.fingerprint("my.own") is None


_MNIST_COUNTS = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.mark.parametrize(
  ("name", "shape", "counts", "mean", "std"),
  [
    ("mnist", (10000, 28, 28, 1), _MNIST_COUNTS, [0.1325], [0.3105]),
    (
      "cifar10",
      (10000, 32, 32, 3),
      [1000] * 10,
      [0.4942, 0.4851, 0.4504],
      [0.2467, 0.2429, 0.2616],
    ),
  ],
)
def test_real_images(name, shape, counts, mean, std, tfds_data_dir, monkeypatch):
  """Of the test split alone: to decode both of both takes half a minute."""
  decode = tfds_images._decode_split

  def decode_test_split(builder, split, *keys):
    return decode(builder, "test", *keys)

  monkeypatch.setattr(tfds_images, "_decode_split", decode_test_split)
  found = data.load(name, data_dir=tfds_data_dir)
  assert found.test.images.shape == shape
  assert np.bincount(found.test.labels).tolist() == counts
  assert found.class_names[0] in ("0", "airplane") and found.class_names[9] in ("9", "truck")
  # The published statistics of these pixels.
  np.testing.assert_allclose(data.channel_statistics(found.test.images), [mean, std], atol=1e-4)


def test_a_second_load_imports_nothing_of_tfds():
  load_or_build("mnist", lambda: dataclasses.replace(digits(), name="mnist"))
  program = """
import sys
from softmax_research import data
lazy = {"tensorflow", "tensorflow_datasets", "array_record", "sklearn"}
assert not lazy & set(sys.modules), lazy & set(sys.modules)
mnist = data.load("mnist", data_dir="/nowhere")
assert not lazy & set(sys.modules), lazy & set(sys.modules)
assert len(mnist.test.labels) == 360
"""
  subprocess.run([sys.executable, "-c", program], check=True)


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
    ({"num_arms": 1}, "num_arms=1; it must be an integer of at least 2"),
    ({"num_train": 2}, "at least num_arms=3.*got 2"),
    ({"num_test": 0}, "at least num_arms=3.*got 3000 and 0"),
    ({"noise": -0.1}, "noise=-0.1; it must be finite and >= 0"),
  ],
)
def test_spiral_rejects_bad_options(options, message):
  with pytest.raises(ValueError, match=message):
    spiral(**options)


def test_label_noise_is_of_the_training_pool_of_any_dataset(tmp_path):
  noisy, clean = data.load("label_noise:of=(spiral:num_arms=5):rate=0.4:flips=pair"), spiral(5)
  wrong = noisy.train.labels != clean.train.labels
  np.testing.assert_allclose(wrong.mean(), 0.4, atol=0.03)
  np.testing.assert_array_equal(noisy.train.labels, (clean.train.labels + wrong) % 5)
  np.testing.assert_array_equal(noisy.train.images, clean.train.images)
  np.testing.assert_array_equal(noisy.test.labels, clean.test.labels)
  assert noisy.name == "spiral with 40 % pair label noise"
  np.savez(tmp_path / "own.npz", images=np.zeros((6, 2)), labels=[0, 1] * 3)
  own = str(tmp_path / "own.npz")
  assert data.fingerprint(f"label_noise:of={own}:rate=0.1") == data.fingerprint(own)
  np.savez(own, images=np.zeros((9, 2)), labels=[0, 1, -1] * 3, ignore_label=-1)
  with pytest.raises(ValueError, match="may lack a label; give data without those"):
    data.load(f"label_noise:of={own}:rate=0.1")


@pytest.mark.parametrize("flips", ["symmetric", "pair"])
def test_a_validation_split_has_as_many_wrong_labels_as_training_has(flips):
  pool = data.load(f"label_noise:of=(spiral:num_train=20000):rate=0.4:flips={flips}").train
  truth = spiral(num_train=20_000).train.labels
  marked = pool._replace(images=truth[:, None].astype(np.float32))
  for split in data.split_train_validation(marked, fraction=0.1, seed=0):
    wrong = np.mean(split.images[:, 0] != split.labels)
    np.testing.assert_allclose(wrong, 0.4, atol=0.04)


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("label_noise:of=minst:rate=0.2", "dataset 'minst'"),
    ("label_noise:of=digits", "without rate"),
    ("label_noise:of=digits:rate=2", "rate=2"),
    ("label_noise:of=digits:rate=0.2:flips=uniform", "flips are symmetric and pair"),
  ],
)
def test_bad_label_noise(text, message):
  with pytest.raises(ValueError, match=message):
    data.load(text)
  if "=minst" in text:  # Known before anything is loaded.
    with pytest.raises(ValueError, match=message):
      data.check_name(text)
