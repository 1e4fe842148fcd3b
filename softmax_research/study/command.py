"""Command lines of studies: flags, help, and errors that a person can act on.

A script is its docstring, a `Study`, and

    if __name__ == "__main__":
      study.main(STUDY)
"""

import contextlib
import functools
import os
import pathlib
import re
import shlex
import sys
import traceback
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from softmax_research import data
from softmax_research.study import distributed, report, runner, study, workdir
from softmax_research.training import environment

flags.disclaim_key_flags()

_OUR_CONFIG = re.compile(r"^(--?config=|)(configs/\w+\.py)$")
_OVERRIDE = re.compile(r"^--?config\.([\w.]+)(=|$)")


def main(
  studies: study.Study | Mapping[str, study.Study],
  *,
  default_config: str | None = None,
  more: type | None = None,
  devices: Callable[[], ConfigDict] | None = None,
  prepare_devices: Callable[[ConfigDict, Any], None] | None = None,
) -> None:
  """Run a study as a script: define its flags, check everything, run what is missing, report.

  Args:
    studies: a study; or several by name, among which `--study` chooses.
    default_config: where the studies' settings are a ConfigDict, the file of `--config` where that
      is not given.
    more: a NamedTuple class whose fields are flags too, and are added to the configuration.
    devices: returns the options of `--devices`, for studies that take them.
    prepare_devices: `(options, settings) -> None`, called before JAX touches a device.

  Raises:
    SystemExit: at the end, with status 0, 1 if cells failed, 2 for bad input, or that of a signal.
  """
  several = studies if isinstance(studies, Mapping) else {"": studies}
  defined = _define(several, default_config, more, devices)
  command = shlex.join(["python", *_public_arguments()])
  _guard_output()
  app.run(
    functools.partial(_run, several, defined, more, prepare_devices, command),
    flags_parser=functools.partial(_parse, default_config=default_config, defined=defined),
  )


def _run(several, defined, more, prepare_devices, command: str, argv: list[str]) -> None:
  del argv
  chosen = several[defined["study"].value if "study" in defined else ""]
  with errors_explained():
    settings = chosen.choose(_settings(chosen, defined, more))
    connected = "connect" in defined and defined["connect"]()
    if not defined["workdir"].value.strip():
      raise ValueError("Got --workdir= without a directory; name one, as --workdir=runs/mine.")
    options = runner.Options(
      workdir=pathlib.Path(defined["workdir"].value),
      command=command,
      only=defined["only"].value,
      shard=runner.check_shard(defined["shard"].value),
      dry_run=defined["dry_run"].value or defined["estimate_all"].value,
      estimate_all=defined["estimate_all"].value,
      minutes=defined["minutes"].value,
      formats=tuple(defined["formats"].value),
      devices=defined["devices"].value if "devices" in defined else None,
    )
    report.check_formats(options.formats)
    if defined["keep_compiled"].value:
      environment.keep_programs()
    if prepare_devices is not None and not connected:
      prepare_devices(options.devices, settings)
    _start_devices()
  with errors_explained(), storage_errors_explained(options.workdir), runner.losses_explained(fail):
    failed = runner.run(chosen, settings, options)
  runner.exit_if_any(failed)


def _start_devices() -> None:
  """Have JAX find its devices.

  Raises:
    OSError: there are none, as where `JAX_PLATFORMS` names another platform.
  """
  try:
    jax.devices()
  except RuntimeError as error:
    raise OSError(
      f"JAX has no device to compute on: {error}. Leave JAX_PLATFORMS unset, or set it to a "
      "platform of this machine, as cpu."
    ) from None


