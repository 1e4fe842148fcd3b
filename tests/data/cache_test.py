import concurrent.futures
import dataclasses
import threading
import warnings

import numpy as np
import pytest

from softmax_research.data import Dataset, DataUnavailableError, Split
from softmax_research.data.cache import cache_directory, load_or_build


def _tiny(value=7):
  def split(size):
    return Split(np.full((size, 2, 2, 1), value, np.uint8), np.arange(size, dtype=np.int32) % 2)

  return Dataset("tiny", split(4), split(2), ("even", "odd"))


def _unavailable():
  raise DataUnavailableError("the source is gone")


@pytest.fixture(name="kept")
def _kept(cache):
  """The file of a good ``tiny`` in the cache."""
  load_or_build("tiny", _tiny)
  return cache / "tiny.npz"


def _equal(a, b):
  for name in ("train", "test"):
    for x, y in zip(getattr(a, name), getattr(b, name), strict=True):
      np.testing.assert_array_equal(x, y)
      assert x.dtype == y.dtype
  assert (a.name, a.num_classes, a.class_names) == (b.name, b.num_classes, b.class_names)


def test_what_is_built_comes_back():
  for build in (_tiny, _unavailable):  # The second load must not build.
    _equal(load_or_build("tiny", build), _tiny())


def test_examples_without_a_label_come_back():
  labels = np.array([0, 1, -1, 0], np.int32)
  made = dataclasses.replace(_tiny(), ignore_label=-1, train=Split(_tiny().train.images, labels))
  for build in (lambda: made, _unavailable):
    found = load_or_build("tiny", build)
    _equal(found, made)
    assert found.ignore_label == -1


def test_nothing_else_is_left_behind(kept):
  assert list(kept.parent.iterdir()) == [kept]


def _flip_a_bit(path):
  content = bytearray(path.read_bytes())
  content[content.index(b"\7\7\7\7")] ^= 1
  path.write_bytes(content)


def _truncate(path):
  path.write_bytes(path.read_bytes()[:-3])


def _edit(**changes):
  def edit(path):
    with np.load(path) as file:
      arrays = dict(file) | changes
    np.savez(path, **{name: of for name, of in arrays.items() if of is not None})

  return edit


DAMAGE = [
  (_flip_a_bit, "BadZipFile: Bad CRC-32 for file 'train_images.npy'"),
  (_truncate, "BadZipFile"),
  (lambda path: path.write_text("[]"), "ValueError"),
  (_edit(train_images=None), "KeyError: 'train_images'"),
  (_edit(class_names=["even"]), "labels lie outside"),
]


@pytest.mark.parametrize("damage, reason", DAMAGE)
def test_a_damaged_cache_is_built_again_with_a_warning(kept, damage, reason):
  damage(kept)
  with pytest.warns(UserWarning, match=f"damaged cache: .*/tiny.npz: .*{reason}.*building tiny"):
    _equal(load_or_build("tiny", _tiny), _tiny())
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    _equal(load_or_build("tiny", _unavailable), _tiny())
  test_nothing_else_is_left_behind(kept)


def test_a_damaged_cache_that_cannot_be_built_again_is_an_error(kept):
  _flip_a_bit(kept)
  with pytest.warns(UserWarning, match="Bad CRC-32"):
    with pytest.raises(DataUnavailableError, match=r"the source is gone"):
      load_or_build("tiny", _unavailable)


def test_a_build_that_fails_leaves_nothing(cache):
  with pytest.raises(DataUnavailableError, match=r"^the source is gone$"):
    load_or_build("tiny", _unavailable)
  assert not list(cache.iterdir())


def test_invalid_data_is_not_kept(cache):
  with pytest.raises(ValueError, match=r"outside \[0, 1\)"):
    one = dataclasses.replace(_tiny(), class_names=("even",))
    load_or_build("tiny", lambda: one)
  assert not list(cache.iterdir())


@pytest.mark.parametrize("damaged", [False, True])
def test_several_may_build_at_once(cache, damaged):
  if damaged:
    load_or_build("tiny", _tiny)
    _flip_a_bit(cache / "tiny.npz")
  barrier = threading.Barrier(4, timeout=30)

  def build():
    barrier.wait()  # No one publishes before all have found nothing of use.
    return _tiny()

  with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
      runs = [pool.submit(load_or_build, "tiny", build) for _ in range(4)]
      for run in runs:
        _equal(run.result(), _tiny())
  _equal(load_or_build("tiny", _unavailable), _tiny())
  test_nothing_else_is_left_behind(cache / "tiny.npz")


@pytest.mark.parametrize("below", ["", "deep/cache"])
def test_an_unwritable_directory_is_an_error_before_any_work(tmp_path, below, monkeypatch):
  # A file in the way stops root too, whom permissions do not.
  (tmp_path / "file").write_text("")
  monkeypatch.setenv("SOFTMAX_RESEARCH_CACHE", str(tmp_path / "file" / below))
  with pytest.raises(DataUnavailableError, match=r"cannot write.*/file.*SOFTMAX_RESEARCH_CACHE"):
    load_or_build("tiny", pytest.fail)


def test_a_full_disk_is_an_error_and_leaves_nothing(cache, monkeypatch):
  def full(*args, **kwargs):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(np, "savez", full)
  with pytest.raises(DataUnavailableError, match=r"cannot write.*No space left.*_CACHE"):
    load_or_build("tiny", _tiny)
  assert not list(cache.iterdir())


def test_the_directory_comes_from_the_environment(tmp_path, monkeypatch):
  monkeypatch.setenv("HOME", str(tmp_path))
  monkeypatch.delenv("SOFTMAX_RESEARCH_CACHE", raising=False)
  monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
  assert cache_directory() == tmp_path / ".cache" / "softmax_research"
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
  assert cache_directory() == tmp_path / "xdg" / "softmax_research"
  monkeypatch.setenv("SOFTMAX_RESEARCH_CACHE", "~/ours")
  assert cache_directory() == tmp_path / "ours"
