"""The Makefile's environment: made once, refreshed when stale, repaired when half made."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

_MAKEFILE = pathlib.Path(__file__).parents[1] / "Makefile"

# Notes its calls of venv and pip; for `-c` it is Python, of the version that FAKE_VERSION names.
_FAKE_PYTHON = f"""\
#!/bin/sh
case "$1 $2" in
  "-c "*) code=$2; shift 2
    exec {sys.executable} -c "import sys; sys.version_info = ($FAKE_VERSION); $code" "$@" ;;
  "-m venv") mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
  "--version ") echo "Python ($FAKE_VERSION)" ;;
esac
echo "$@" >> calls
case "$FAKE_FAILURE" in "") ;; *) echo "$@" | grep -vq -e "$FAKE_FAILURE" ;; esac
"""


@pytest.fixture
def make(tmp_path):
  """Runs `make environment` in a clone of its own; returns its exit status, output and calls."""
  if shutil.which("make") is None:
    pytest.skip("there is no make here")
  shutil.copy(_MAKEFILE, tmp_path)
  (tmp_path / "requirements").mkdir()
  for name in ("setup.py", "requirements/py3.11.txt"):
    (tmp_path / name).touch()
  (tmp_path / "python").write_text(_FAKE_PYTHON)
  (tmp_path / "python").chmod(0o755)

  def run(*arguments, version="3, 11", failure=""):
    (tmp_path / "calls").write_text("")
    done = subprocess.run(
      ["make", "environment", "PYTHON=./python", *arguments],
      cwd=tmp_path,
      env=_without_makes_own() | {"FAKE_VERSION": version, "FAKE_FAILURE": failure},
      capture_output=True,
      text=True,
      check=False,
    )
    return done.returncode, done.stdout + done.stderr, (tmp_path / "calls").read_text()

  return run


def _without_makes_own():
  """Leave out what `make test` hands down: its own variables would take the place of these."""
  own = ("ARGS", "CONFIG", "EXTRAS", "PYTHON", "VENV", "WORKDIR")
  return {k: v for k, v in os.environ.items() if k not in own and "MAKE" not in k and k != "MFLAGS"}


def test_it_is_made_from_the_pins_once(make):
  status, _, calls = make()
  assert status == 0 and "-m venv .venv" in calls
  assert "--constraint requirements/py3.11.txt" in calls and ".[docs,test]" in calls
  assert make()[::2] == (0, "")


def test_a_version_without_pins_takes_the_newest_packages(make):
  status, output, calls = make(version="3, 13")
  assert status == 0 and "no pins for Python 3.13" in output
  assert "--editable .[docs,test]" in calls and "--constraint" not in calls


def test_extras_are_added_in_any_order_and_stay(make):
  make()
  _, _, calls = make("EXTRAS=tfds,peers")
  assert ".[docs,peers,test,tfds]" in calls and "venv" not in calls
  assert make("EXTRAS=peers tfds")[2] == make()[2] == ""


@pytest.mark.parametrize("changed", ["setup.py", "requirements/py3.11.txt"])
def test_what_changed_is_installed_over_the_old(make, tmp_path, changed):
  make()
  later = (tmp_path / ".venv/installed-docs,test").stat().st_mtime + 1
  os.utime(tmp_path / changed, (later, later))
  _, _, calls = make()
  assert "pip install" in calls and "venv" not in calls


def test_another_interpreter_or_place_starts_from_nothing(make, tmp_path):
  make()
  (tmp_path / ".venv/installed").touch()
  assert "-m venv" in make("CURDIR=/elsewhere")[2]
  assert not (tmp_path / ".venv/installed").exists()


@pytest.mark.parametrize("failure", ["-m venv", "setuptools", "--editable"])
def test_what_failed_is_repaired_by_the_same_command(make, failure):
  status, output, _ = make(failure=failure)
  assert status != 0 and ("PIP_FIND_LINKS" in output or failure == "-m venv")
  status, _, calls = make()
  assert status == 0 and "--editable" in calls
  assert make()[2] == ""


def test_a_strangers_directory_is_left_alone(make, tmp_path):
  (tmp_path / "thesis").mkdir()
  (tmp_path / "thesis/chapter.tex").touch()
  status, output, calls = make("VENV=thesis")
  assert status != 0 and "left alone" in output and "make VENV=" in output and calls == ""
  assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter.tex"]


def test_an_interpreter_that_is_missing_or_old_is_refused(make, tmp_path):
  for output in (make("PYTHON=no_such_python")[1], make(version="3, 10")[1]):
    assert "Python 3.11 or newer" in output and "make PYTHON=" in output
  assert not (tmp_path / ".venv").exists()


def test_bytecode_is_kept_though_the_surroundings_say_no(make, monkeypatch):
  monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
  show = '--eval=show: ; @echo "[$$PYTHONDONTWRITEBYTECODE]"'
  assert "[]\n" in make(show, "show")[1]
