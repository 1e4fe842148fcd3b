"""The wheel: it holds all files of the library, of the experiments and of their configurations."""

import pathlib
import runpy
import subprocess
import sys

import setuptools
from setuptools.command.build_py import build_py

_ROOT = pathlib.Path(__file__).parents[1]


def test_the_wheel_holds_all_files(monkeypatch):
  monkeypatch.chdir(_ROOT)
  given = {}
  monkeypatch.setattr(setuptools, "setup", lambda **options: given.update(options))
  runpy.run_path("setup.py")
  command = build_py(setuptools.Distribution(given | {"script_name": "setup.py"}))
  command.finalize_options()
  packed = {pathlib.Path(path).relative_to(command.build_lib) for path in command.get_outputs()}
  folders = ("softmax_research", "experiments", "configs")
  files = {path for folder in folders for path in pathlib.Path(folder).rglob("*.*")}
  assert {path for path in files if "__pycache__" not in path.parts} <= packed


def test_configurations_are_found_outside_of_a_clone(tmp_path):
  done = subprocess.run(
    [sys.executable, "-m", "experiments.compare", "--config=configs/spiral.py", "--help"],
    cwd=tmp_path,  # As an editable installation has them, whose folder is not on Python's path.
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  assert "--config.dataset=spiral" in done.stdout
