"""Create or refresh the virtual environment that the Makefile's commands run in.

Standard library only: it runs under whatever interpreter the user has, with nothing installed. A
marker file in the environment says what was installed there; as long as it matches what is asked
for, nothing is done, and the network is not touched.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_MINIMUM = (3, 11)
_BASE_EXTRAS = ("test", "docs")
_MARKER = "softmax_research.json"


def _pins():
  """Returns the constraints file of this Python version, or None where there is none."""
  pins = _ROOT / "requirements" / "py{}.{}.txt".format(*sys.version_info)
  return pins if pins.exists() else None


def _identity(venv):
  """Returns what an environment cannot survive a change of: its interpreter and its place."""
  return {"python": sys.version, "machine": platform.machine(), "path": f"{venv} of {_ROOT}"}


def _digest():
  """Returns a hash of all files that say what is to be installed."""
  digest = hashlib.sha256()
  for path in [_ROOT / "setup.py", pathlib.Path(__file__), _pins()]:
    digest.update(path.read_bytes() if path else b"no pins")
  return digest.hexdigest()


def _read_marker(venv):
  """Returns the environment's marker, None where there is no environment; refuses a stranger's."""
  if not venv.exists() or (venv.is_dir() and not any(venv.iterdir())):
    return None
  try:
    return json.loads((venv / _MARKER).read_text())
  except FileNotFoundError:
    sys.exit(
      f"{venv} exists, and is not an environment made by this Makefile, so it is left alone.\n"
      "Remove it, or name another place: make VENV=.venv-softmax ..."
    )
  except ValueError:  # Killed while the marker was written: the environment is half made.
    return {}


def _write_marker(venv, **content):
  (venv / _MARKER).write_text(json.dumps(content, indent=2) + "\n")


def _create(venv):
  """Makes an empty environment, over the remains of an old or half-made one."""
  if importlib.util.find_spec("ensurepip") is None:
    sys.exit(
      f"{sys.executable} cannot create environments: its ensurepip module is missing.\n"
      "On Debian and Ubuntu: apt install python{}.{}-venv".format(*sys.version_info)
    )
  import venv as venv_module  # noqa: PLC0415  (Debian ships Python without it.)

  venv.mkdir(parents=True, exist_ok=True)
  # The marker stays throughout, so that an interruption leaves an environment known to be ours.
  _write_marker(venv, state="building")
  for path in venv.iterdir():
    if path.name != _MARKER:
      shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
  venv_module.EnvBuilder(with_pip=True, symlinks=os.name != "nt").create(venv)


def _install(venv, extras):
  """Installs the package in place, with its extras, at the pinned versions."""
  pins = _pins()
  if pins is None:
    print(
      "Note: there are no pins for Python {}.{}; the newest versions that setup.py allows are "
      "installed.".format(*sys.version_info)
    )
  pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check"]
  # Most of what is installed is never imported; the rest is compiled when it first is.
  pip += ["--no-compile", *(["--constraint", str(pins)] if pins else [])]
  package = f"{_ROOT}[{','.join(extras)}]"
  # setuptools comes first, so that the build of the package itself uses the pinned one too.
  for requirements in (["setuptools"], ["--no-build-isolation", "--editable", package]):
    if subprocess.run([*pip, *requirements]).returncode != 0:
      sys.exit(
        f"\nThe packages could not be installed into {venv}; pip's own message is above.\n"
        "The first set-up needs the network, or a folder of wheels named by PIP_FIND_LINKS.\n"
        "Run the same command again afterwards."
      )


def ensure(venv, extras):
  """Brings the environment up to date, doing nothing where it is.

  Args:
    venv: path of the environment.
    extras: setup.py's extras wanted beside those for tests and docs. Extras that are already
      installed stay, so that commands which want different ones do not undo each other's work.
  """
  marker = _read_marker(venv)
  identity, digest = _identity(venv), _digest()
  intact = (
    marker is not None
    and marker.get("state") == "ready"
    and marker.get("identity") == identity
    and (venv / "bin" / "python").exists()
  )
  installed = set(marker["extras"]) if intact else set()
  wanted = installed | set(_BASE_EXTRAS) | set(extras)
  if intact and installed == wanted and marker["digest"] == digest:
    return
  print(f"Setting up {venv} for Python {platform.python_version()} ({', '.join(sorted(wanted))})")
  if not intact:
    _create(venv)
  _write_marker(venv, state="building")
  _install(venv, sorted(wanted))
  _write_marker(venv, state="ready", identity=identity, digest=digest, extras=sorted(wanted))


def main():
  if sys.version_info < _MINIMUM:
    sys.exit(
      "softmax_research needs Python {}.{} or newer, and {} is Python {}.\n"
      "Name a newer one, for example: make PYTHON=python3.12 test".format(
        *_MINIMUM, sys.executable, platform.python_version()
      )
    )
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--venv", required=True, help="path of the environment")
  parser.add_argument("--extras", default="", help="more extras of setup.py, such as tfds,peers")
  args = parser.parse_args()
  ensure(pathlib.Path(args.venv).absolute(), args.extras.replace(",", " ").split())


if __name__ == "__main__":
  main()
