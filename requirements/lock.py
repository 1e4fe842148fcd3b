"""Write the pins of this Python version: every package of every extra, as pip picks it today.

The pins are a constraints file: an environment installs the extras it wants, each package at its
pinned version. Standard library only; nothing is installed.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_EXTRAS = "test,docs,tfds,peers"
_HEADER = """\
# Versions for Python {}.{}, written by `make lock`: used as constraints, so that a package which
# nothing asks for is not installed.
"""


def _resolve():
  """Returns pip's choice of a version for each package, by name."""
  with tempfile.TemporaryDirectory() as folder:
    report = pathlib.Path(folder) / "report.json"
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed"]
    pip += ["--disable-pip-version-check", "--report", str(report)]
    subprocess.run([*pip, "setuptools", f"{_ROOT}[{_EXTRAS}]"], check=True)
    chosen = [package["metadata"] for package in json.loads(report.read_text())["install"]]
  return {package["name"]: package["version"] for package in chosen}


def main():
  # torch itself names the exact versions of its accelerator libraries, where it wants any.
  versions = {
    name: version
    for name, version in _resolve().items()
    if not name.startswith(("softmax_research", "nvidia-", "cuda-", "triton"))
  }
  # A local label (+cpu, +cu130) names one machine's build of a version, and is not pinned.
  pins = [f"{name}=={version.partition('+')[0]}" for name, version in versions.items()]
  pins.sort(key=lambda pin: re.sub(r"[-_.]+", "-", pin).lower())
  path = _ROOT / "requirements" / "py{}.{}.txt".format(*sys.version_info)
  path.write_text(_HEADER.format(*sys.version_info) + "\n".join(pins) + "\n")
  print(f"{len(pins)} pins written to {path.relative_to(_ROOT)}")


if __name__ == "__main__":
  main()
