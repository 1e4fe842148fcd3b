"""Compiled programs, kept on disk: the same experiment started again does not compile again."""

import hashlib
import os
import pathlib
import platform
import sys
import zlib

import jax

from softmax_research import data

_CHOSEN_BY_USER = "JAX_COMPILATION_CACHE_DIR"
_ZSTANDARD = b"\x28\xb5\x2f\xfd"


def keep_programs() -> pathlib.Path | None:
  """Let JAX keep every program that it compiles from now on, and look for it before it compiles.

  The directory is `compiled/PROCESSOR` in the cache of decoded datasets, where PROCESSOR tells the
  processor's features: a program compiled for one with more of them would crash another that
  shares the home directory. Who sets `JAX_COMPILATION_CACHE_DIR` has chosen another directory, and
  JAX's own settings hold. A directory that cannot be written is a warning on the standard error.

  Returns:
    The directory, or None where this function chose none.
  """
  if os.environ.get(_CHOSEN_BY_USER):
    return None
  directory = data.cache_directory() / "compiled" / processor()
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


def _remove_partial(directory: pathlib.Path) -> None:
  """Remove what a kill or a full disk cut short: JAX would complain of it in every run.

  Only programs kept since the last look are looked at.
  """
  looked = directory / "looked_at"
  since = looked.stat().st_mtime_ns if looked.exists() else 0
  looked.touch()
  for program in directory.glob("*-cache"):
    if program.stat().st_mtime_ns >= since and _is_partial(program.read_bytes()):
      program.unlink(missing_ok=True)


def _is_partial(data: bytes) -> bool:
  if data.startswith(_ZSTANDARD):  # Where JAX finds this compression, which Python need not have.
    return False
  stream = zlib.decompressobj()
  try:
    stream.decompress(data)
  except zlib.error:
    return True
  return not stream.eof


def processor() -> str:
  """Return a name that processors of equal features share.

  Example:
    >>> processor() == processor()
    True
  """
  try:
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    features = next(line for line in lines if line.startswith(("flags", "Features")))
  except (OSError, StopIteration):
    features = platform.processor()
  machine = platform.machine()
  digest = hashlib.sha256(" ".join(sorted(features.split())).encode()).hexdigest()
  return f"{machine}-{digest[:12]}"