def remake(
  of: study.Study,
  directory: os.PathLike | str,
  out: os.PathLike | str | None = None,
  *,
  title: str | None = None,
  formats: Sequence[str] = ("md", "html"),
) -> list[pathlib.Path]:
  """Make the report of a directory's results anew, from its results and config.json alone.

  Args:
    of: the study that made them; `workdir.read_config` names it.
    directory: what the study left.
    out: where the report goes; by default to the directory.
    title: in place of the report's own.
    formats: see `report.write_report`.

  Returns:
    The paths of the pages.

  Raises:
    ValueError: the results are damaged, or of another study.
  """
  directory = pathlib.Path(directory)
  _, plain = workdir.read_config(directory)
  settings, records = study.from_json(of, plain), workdir.read(directory)
  return runner.write_report(
    of, settings, records, pathlib.Path(out or directory), title=title, formats=formats
  )


def fail(message: str) -> typing.NoReturn:
  """Print an error and leave with exit status 2."""
  print(f"error: {message}", file=sys.stderr)
  if jax.distributed.is_initialized():
    # A plain exit would wait for the other processes, which wait for this one.
    sys.stderr.flush()
    os._exit(2)
  sys.exit(2)


@contextlib.contextmanager
def errors_explained() -> Iterator[None]:
  """Turn the errors of bad input into one message without a traceback."""
  try:
    yield
  except (ValueError, TypeError, OSError, data.DataUnavailableError) as error:
    fail(str(error))


@contextlib.contextmanager
def storage_errors_explained(directory: pathlib.Path) -> Iterator[None]:
  """Turn a full disk, or a directory that turned unwritable, into one message during the work."""
  try:
    yield
  except OSError as error:
    if not workdir.is_full_or_read_only(error):
      raise
    fail(
      f"{directory} cannot be written ({error}). What is finished is kept: make room, or let it be "
      "written, and the same command goes on."
    )


def _define(several, default_config, more, devices) -> dict[str, Any]:
  """Define all flags; return their holders by name."""
  defined: dict[str, Any] = {
    "workdir": flags.DEFINE_string("workdir", None, "Directory for all results.", required=True),
    "only": flags.DEFINE_string(
      "only", "", "Regular expression; run the cells whose name it fits."
    ),
    "shard": flags.DEFINE_string("shard", "", "I/N, as 3/16: every N-th cell from the I-th on."),
    "dry_run": flags.DEFINE_bool("dry_run", False, "List what is left with its time; run nothing."),
    "estimate_all": flags.DEFINE_bool(
      "estimate_all", False, "List the estimates of finished cells beside what they took."
    ),
    "minutes": flags.DEFINE_float(
      "minutes", 0, "Stop after so many minutes, with all saved; 0 for never.", lower_bound=0
    ),
    "formats": flags.DEFINE_list(
      "formats", ["md", "html"], f"Of the report: {', '.join(report.FORMATS)}."
    ),
    "keep_compiled": flags.DEFINE_bool("keep_compiled", True, "Keep compiled programs on disk."),
  }
  if "" not in several:
    names = list(several)
    defined["study"] = flags.DEFINE_enum("study", names[0], names, "What to look into.")
  if any(isinstance(of.settings, type) for of in several.values()):
    defined |= _define_settings({name: of.settings for name, of in several.items()})
  else:
    defined["config"] = config_flags.DEFINE_config_file(
      "config",
      None,
      "Configuration file, whose keys are flags too"
      + (f"; {default_config} by default." if default_config else "."),
    )
    defined |= _define_settings({"": more} if more else {})
  if devices is not None:
    for argument in sys.argv:  # An unknown key would fail below without a word on the known ones.
      if match := re.match(r"^--?devices\.([\w.]+)", argument):
        _check_key(devices(), match[1], "devices")
    defined["devices"] = config_flags.DEFINE_config_dict(
      "devices", devices(), "Which devices train which seeds and shares of a batch."
    )
    defined["connect"] = distributed.define_distributed()
  return defined


