"""The circumstances of a run, as they stand in its record."""

import platform
import subprocess

import jax
import pytest

from softmax_research.training import environment


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
