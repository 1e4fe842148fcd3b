"""The Makefile: what its commands tell the programs that they run."""

import os
import pathlib
import shutil
import subprocess

import pytest

_MAKEFILE = pathlib.Path(__file__).parents[2] / "Makefile"


def test_bytecode_is_kept_though_the_surroundings_say_no():
  if shutil.which("make") is None:
    pytest.skip("there is no make here")
  show = '--eval=show: ; @echo "[$$PYTHONDONTWRITEBYTECODE]"'
  run = subprocess.run(
    ["make", "--no-print-directory", f"--file={_MAKEFILE}", show, "show"],
    env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    capture_output=True,
    text=True,
    check=True,
  )
  assert run.stdout == "[]\n"
