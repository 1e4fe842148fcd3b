"""The environment of a run: versions, device and revision, to stand beside every number."""

import importlib.metadata
import os
import pathlib
import platform
import subprocess

import jax

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")


def versions() -> dict[str, str]:
  """List the versions of Python and of the packages that a result depends on.

  Example:
    >>> sorted(versions())[:2]
    ['flax', 'jax']
  """
  found = {name: importlib.metadata.version(name) for name in _PACKAGES}
  return {"python": platform.python_version()} | found


def device() -> str:
  """Describe the devices in words, as `cpu x 1 (AMD EPYC 7B13, 2 cores)`."""
  devices = jax.devices()
  name = f"{devices[0].platform} x {len(devices)}"
  if devices[0].platform != "cpu":
    return f"{name} ({devices[0].device_kind})"
  return f"{name} ({_processor()}, {os.cpu_count()} cores)"


def _processor() -> str:
  try:
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
      if line.startswith("model name"):
        return line.partition(":")[2].strip()
  except OSError:
    pass
  return platform.processor() or platform.machine()


def git_revision() -> str | None:
  """Return the revision of the source tree, with `+changes` if it has any; None outside git."""

  def git(*arguments: str) -> str:
    return subprocess.run(
      ["git", *arguments],
      cwd=pathlib.Path(__file__).parent,
      capture_output=True,
      text=True,
      check=True,
    ).stdout.strip()

  try:
    revision = git("rev-parse", "--short=12", "HEAD")
    return revision + ("+changes" if git("status", "--porcelain", "--untracked-files=no") else "")
  except (OSError, subprocess.CalledProcessError):
    return None
