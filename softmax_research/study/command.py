"""Command lines of studies: flags, help, and errors that a person can act on.

A script is its docstring, a `Study`, and

    if __name__ == "__main__":
      study.main(STUDY)
"""

import contextlib
import functools
import importlib.util
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

from softmax_research import data, registry
from softmax_research.study import lifecycle, report, runner, study, workdir
from softmax_research.training import environment

flags.disclaim_key_flags()

_Holders = dict[str, flags.FlagHolder]


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
  command = shlex.join(["python", *_public_arguments()])
  lifecycle.guard_output()
  argv = flags.FLAGS.read_flags_from_files(sys.argv, force_gnu=False)
  options = _define_options(distributed=devices is not None)
  if "" not in several:
    names = list(several)
    options["study"] = flags.DEFINE_enum("study", names[0], names, "What to look into.")
  fields = {name: of.settings for name, of in several.items()}
  if not any(isinstance(settings, type) for settings in fields.values()):
    argv, options["config"] = _define_config_file(argv, default_config)
    fields = {"": more} if more else {}
  settings = _define_settings(fields)
  if devices is not None:
    help_text = "Which devices train which seeds and shares of a batch."
    options["devices"] = _define_config("devices", devices(), help_text, argv)

  def run(_: list[str]) -> None:
    chosen = several[options["study"].value if "study" in options else ""]
    given = {name: holder.value for name, holder in options.items()}
    with errors_explained():
      chosen_settings = chosen.choose(_settings(chosen, given.get("config"), settings, more))
      asked = _prepare(given, command)
      if prepare_devices is not None and not given.get("distributed"):
        prepare_devices(asked.devices, chosen_settings)
      _start_devices()
    with errors_explained(asked.workdir):
      failed = runner.run(chosen, chosen_settings, asked)
    if failed:
      print(f"{len(failed)} of the cells failed: {'; '.join(failed)}", file=sys.stderr)
      sys.exit(1)

  app.run(run, argv, functools.partial(_parse, defined=options | settings))


def run_script(work: Callable[[], None]) -> None:
  """Run a script that is no study: its flags are defined, and it takes nothing beside them."""

  def run(_: list[str]) -> None:
    with errors_explained():
      work()

  app.run(run, flags_parser=_parse)


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


def fail(message: str, status: int = 2) -> typing.NoReturn:
  """Print an error and leave with an exit status."""
  print(f"error: {message}", file=sys.stderr)
  if jax.distributed.is_initialized():
    # A plain exit would wait for the other processes, which wait for this one.
    sys.stderr.flush()
    os._exit(status)
  sys.exit(status)


@contextlib.contextmanager
def errors_explained(directory: pathlib.Path | None = None) -> Iterator[None]:
  """Turn errors that are no fault of the program into one message without a traceback.

  These are of bad input, of another process's loss and, where a working directory is named, of
  storage that turned full or unwritable during the work. So is a Ctrl-C that is not waited for.
  """
  try:
    yield
  except KeyboardInterrupt:
    fail("interrupted. What is finished is kept, and the same command goes on.", 130)
  except Exception as error:
    if lifecycle.tells_of_a_loss(error):
      first_line = str(error).strip().partition("\n")[0]
      fail(
        f"process {jax.process_index()} of {jax.process_count()} has lost another one, which was "
        f"ended or cannot be reached ({first_line}). Start all of them again: the same commands go "
        "on from the last checkpoint."
      )
    if directory is not None and workdir.is_full_or_read_only(error):
      fail(
        f"{directory} cannot be written ({error}). What is finished is kept: make room, or let it "
        "be written, and the same command goes on."
      )
    if isinstance(error, TypeError) and registry.place_of_ones_own(error):
      fail(registry.describe(error))
    if isinstance(error, ValueError | TypeError | OSError | data.DataUnavailableError):
      fail(str(error))
    raise


def _prepare(given: Mapping[str, Any], command: str) -> runner.Options:
  """Check what the flags say beside a study's settings, and connect the processes."""
  details = {name: given[name] for name in lifecycle.DETAILS if given.get(name) is not None}
  if given.get("distributed"):
    lifecycle.connect(details)
  elif details:
    told = " ".join(f"--{name}={value}" for name, value in details.items())
    raise ValueError(f"Got {told} without --distributed. Pass both or neither.")
  if not given["workdir"].strip():
    raise ValueError("Got --workdir= without a directory; name one, as --workdir=runs/mine.")
  if given["keep_compiled"]:
    environment.keep_programs()
  options = runner.Options(
    **{name: value for name, value in given.items() if name in runner.Options._fields}
  )
  return options._replace(
    workdir=pathlib.Path(options.workdir).expanduser(),
    command=command,
    shard=runner.check_shard(options.shard),
    dry_run=options.dry_run or options.estimate_all,
  )