def _define_settings(several: Mapping[str, type]) -> dict[str, Any]:
  """Define a flag for each setting of the studies; those of one name serve several."""
  defined: dict[str, Any] = {}
  for name, settings in several.items():
    helps, kinds = study.help_of(settings), study.types_of(settings)
    for field in settings._fields:
      default = settings._field_defaults[field]
      shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
      if field in defined:
        flags.FLAGS[field].help += f" ({name}: {shown})"
        continue
      text = helps.get(field, "")
      usual = f"{text[:1].upper()}{text[1:]} ({f'{name}: ' * bool(name)}{shown})"
      # A study's own default holds where a flag is not given, since studies may differ in it.
      kind, inner = _kind(kinds[field])
      make = {bool: flags.DEFINE_bool, int: flags.DEFINE_integer, float: flags.DEFINE_float}
      if kind is tuple:
        defined[field] = flags.DEFINE_list(field, None, usual)
        flags.FLAGS[field].inner_kind = inner
      else:
        defined[field] = make.get(kind, flags.DEFINE_string)(field, None, usual)
  return defined


def _kind(hint: Any) -> tuple[type, type]:
  """Return a field's type, and that of its elements where it is a tuple."""
  arguments = [part for part in typing.get_args(hint) if part is not type(None)]
  origin = typing.get_origin(hint)
  if origin is tuple:
    return tuple, arguments[0]
  if origin in (typing.Union, types.UnionType):
    return _kind(arguments[0])
  return hint, hint


def _settings(of: study.Study, defined: Mapping[str, Any], more: type | None) -> Any:
  """Return the settings that the flags say; all else is the study's own.

  Raises:
    ValueError: the study has no such setting, a value is of another type or stands twice.
  """
  given = {
    name: _values(name, holder.value) if isinstance(holder.value, list) else holder.value
    for name, holder in defined.items()
    if _is_setting(name) and holder.value is not None
  }
  kind = of.settings if isinstance(of.settings, type) else more
  if unknown := [name for name in given if name not in kind._fields]:
    raise ValueError(
      f"Got --{unknown[0]}, which the study {study.name_of(of)} has no use for; it takes "
      f"{', '.join('--' + field for field in kind._fields)}."
    )
  settings = kind(**given) if kind else None
  if kind is of.settings:
    return settings
  config = defined["config"].value
  with config.unlocked():
    config.update(settings._asdict() if settings else {})
  return config


def _is_setting(name: str) -> bool:
  options = ("workdir", "only", "shard", "dry_run", "estimate_all", "minutes", "formats")
  return name not in (*options, "keep_compiled", "study", "devices", "connect", "config")


def _values(name: str, texts: Sequence[str]) -> tuple:
  kind = flags.FLAGS[name].inner_kind
  try:
    values = tuple(kind(text) for text in texts)
  except ValueError:
    what = {int: "whole numbers", float: "numbers"}.get(kind, kind.__name__)
    raise ValueError(
      f"Got --{name}={','.join(texts)}; it must be {what} with commas between."
    ) from None
  if len(set(values)) < len(values):
    once = ",".join(map(str, dict.fromkeys(values)))
    raise ValueError(
      f"Got --{name}={','.join(texts)}; each value may stand there once, or its seeds would be run "
      f"and counted again. Pass --{name}={once}."
    )
  return values


