"""The working directory: what cannot be used is named, and its configuration is read back."""

import pathlib
from concurrent import futures

import pytest

from softmax_research.study import workdir


def test_what_is_no_directory_is_named(tmp_path):
  blocked = tmp_path / "file"
  blocked.touch()
  with pytest.raises(OSError, match=f"{blocked}/run, which cannot be written"):
    with workdir.locked(blocked / "run"):
      pass


def test_the_configuration_is_read_back_and_damage_is_named(tmp_path):
  workdir.write_config(tmp_path, "toy", {"sizes": [1]})
  assert workdir.read_config(tmp_path) == ("toy", {"sizes": [1]})
  (tmp_path / "config.json").write_text("{half")
  with pytest.raises(ValueError, match=r"config\.json is no configuration"):
    workdir.read_config(tmp_path)
  (tmp_path / "config.json").unlink()
  with pytest.raises(ValueError, match="There is no"):
    workdir.read_config(tmp_path)


def test_what_is_interrupted_leaves_nothing(tmp_path, monkeypatch):
  def interrupt(*arguments):
    raise KeyboardInterrupt

  monkeypatch.setattr(pathlib.Path, "replace", interrupt)
  with pytest.raises(KeyboardInterrupt):
    workdir.write_whole(tmp_path / "report.md", b"half")
  assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_named(tmp_path):
  (tmp_path / "figures").write_bytes(b"")
  with pytest.raises(workdir.StorageError, match=r"figures/a\.svg"):
    workdir.write_whole(tmp_path / "figures" / "a.svg", b"drawn")


def test_many_may_begin_at_once_in_one_directory(tmp_path):
  settings = {"sizes": [1] * 2000}

  def begin(number):
    with workdir.locked(tmp_path, (number + 1, 200)):
      workdir.write_config(tmp_path, "toy", settings)

  with futures.ThreadPoolExecutor(8) as pool:
    list(pool.map(begin, range(200)))
  assert workdir.read_config(tmp_path) == ("toy", settings)
  assert [path.name for path in tmp_path.glob("*json*")] == ["config.json"]