def _start_devices() -> None:
  try:
    jax.devices()
  except RuntimeError as error:
    raise OSError(
      f"JAX has no device to compute on: {error}. Leave JAX_PLATFORMS unset, or set it to a "
      "platform of this machine, as cpu."
    ) from None


def _define_options(*, distributed: bool) -> _Holders:
  known = ", ".join(report.FORMATS)
  required = functools.partial(flags.DEFINE_string, required=True)
  positive = functools.partial(flags.DEFINE_integer, lower_bound=1)
  options = [
    (required, "workdir", None, "Directory for all results, as runs/mine."),
    (flags.DEFINE_string, "only", "", "Regular expression; run the cells whose name it fits."),
    (flags.DEFINE_string, "shard", "", "I/N, as 3/16: every N-th cell from the I-th on."),
    (flags.DEFINE_bool, "dry_run", False, "List what is left with its time; run nothing."),
    (flags.DEFINE_bool, "estimate_all", False, "List estimates beside what finished cells took."),
    (flags.DEFINE_float, "minutes", 0, "Stop after so many minutes, with all saved; 0 for never."),
    (flags.DEFINE_list, "formats", ["md", "html"], f"Of the report: {known}."),
    (flags.DEFINE_bool, "keep_compiled", True, "Keep compiled programs on disk."),
  ]
  if distributed:
    options += [
      (flags.DEFINE_bool, "distributed", False, "Train in several processes, of the same flags."),
      (flags.DEFINE_string, "coordinator", None, "HOST:PORT of process 0, which all can reach."),
      (positive, "num_processes", None, "Processes in all."),
      (flags.DEFINE_integer, "process_id", None, "This process's number, from 0 on."),
    ]
  defined = {name: define(name, default, text) for define, name, default, text in options}
  # NaN is no bound that absl checks, and would never be over.
  flags.register_validator("minutes", lambda minutes: minutes >= 0, "it must be 0 or more")
  flags.register_validator("formats", set(report.FORMATS).issuperset, f"the formats are {known}")
  return defined


def _define_settings(several: Mapping[str, type]) -> _Holders:
  defined: _Holders = {}
  for name, settings in several.items():
    helps, kinds = study.help_of(settings), typing.get_type_hints(settings)
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
        defined[field] = flags.DEFINE_string(field, None, usual)
        flags.FLAGS[field].inner_kind = inner
      else:
        defined[field] = make.get(kind, flags.DEFINE_string)(field, None, usual)
  return defined


def _kind(hint: Any) -> tuple[type, type]:
  arguments = [part for part in typing.get_args(hint) if part is not type(None)]
  origin = typing.get_origin(hint)
  if origin is tuple:
    return tuple, arguments[0]
  if origin in (typing.Union, types.UnionType):
    return _kind(arguments[0])
  return hint, hint


def _settings(of: study.Study, config: ConfigDict | None, defined: _Holders, more) -> Any:
  given = {
    name: _values(name, holder.value) if hasattr(flags.FLAGS[name], "inner_kind") else holder.value
    for name, holder in defined.items()
    if holder.value is not None
  }
  kind = more if config is not None else of.settings
  if unknown := [name for name in given if name not in kind._fields]:
    raise ValueError(
      f"Got --{unknown[0]}, which the study {study.name_of(of)} has no use for; it takes "
      f"{', '.join('--' + field for field in kind._fields)}."
    )
  settings = kind(**given) if kind else None
  if config is None:
    return settings
  with config.unlocked():
    config.update(settings._asdict() if settings else {})
  return config


def _values(name: str, given: str) -> tuple:
  kind = flags.FLAGS[name].inner_kind
  texts = registry.split_outside_brackets(given, ",") if given.strip() else []
  try:
    values = tuple(kind(text.strip()) for text in texts)
  except ValueError:
    what = {int: "whole numbers", float: "numbers"}.get(kind, kind.__name__)
    raise ValueError(f"Got --{name}={given}; it must be {what} with commas between.") from None
  if len(set(values)) < len(values):
    once = ",".join(map(str, dict.fromkeys(values)))
    raise ValueError(
      f"Got --{name}={given}; each value may stand there once, or its seeds would be run and "
      f"counted again. Pass --{name}={once}."
    )
  return values


def _define_config_file(
  argv: Sequence[str], default: str | None
) -> tuple[list[str], flags.FlagHolder]:
  """Load the file that `--config` names; return all other arguments, and the flag of its keys."""
  named, rest, arguments = default, [], iter(argv)
  for argument in arguments:
    if match := re.fullmatch(r"--?config(?:=(.*))?", argument):
      named = next(arguments, "") if match[1] is None else match[1]
    else:
      rest.append(argument)
  help_text = "Configuration file, whose keys are flags too"
  help_text += f"; {default} by default." if default else "."
  if named is not None:
    return rest, _define_config("config", _load(named), help_text, rest)
  if not _ask_for_help(argv):
    fail("Got no --config; give a configuration file, as --config=configs/liu2016.py.")
  return rest, flags.DEFINE_string("config", None, help_text)


