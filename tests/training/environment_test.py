"""The circumstances of a run, what its processes decide alike, and where programs are kept."""

import json
import pathlib
import platform
import subprocess
import zlib

import jax
import numpy as np
import pytest

from softmax_research.training import environment
from tests.experiments.scripts import expect_error

_SETTINGS = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")


def test_versions_name_what_runs():
  versions = environment.versions()
  assert versions["python"] == platform.python_version()
  assert versions["jax"] == jax.__version__


def test_the_device_is_described_with_its_count():
  assert environment.device().startswith(f"{jax.devices()[0].platform} x {jax.device_count()}")


def test_the_revision_is_gits(tmp_path, monkeypatch):
  package = tmp_path / "package"
  package.mkdir()
  monkeypatch.setattr(environment, "__file__", str(package / "environment.py"))
  assert environment.git_revision() is None

  def git(*arguments):
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    return subprocess.run(
      ["git", *identity, *arguments], cwd=package, check=True, capture_output=True, text=True
    ).stdout.strip()

  git("init")
  (package / "file").write_text("one")
  git("add", "file")
  git("commit", "-m", "Add a file")
  revision = git("rev-parse", "--short=12", "HEAD")
  assert environment.git_revision() == revision
  (package / "file").write_text("two")
  assert environment.git_revision() == revision + "+changes"


@pytest.mark.parametrize("error", [OSError, subprocess.CalledProcessError(1, "git")])
def test_without_git_there_is_no_revision(monkeypatch, error):
  def fail(*arguments, **options):
    raise error

  monkeypatch.setattr(subprocess, "run", fail)
  assert environment.git_revision() is None


@pytest.fixture
def settings(monkeypatch):
  """The settings before, restored after; no user's choice."""
  monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
  before = {name: getattr(jax.config, name) for name in _SETTINGS}
  yield before
  for name, value in before.items():
    jax.config.update(name, value)


def test_they_lie_beside_the_datasets_apart_for_each_processor(settings, monkeypatch, tmp_path):
  monkeypatch.setenv("SOFTMAX_RESEARCH_CACHE", str(tmp_path))
  for cores in (1, 2):  # XLA divides a program for so many.
    monkeypatch.setattr(environment, "num_cores", lambda cores=cores: cores)
    directory = environment.keep_programs()
    assert directory == tmp_path / "compiled" / f"{environment.processor()}-{cores}"
    assert directory.is_dir() and jax.config.jax_compilation_cache_dir == str(directory)


def test_the_users_directory_wins(settings, monkeypatch, tmp_path):
  monkeypatch.setenv("SOFTMAX_RESEARCH_CACHE", str(tmp_path))
  monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "elsewhere")
  assert environment.keep_programs() is None
  assert jax.config.jax_compilation_cache_dir == settings["jax_compilation_cache_dir"]
  assert not list(tmp_path.iterdir())


def test_a_directory_that_cannot_be_made_is_a_warning(settings, monkeypatch, tmp_path, capsys):
  (tmp_path / "file").touch()
  monkeypatch.setenv("SOFTMAX_RESEARCH_CACHE", str(tmp_path / "file"))
  assert environment.keep_programs() is None
  message = capsys.readouterr().err
  assert "warning: " in message and "SOFTMAX_RESEARCH_CACHE" in message
  assert jax.config.jax_compilation_cache_dir == settings["jax_compilation_cache_dir"]


def test_processors_of_other_features_have_another_name(monkeypatch):
  names = set()
  for text in (
    "flags\t: sse avx\n",
    "flags\t: avx sse\n",
    "flags\t: avx avx512f\n",
    "no such line",
  ):
    monkeypatch.setattr(pathlib.Path, "read_text", lambda self, text=text: text)
    names.add(environment.processor())
  assert len(names) == 3


def test_programs_cut_short_are_removed_once_they_are_looked_at(settings, monkeypatch, tmp_path):
  monkeypatch.setenv("SOFTMAX_RESEARCH_CACHE", str(tmp_path))
  directory = environment.keep_programs()
  whole, partial = directory / "jit_a-cache", directory / "jit_b-cache"
  whole.write_bytes(zlib.compress(bytes(1000)))
  partial.write_bytes(zlib.compress(bytes(1000))[:-3])
  environment.keep_programs()
  assert whole.exists() and not partial.exists()


def test_a_script_keeps_no_programs_if_told_so(tmp_path, monkeypatch):
  """That it does otherwise, see storage_test.py."""
  monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
  cache = {"SOFTMAX_RESEARCH_CACHE": str(tmp_path / "cache")}
  # The directory ends the script once its flags are read.
  expect_error("train", "--workdir=/dev/null/run", "--nokeep_compiled", env=cache)
  assert not (tmp_path / "cache").exists()


@pytest.fixture(name="second_of_two")
def _second_of_two(monkeypatch):
  """This process is the second of two; returns a function that sets what the first broadcasts."""
  monkeypatch.setattr(environment.jax, "process_count", lambda: 2)
  monkeypatch.setattr(environment, "is_first", lambda: False)

  def hear(answer):
    monkeypatch.setattr(environment, "_broadcast", lambda data: json.dumps(answer).encode())

  return hear


def test_steps_are_the_firsts_and_any_may_stop(second_of_two, monkeypatch):
  wishes = np.array([[7, False], [30, True], [2, False]])
  monkeypatch.setattr(environment.multihost_utils, "process_allgather", lambda own: wishes)
  assert environment.agree(30, True) == (7, True)
  wishes[:, 1] = False
  assert environment.agree(30, False) == (7, False)


def test_what_the_first_returns_is_heard_and_not_computed_again(second_of_two):
  second_of_two({"value": [1, 2]})
  assert environment.from_first(lambda: pytest.fail("called in the second process")) == [1, 2]


@pytest.mark.parametrize(("error", "of_storage"), [(ValueError, False), (OSError, True)])
def test_an_error_of_the_first_is_everyones(second_of_two, error, of_storage):
  second_of_two({"error": "no room", "of_storage": of_storage})
  with pytest.raises(error, match="no room"):
    environment.from_first(lambda: None)


@pytest.mark.parametrize("error", [ValueError, OSError])
def test_the_first_tells_the_others_of_its_error_and_raises_it(monkeypatch, error):
  told = []
  monkeypatch.setattr(environment.jax, "process_count", lambda: 2)
  monkeypatch.setattr(environment, "_broadcast", lambda data: told.append(data) or data)

  def fail():
    raise error("no room")

  with pytest.raises(error, match="no room"):
    environment.from_first(fail)
  assert json.loads(told[0]) == {"error": "no room", "of_storage": error is OSError}
