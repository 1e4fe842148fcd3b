import sys

import numpy as np
import pytest

from softmax_research.data import DataUnavailableError, load

REMOTE = ("mnist", "fashion_mnist", "cifar10", "cifar100")


def _examples(seed, size=5):
  rng = np.random.default_rng(seed)
  images = rng.integers(0, 256, (size, 32, 32, 3), dtype=np.uint8)
  return images, rng.integers(0, 100, size)


@pytest.fixture
def tiny_cifar100(monkeypatch):
  """CIFAR-100's own builder, with a few made-up examples in place of its download."""
  pytest.importorskip("tensorflow")
  tfds = pytest.importorskip("tensorflow_datasets")

  class Cifar100(tfds.image_classification.Cifar100, skip_registration=True):
    name = "cifar100"
    url_infos = {}  # noqa: RUF012

    def _split_generators(self, dl_manager):
      del dl_manager
      self.info.features["label"].names = [f"name {k}" for k in range(100)]
      return {"train": self._generate_examples(0), "test": self._generate_examples(1)}

    def _generate_examples(self, seed):
      for i, (image, label) in enumerate(zip(*_examples(seed), strict=True)):
        yield i, {"id": str(i), "image": image, "label": label, "coarse_label": 0}

  monkeypatch.setattr(tfds, "builder", lambda name, **options: Cifar100(**options))


def _sorted(images, labels):
  order = np.argsort(images.reshape(len(images), -1)[:, 0], kind="stable")
  return images[order], labels[order]


def test_cifar100_is_prepared_decoded_and_kept(tiny_cifar100, tmp_path, monkeypatch, capsys):
  data_dir = tmp_path / "tfds"
  dataset = load("cifar100", data_dir=data_dir)
  for seed, split in enumerate((dataset.train, dataset.test)):
    # TFDS shuffles when it prepares.
    for ours, made in zip(_sorted(*split), _sorted(*_examples(seed)), strict=True):
      np.testing.assert_array_equal(ours, made)
  assert dataset.num_classes == 100 and dataset.class_names[99] == "name 99"
  assert "Decoding cifar100 once" in capsys.readouterr().err

  # Decoded again from the prepared files, whose directory the environment names.
  monkeypatch.setenv("TFDS_DATA_DIR", str(data_dir))
  monkeypatch.setenv("SOFTMAX_RESEARCH_CACHE", str(tmp_path / "other"))
  again = load("tfds:cifar100")
  np.testing.assert_array_equal(again.train.images, dataset.train.images)


@pytest.mark.parametrize("name", ["iris", "voc", "imagenet2012"])
def test_a_dataset_of_another_kind_is_refused_before_it_is_prepared(name, tmp_path):
  pytest.importorskip("tensorflow_datasets")
  with pytest.raises(DataUnavailableError, match=rf"the dataset {name} .*images uint8 \[H, W, C\]"):
    load(f"tfds:{name}", data_dir=tmp_path)


def test_prepared_files_that_cannot_be_read_are_an_error(tiny_cifar100, tmp_path, cache):
  load("cifar100", data_dir=tmp_path)
  (cache / "cifar100.npz").unlink()
  for path in tmp_path.glob("cifar100/*/*.array_record*"):
    path.write_bytes(path.read_bytes()[:50])
  with pytest.raises(DataUnavailableError, match=f"prepared files in {tmp_path}/cifar100.*delete"):
    load("cifar100", data_dir=tmp_path)


def test_prepared_files_of_another_format_are_an_error(tfds_data_dir, tmp_path):
  source = next(tfds_data_dir.glob("mnist/*/dataset_info.json"))
  copy = tmp_path / source.relative_to(tfds_data_dir)
  copy.parent.mkdir(parents=True)
  copy.write_text(source.read_text().replace("array_record", "tfrecord"))
  copy.with_name("features.json").write_text(source.with_name("features.json").read_text())
  with pytest.raises(DataUnavailableError, match=r"cannot open mnist.*array_record.*data_dir"):
    load("mnist", data_dir=tmp_path)


@pytest.mark.parametrize("package", ["tensorflow_datasets", "array_record"])
@pytest.mark.parametrize("name", REMOTE)
def test_without_the_extra_the_error_says_what_to_install(name, package, tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, package, None)
  with pytest.raises(DataUnavailableError) as caught:
    load(name, data_dir=tmp_path)
  for part in (package, 'pip install "softmax_research[tfds]"', f"{tmp_path}/{name}", "'digits'"):
    assert part in str(caught.value)
  assert not list((tmp_path / "cache").iterdir())


def test_preparing_without_tensorflow_says_what_to_install(tmp_path, monkeypatch):
  pytest.importorskip("tensorflow_datasets")
  monkeypatch.setitem(sys.modules, "tensorflow", None)
  with pytest.raises(DataUnavailableError) as caught:
    load("fashion_mnist", data_dir=tmp_path)
  for part in ("needs tensorflow;", "softmax_research[tfds]", f"{tmp_path}/fashion_mnist/"):
    assert part in str(caught.value)


@pytest.mark.parametrize("name", REMOTE)
def test_without_a_network_the_error_says_where_to_put_files(name, tmp_path, monkeypatch):
  pytest.importorskip("tensorflow")
  pytest.importorskip("tensorflow_datasets")
  # Nothing listens there, whether or not this machine has a network.
  for variable in ("http_proxy", "https_proxy"):
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
  for variable in ("no_proxy", "NO_PROXY"):
    monkeypatch.delenv(variable, raising=False)
  with pytest.raises(DataUnavailableError, match="cannot download") as caught:
    load(name, data_dir=tmp_path)
  for part in ("ProxyError", f"Looked for in {tmp_path}/{name}/", "TFDS_DATA_DIR", "'digits'"):
    assert part in str(caught.value)
  assert type(caught.value.__cause__).__name__ == "ProxyError"


def test_an_unwritable_cache_fails_before_anything_is_prepared(tmp_path, monkeypatch):
  (tmp_path / "cache").write_text("")
  monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)  # Would be the next error.
  with pytest.raises(DataUnavailableError, match="cannot write to the cache directory"):
    load("cifar10", data_dir=tmp_path)