def _load(named: str) -> ConfigDict:
  """Return the configuration of a file; behind a colon stands what its `get_config` is given."""
  path, colon, argument = named.partition(":")
  if re.fullmatch(r"configs/\w+\.py", path) and not os.path.exists(path):
    # Outside of a clone it is the file installed with us, wherever Python finds it.
    with contextlib.suppress(ImportError):
      found = importlib.util.find_spec(path.removesuffix(".py").replace("/", "."))
      path = found.origin if found else path
  if not os.path.isfile(path):
    fail(f"Got --config={named}, which is no file. Give it a Python file, as configs/digits.py.")
  try:
    spec = importlib.util.spec_from_file_location("config", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config(*[argument] * bool(colon))
  except Exception as error:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == path]
    where = f" at {path}, line {lines[-1]}" if lines else ""
    fail(
      f"The configuration cannot be read ({type(error).__name__}{where}: {error}). Its "
      "get_config() must return an ml_collections.ConfigDict, as that of configs/digits.py does."
    )
  if not isinstance(config, ConfigDict):
    fail(
      f"--config's get_config() returned {type(config).__name__}; it must return an "
      "ml_collections.ConfigDict."
    )
  return config


def _define_config(
  name: str, config: ConfigDict, help_text: str, argv: Sequence[str]
) -> flags.FlagHolder:
  """Define the flag of a configuration, whose keys are flags too; all that are given are known."""
  for argument, following in zip(argv, [*argv[1:], None], strict=True):
    if match := re.match(rf"--?(?:no)?{name}\.([\w.]+)(?:=(.*))?$", argument):
      key, text = match.groups(following)
      _check_key(config, key, name)
      # The flag replaces a dictionary by a dictionary alone, but what is named is text.
      is_text = text is not None and text[:1] != "{"
      if is_text and "." not in key and isinstance(config[key], ConfigDict):
        with config.ignore_type():
          config[key] = text
  try:
    return config_flags.DEFINE_config_dict(name, config, help_text, sys_argv=list(argv))
  except flags.Error as error:
    fail(str(error))


def _check_key(config: ConfigDict, key: str, flag: str) -> None:
  seen = flag
  for name in key.split("."):
    if isinstance(config, str):
      whole = f"--{seen}={config}:{name}=VALUE"
      fail(f"Got --{flag}.{key}, but {seen} is {config!r}; write all of it as {whole}.")
    if not isinstance(config, ConfigDict) or name not in config:
      keys = ", ".join(sorted(config)) if isinstance(config, ConfigDict) else "none"
      named = isinstance(config, ConfigDict) and "name" in config
      other = f" To give it others, write all of it as --{seen}=NAME:{name}=VALUE." * named
      fail(f"Got --{flag}.{key}, but {seen} has no key {name!r}; its keys are {keys}.{other}")
    config, seen = config[name], f"{seen}.{name}"


def _ask_for_help(argv: Sequence[str]) -> bool:
  return any(re.fullmatch(r"--?(help|helpshort|helpfull|h)", argument) for argument in argv[1:])


def _parse(argv: list[str], *, defined: _Holders | None = None) -> list[str]:
  if defined is not None and _ask_for_help(argv):
    print(_usage(defined))
    sys.exit(0)
  try:
    rest = flags.FLAGS(argv)
  except flags.Error as error:
    missing = re.search(r"Flag --(\w+) must have a value", str(error))
    said = f"Got no --{missing[1]}: {flags.FLAGS[missing[1]].help}" if missing else error
    fail(f"{said}\nRun with --help for the flags of this script.")
  if len(rest) > 1:
    fail(f"Got the argument {rest[1]!r}, which is not a flag; flags begin with --.")
  if flags.FLAGS["verbosity"].using_default_value:
    logging.set_verbosity(logging.WARNING)  # Checkpoints log every file they touch.
  return rest


def _usage(defined: _Holders) -> str:
  lines = [(sys.modules["__main__"].__doc__ or "").strip(), "", "Flags:"]
  for name, holder in defined.items():
    flag = flags.FLAGS[name]
    keys = holder.default.to_dict() if isinstance(holder.default, ConfigDict) else {}
    plain = flag.default is not None and not keys and name != "workdir"
    lines.append(f"  --{name}: {flag.help}" + f" (default: {flag.default_as_str})" * plain)
    lines += [f"    --{name}.{key}={value}" for key, value in study.flatten(keys).items()]
  return "\n".join(lines)


def _public_arguments() -> list[str]:
  """Return the command line as a reader would type it."""
  spec = getattr(sys.modules["__main__"], "__spec__", None)
  script = ["-m", spec.name.removesuffix(".__main__")] if spec else [sys.argv[0]]
  # Where the locale has few letters, Python stands in for the bytes of others.
  return [os.fsencode(text).decode("utf-8", "replace") for text in (*script, *sys.argv[1:])]