def _parse(argv: list[str], *, default_config: str | None, defined: Mapping[str, Any]) -> list[str]:
  """Parse flags; an unknown configuration key's error lists the keys that exist."""
  wants_help = [a for a in argv[1:] if re.match(r"^--?(help|helpshort|helpfull|h)$", a)]
  argv = [a for a in argv if a not in wants_help]
  # The flag gets no default of its own, because it would read that file before errors are caught.
  given = any(re.match(r"^--?config(=|$)", argument) for argument in argv)
  if "config" in defined and not given:
    if default_config is None and not wants_help:
      fail("Got no --config; give a configuration file, as --config=configs/liu2016.py.")
    argv = [argv[0], *([f"--config={default_config}"] if default_config else []), *argv[1:]]
  argv = [_find_config(argument) for argument in argv]
  if "config" in defined:
    _check_there_is_a_file(argv)
  texts: dict[str, str] = {}
  try:
    if "config" in defined:
      argv, texts = _take_texts(argv)
    if wants_help:
      flags.FLAGS["workdir"].value = ""  # Not required of who asks for help.
      flags.FLAGS(argv)
      print(_usage(defined))
      sys.exit(0)
    rest = flags.FLAGS(argv)
  except flags.Error as error:
    if "--workdir must have a value" in str(error):
      fail("Got no --workdir; name a directory for all results, as --workdir=runs/mine.")
    if "parsing config file" in str(error):
      _fail_to_read(error.__context__.__context__)  # The flag wraps some errors of the file twice.
    fail(f"{error}\nRun with --help for the flags of this script.")
  except Exception as error:
    if "config" not in defined:
      raise
    if isinstance(error, AttributeError):
      _explain_keys(argv)
    _fail_to_read(error)
  if len(rest) > 1:
    fail(f"Got the argument {rest[1]!r}, which is not a flag; flags begin with --.")
  if "config" in defined and not isinstance(defined["config"].value, ConfigDict):
    fail(
      f"--config's get_config() returned {type(defined['config'].value).__name__}; it must return "
      "an ml_collections.ConfigDict."
    )
  for key, text in texts.items():
    with defined["config"].value.ignore_type():
      defined["config"].value[key] = text
  if flags.FLAGS["verbosity"].using_default_value:
    logging.set_verbosity(logging.WARNING)  # Checkpoints log every file they touch.
  return rest


def _find_config(argument: str) -> str:
  """Return an argument; `configs/NAME.py` outside of a clone is the file installed with us."""
  match = _OUR_CONFIG.match(argument)
  if match and not os.path.exists(match[2]):
    for installed in (pathlib.Path(folder, match[2]) for folder in sys.path):
      if installed.exists():
        return f"{match[1]}{installed}"
  return argument


def _check_there_is_a_file(argv: Sequence[str]) -> None:
  """Fail if `--config` names none: the flag tells so only where the configuration is used."""
  for argument, value in zip(argv, [*argv[1:], ""], strict=True):
    match = re.match(r"^--?config(?:=(.*))?$", argument)
    path = match and (value if match[1] is None else match[1])
    # Behind a colon stands what the file's get_config is given.
    if match and not os.path.isfile(path.partition(":")[0]):
      fail(f"Got --config={path}, which is no file. Give it a Python file, as configs/digits.py.")


def _fail_to_read(error: BaseException) -> typing.NoReturn:
  """Fail because a configuration file raised an error, naming its line."""
  # Below the flag's own frames and those of importing stand the file's.
  frames = [
    f"{frame.filename}, line {frame.lineno}"
    for frame in traceback.extract_tb(error.__traceback__)
    if frame.name in ("<module>", "get_config") and frame.filename != sys.argv[0]
  ]
  where = f" at {frames[-1]}" if frames else ""
  fail(
    f"The configuration cannot be read ({type(error).__name__}{where}: {error}). Its get_config() "
    "must return an ml_collections.ConfigDict, as that of configs/digits.py does."
  )


def _usage(defined: Mapping[str, Any]) -> str:
  """Say what the script does, and list every flag with its default."""
  script = sys.modules["__main__"]
  lines = [(script.__doc__ or "").strip(), "", "Flags:"]
  for name, holder in defined.items():
    if name in ("config", "devices"):
      lines.append(f"  --{name}: {flags.FLAGS[name].help}")
      # Without a default a configuration file is needed for its keys to be known.
      keys = study.flatten(holder.value.to_dict()) if holder.value else {}
      for key, value in keys.items():
        lines.append(f"    --{name}.{key}={value}")
    elif name == "connect":
      for other in ("distributed", "coordinator", "num_processes", "process_id"):
        lines.append(_flag_line(other))
    else:
      lines.append(_flag_line(name))
  return "\n".join(lines)


