"""The environment of a run: versions, device, revision, processes, and kept compiled programs.

Where there are several processes, they decide alike, and process 0 reads and writes for all.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import sys
import zlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from softmax_research import data

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")
_ZSTANDARD = b"\x28\xb5\x2f\xfd"


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
  model = _of_cpu("model name") or platform.processor() or platform.machine()
  return f"{name} ({model}, {os.cpu_count()} cores)"


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


def is_first() -> bool:
  """Say whether this process is the one that reads and writes results.

  Example:
    >>> is_first()
    True
  """
  return jax.process_index() == 0


def from_first(function: Callable[[], Any]) -> Any:
  """Call a function in process 0 alone, and return in every process what it returned there.

  That must be what JSON can hold; tuples come back as lists where there are several processes. A
  ValueError or OSError is raised in all of them, so that none waits for one that stopped.

  Example:
    >>> from_first(lambda: {"status": "finished"})
    {'status': 'finished'}
  """
  if jax.process_count() == 1:
    return function()
  answer = {}
  if is_first():
    try:
      answer = {"value": function()}
    except (ValueError, OSError) as error:
      answer = {"error": str(error), "of_storage": isinstance(error, OSError)}
  answer = json.loads(_broadcast(json.dumps(answer).encode()))
  if "error" in answer:
    raise (OSError if answer["of_storage"] else ValueError)(answer["error"])
  return answer["value"]


def share(tree: Any) -> Any:
  """Return process 0's NumPy arrays in every process, where they have the same shapes and types."""
  if jax.process_count() == 1:
    return tree

  def share_one(array):
    return np.frombuffer(_broadcast(array.tobytes()), array.dtype).reshape(array.shape)

  return jax.tree.map(share_one, tree)


def agree(steps: int, stop: bool) -> tuple[int, bool]:
  """Return the number of steps that process 0 wants, and whether any process wants to stop.

  Clocks and signals differ from process to process, but all have to run the same programs.

  Example:
    >>> agree(10, False)
    (10, False)
  """
  if jax.process_count() == 1:
    return steps, stop
  wishes = multihost_utils.process_allgather(np.array([steps, stop], np.int32))
  return int(wishes[0, 0]), bool(wishes[:, 1].any())


def keep_programs() -> pathlib.Path | None:
  """Let JAX keep every program that it compiles from now on, and look for it before it compiles.

  The directory is `compiled/PROCESSOR-CORES` in the cache of decoded datasets. PROCESSOR tells the
  processor's features: a program compiled for one with more of them would crash another that shares
  the home directory. CORES are those that this process may use, for which XLA divides a program:
  JAX would hand one of a single core to a process that has more, and leave them idle. Who sets
  `JAX_COMPILATION_CACHE_DIR` has chosen another directory, and JAX's own settings hold. A directory
  that cannot be written is a warning on the standard error. Returned is the directory, or None
  where this function chose none.
  """
  if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
    return None
  directory = data.cache_directory() / "compiled" / f"{processor()}-{num_cores()}"
  try:
    directory.mkdir(parents=True, exist_ok=True)
    if not os.access(directory, os.W_OK | os.X_OK):
      raise PermissionError(f"no permission to write {directory}")
  except OSError as error:
    print(
      f"warning: compiled programs are not kept ({error}); name a directory that can be written "
      "with SOFTMAX_RESEARCH_CACHE, or pass --nokeep_compiled.",
      file=sys.stderr,
    )
    return None
  jax.config.update("jax_compilation_cache_dir", str(directory))
  _remove_partial(directory)
  # By default JAX keeps what took a second to compile. A run has dozens of programs below that.
  if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
  return directory


def processor() -> str:
  """Return a name that processors of equal features share."""
  features = _of_cpu("flags", "Features") or platform.processor()
  digest = hashlib.sha256(" ".join(sorted(features.split())).encode()).hexdigest()
  return f"{platform.machine()}-{digest[:12]}"


def num_cores() -> int:
  """Return how many cores this process may use."""
  return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _of_cpu(*names: str) -> str:
  """Return what Linux says of the first processor under one of the names; empty elsewhere."""
  try:
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
  except OSError:
    return ""
  return next((line.partition(":")[2].strip() for line in lines if line.startswith(names)), "")


def _remove_partial(directory: pathlib.Path) -> None:
  """Remove what a kill or a full disk cut short: JAX would complain of it in every run.

  Only programs kept since the last look are looked at.
  """
  looked = directory / "looked_at"
  since = looked.stat().st_mtime_ns if looked.exists() else 0
  looked.touch()
  for program in directory.glob("*-cache"):
    if program.stat().st_mtime_ns >= since:
      stream, content = zlib.decompressobj(), program.read_bytes()
      with contextlib.suppress(zlib.error):
        stream.decompress(content)
      # Zstandard is what JAX takes where it finds it, and Python may lack.
      if not stream.eof and not content.startswith(_ZSTANDARD):
        program.unlink(missing_ok=True)


def _broadcast(data: bytes) -> bytes:
  size = int(multihost_utils.broadcast_one_to_all(np.int32(len(data))))
  padded = np.frombuffer(data, np.uint8) if is_first() else np.zeros(size, np.uint8)
  return np.asarray(multihost_utils.broadcast_one_to_all(padded)).tobytes()
