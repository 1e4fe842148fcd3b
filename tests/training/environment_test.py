"""The circumstances of a run, as they stand in its record, and where its programs are kept."""

import pathlib
import platform
import subprocess
import zlib

import jax
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
  directory = environment.keep_programs()
  assert directory == tmp_path / "compiled" / environment.processor() and directory.is_dir()
  assert jax.config.jax_compilation_cache_dir == str(directory)


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
