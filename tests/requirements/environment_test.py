"""The Makefile's environment: made once, refreshed when stale, recovered when half made."""

import importlib.util
import json
import pathlib

import pytest

_SCRIPT = pathlib.Path(__file__).parents[2] / "requirements" / "environment.py"


@pytest.fixture
def environment(monkeypatch):
  """The script as a module, with pip replaced by a record of the calls in `environment.calls`."""
  spec = importlib.util.spec_from_file_location("environment", _SCRIPT)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  module.calls, module.exit_status = [], 0

  def create(venv):
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").touch()

  def run(command):
    module.calls.append(command)
    return type("Done", (), {"returncode": module.exit_status})

  builder = type("Builder", (), {"create": staticmethod(create)})
  monkeypatch.setattr("venv.EnvBuilder", lambda **options: builder)
  monkeypatch.setattr(module.subprocess, "run", run)
  return module


def test_a_second_run_calls_nothing(environment, tmp_path):
  environment.ensure(tmp_path / "venv", [])
  assert environment.calls[-1][-1].endswith("[docs,test]")
  assert "--constraint" in environment.calls[-1] or environment._pins() is None
  environment.calls.clear()
  environment.ensure(tmp_path / "venv", [])
  assert environment.calls == []


def test_extras_are_added_and_stay(environment, tmp_path):
  environment.ensure(tmp_path / "venv", [])
  environment.ensure(tmp_path / "venv", ["tfds"])
  assert environment.calls[-1][-1].endswith("[docs,test,tfds]")
  environment.calls.clear()
  environment.ensure(tmp_path / "venv", ["test"])
  assert environment.calls == []


def test_changed_requirements_are_installed_over_the_old_ones(environment, tmp_path, monkeypatch):
  venv = tmp_path / "venv"
  environment.ensure(venv, [])
  (venv / "installed").touch()
  environment.calls.clear()
  monkeypatch.setattr(environment, "_digest", lambda: "another")
  environment.ensure(venv, [])
  assert environment.calls
  assert (venv / "installed").exists()


def test_another_interpreter_starts_from_nothing(environment, tmp_path, monkeypatch):
  venv = tmp_path / "venv"
  environment.ensure(venv, [])
  (venv / "installed").touch()
  monkeypatch.setattr(environment, "_identity", lambda venv: {"python": "a later one"})
  environment.ensure(venv, [])
  assert not (venv / "installed").exists()


def test_a_failed_installation_is_reported_and_made_anew(environment, tmp_path):
  venv = tmp_path / "venv"
  environment.exit_status = 1
  with pytest.raises(SystemExit, match="PIP_FIND_LINKS"):
    environment.ensure(venv, [])
  (venv / "half").mkdir()
  environment.exit_status = 0
  environment.ensure(venv, [])
  assert not (venv / "half").exists()
  assert json.loads((venv / "softmax_research.json").read_text())["state"] == "ready"


def test_a_truncated_marker_is_a_half_made_environment(environment, tmp_path):
  venv = tmp_path / "venv"
  environment.ensure(venv, [])
  (venv / "softmax_research.json").write_text('{"state": "re')
  environment.calls.clear()
  environment.ensure(venv, [])
  assert environment.calls


def test_a_vanished_interpreter_is_noticed(environment, tmp_path):
  venv = tmp_path / "venv"
  environment.ensure(venv, [])
  (venv / "bin" / "python").unlink()
  environment.calls.clear()
  environment.ensure(venv, [])
  assert environment.calls


def test_a_stranger_s_directory_is_left_alone(environment, tmp_path):
  (tmp_path / "thesis.tex").touch()
  with pytest.raises(SystemExit, match="left alone"):
    environment.ensure(tmp_path, [])
  assert (tmp_path / "thesis.tex").exists()


def test_an_old_python_is_refused_with_a_remedy(environment, monkeypatch):
  monkeypatch.setattr(environment.sys, "version_info", (3, 10, 13))
  with pytest.raises(SystemExit, match=r"needs Python 3\.11 or newer(.|\n)*make PYTHON="):
    environment.main()