def _flag_line(name: str) -> str:
  flag = flags.FLAGS[name]
  default = (
    "" if flag.default is None or name == "workdir" else f" (default: {flag.default_as_str})"
  )
  return f"  --{name}: {flag.help}{default}"


def _take_texts(argv: list[str]) -> tuple[list[str], dict[str, str]]:
  """Take out overrides that name what a configuration spells out, as `--config.backbone=cnn`.

  `config_flags` replaces a dictionary by a dictionary alone, but a specification is text.
  """
  found = {}
  for argument in argv:
    key, equals, text = argument.lstrip("-").removeprefix("config.").partition("=")
    if _OVERRIDE.match(argument) and equals and "." not in key and not text.startswith("{"):
      found[key] = text
  if found:
    # The flag takes its overrides from sys.argv, whatever it is given to parse.
    sys.argv = _without_overrides(argv)
    flags.FLAGS(sys.argv)
    config = flags.FLAGS["config"].value
    found = {key: t for key, t in found.items() if isinstance(config.get(key), ConfigDict)}
  taken = tuple(f"--config.{key}=" for key in found) + tuple(f"-config.{key}=" for key in found)
  sys.argv = [argument for argument in argv if not (taken and argument.startswith(taken))]
  return sys.argv, found


def _explain_keys(argv: list[str]) -> None:
  """Fail with the first override whose key the configuration lacks."""
  # The flag takes its overrides from sys.argv, whatever it is given to parse.
  sys.argv = _without_overrides(argv)
  try:
    flags.FLAGS(sys.argv)
  except Exception:  # It is the file's own error, which the caller tells.
    return
  config = flags.FLAGS["config"].value
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


def _check_key(config: ConfigDict, key: str, flag: str = "config") -> None:
  *parents, last = key.split(".")
  seen = flag
  for name in [*parents, last]:
    if not isinstance(config, ConfigDict) or name not in config:
      keys = ", ".join(sorted(config)) if isinstance(config, ConfigDict) else "none"
      named = isinstance(config, ConfigDict) and "name" in config
      other = f" To give it others, write all of it as --{seen}=NAME:{name}=VALUE." * named
      fail(f"Got --{flag}.{key}, but {seen} has no key {name!r}; its keys are {keys}.{other}")
    config, seen = config[name], f"{seen}.{name}"


def _public_arguments() -> list[str]:
  """Return the command line as a reader would type it."""
  spec = getattr(sys.modules["__main__"], "__spec__", None)
  script = ["-m", spec.name.removesuffix(".__main__")] if spec else [sys.argv[0]]
  # Where the locale has few letters, Python stands in for the bytes of others.
  return [os.fsencode(text).decode("utf-8", "replace") for text in (*script, *sys.argv[1:])]


class _Quiet:
  """Pass text on until its reader is gone or its disk full, and swallow it from then on."""

  def __init__(self, stream: Any):
    self._stream = stream

  def write(self, text: str) -> int:
    with self._kept_quiet():
      self._stream.write(text)
    return len(text)

  def flush(self) -> None:
    with self._kept_quiet():
      self._stream.flush()

  def __getattr__(self, name: str) -> Any:
    return getattr(self._stream, name)

  @contextlib.contextmanager
  def _kept_quiet(self):
    try:
      yield
    except OSError:
      # Python flushes the stream once more when it ends.
      os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


def _guard_output() -> None:
  """Let no reader that went away, and no terminal of few letters, cost a run."""
  if sys.stdout is None:
    sys.stdout = open(os.devnull, "w", encoding="utf-8")
    return
  if hasattr(sys.stdout, "reconfigure"):
    sys.stdout.reconfigure(errors="backslashreplace")
    sys.stdout = _Quiet(sys.stdout)
