"""Command lines of the experiments: flags, configuration files and errors a person can act on."""

import contextlib
import functools
import os
import pathlib
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

import configs
from softmax_research import data
from softmax_research.training import compiled, results

_DEFAULT = "configs/digits.py"
_KEEP_COMPILED = flags.DEFINE_bool(
  "keep_compiled", True, "Keep compiled programs on disk for the next run."
)
_OUR_CONFIG = re.compile(r"^(--?config=)?configs/(\w+\.py)$")
_OVERRIDE = re.compile(r"^--?config\.([\w.]+)(=|$)")


def define_config():
  """Define `--config`, a Python file whose `get_config()` returns a ConfigDict.

  Returns:
    The flag's holder. Without the flag the file is `configs/digits.py`.
  """
  return config_flags.DEFINE_config_file(
    "config", None, f"Configuration file, {_DEFAULT} by default; --config.KEY=VALUE overrides."
  )


def define_workdir():
  """Define `--workdir`, which every script that keeps results asks for."""
  return flags.DEFINE_string("workdir", None, "Directory for all results.", required=True)


def open_workdir(
  workdir: pathlib.Path, config: dict[str, Any], *, may_change: tuple[str, ...]
) -> list[dict[str, Any]]:
  """Make the working directory if need be, and return the records of its finished runs.

  Args:
    workdir: the directory.
    config: the configuration that its results are made with.
    may_change: see `results.check_config`.

  Raises:
    OSError: it cannot be written.
    ValueError: its results were made with another configuration, or are damaged.
  """
  prepare_workdir(workdir)
  results.check_config(workdir, config, may_change=may_change)
  return results.read(workdir / "results.jsonl")


def prepare_workdir(path: os.PathLike | str) -> pathlib.Path:
  """Make the working directory and see that it can be written.

  Raises:
    OSError: it cannot.
  """
  workdir = pathlib.Path(path)
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    probe = workdir / ".writable"
    probe.touch()
    probe.unlink()
  except OSError as error:
    raise OSError(
      f"Got --workdir={workdir}, which cannot be written ({error.strerror}). Give a directory that "
      "can be."
    ) from None
  return workdir


def run(main: Callable[..., None], *, positional: Sequence[str] = ()) -> None:
  """Run a script: parse the flags, then call `main`.

  Args:
    main: the script's body; it takes the positional arguments, as strings.
    positional: their names, for messages.
  """

  def start(argv: list[str]) -> None:
    if _KEEP_COMPILED.value:
      compiled.keep_programs()
    main(*argv[1:])

  app.run(
    start,
    flags_parser=functools.partial(_parse_flags, positional=positional),
  )


def _parse_flags(argv: list[str], positional: Sequence[str]) -> list[str]:
  """Parse flags; an unknown configuration key's error lists the keys that exist."""
  # The flag gets no default of its own, because it would read that file before errors are caught.
  given = any(re.match(r"^--?config(=|$)", argument) for argument in argv)
  if "config" in flags.FLAGS and not given:
    argv = [argv[0], f"--config={_DEFAULT}", *argv[1:]]
  argv = [_find_config(argument) for argument in argv]
  try:
    rest = flags.FLAGS(argv)
  except flags.Error as error:
    fail(f"{error}\nRun with --helpshort for the flags of this script.")
  except FileNotFoundError as error:
    fail(f"{error}. Give --config a Python file, as {_DEFAULT}.")
  except AttributeError:
    _explain_keys(argv)
    raise
  arguments = rest[1:]
  if len(arguments) > len(positional):
    fail(
      f"Got the argument {arguments[len(positional)]!r}, which is not a flag; flags begin with --."
    )
  if len(arguments) < len(positional):
    fail(f"Got no {positional[len(arguments)]}. Run with --helpshort for what this script takes.")
  if flags.FLAGS["verbosity"].using_default_value:
    logging.set_verbosity(logging.WARNING)  # Checkpoints log every file they touch.
  return rest


def _find_config(argument: str) -> str:
  """Return an argument, a file below `configs/` being the installed one outside of a clone."""
  match = _OUR_CONFIG.match(argument)
  if not match or pathlib.Path("configs", match[2]).exists():
    return argument
  installed = pathlib.Path(configs.__file__).with_name(match[2])
  return f"{match[1] or ''}{installed}" if installed.exists() else argument


def _explain_keys(argv: list[str]) -> None:
  """Fail with the first override whose key the configuration lacks."""
  # The flag takes its overrides from sys.argv, whatever it is given to parse.
  sys.argv = _without_overrides(argv)
  config = flags.FLAGS(sys.argv) and flags.FLAGS["config"].value
  for argument in argv:
    if match := _OVERRIDE.match(argument):
      _check_key(config, match[1])


def _without_overrides(argv: list[str]) -> list[str]:
  kept, skip = [], False
  for argument in argv:
    match = _OVERRIDE.match(argument)
    if not match and not skip:
      kept.append(argument)
    skip = bool(match) and not match[2]  # `--config.key value`: the value goes too.
  return kept


def _check_key(config: ConfigDict, key: str) -> None:
  *parents, last = key.split(".")
  seen = "config"
  for name in [*parents, last]:
    if not isinstance(config, ConfigDict) or name not in config:
      keys = ", ".join(sorted(config)) if isinstance(config, ConfigDict) else "none"
      fail(f"Got --config.{key}, but {seen} has no key {name!r}; its keys are {keys}.")
    config, seen = config[name], f"{seen}.{name}"


def fail(message: str) -> None:
  """Print an error and leave with exit status 2."""
  print(f"error: {message}", file=sys.stderr)
  if jax.distributed.is_initialized():
    # A plain exit would wait for the other processes, which wait for this one.
    sys.stderr.flush()
    os._exit(2)
  sys.exit(2)


@contextlib.contextmanager
def storage_errors_explained(workdir: pathlib.Path) -> Iterator[None]:
  """Turn a full disk, or a directory that turned unwritable, into one message during the work."""
  try:
    yield
  except OSError as error:
    fail(
      f"{workdir} cannot be written ({error}). What is finished is kept: make room, or let it be "
      "written, and the same command goes on."
    )


@contextlib.contextmanager
def errors_explained() -> Iterator[None]:
  """Turn the errors of bad input into one message without a traceback.

  Wrap what happens before the work: checks, loading of data, making of directories.
  """
  try:
    yield
  except (ValueError, TypeError, OSError, data.DataUnavailableError) as error:
    fail(str(error))
