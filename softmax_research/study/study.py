"""Studies: an experiment as settings, cells, a run and a report; the runner does all the rest."""

import contextlib
import dataclasses
import datetime
import functools
import inspect
import itertools
import json
import math
import pathlib
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from softmax_research import data
from softmax_research.study import record
from softmax_research.study.lifecycle import Interruption
from softmax_research.training import environment

#: A cell of a study: what is compared, a dictionary that JSON can hold.
Cell = dict[str, Any]
#: A record; see `record`.
Record = dict[str, Any]

# Where data lie is not part of a result, and what they hold is.
_PLACE = "data_dir"
_DATA = ("dataset", "folder", "text")
# More would not be listed in the memory of a computer.
_MOST_SEEDS = 100_000


class SkippedError(Exception):
  """Raised by a study's `run` where a cell cannot be run and that is no fault, as without data."""


@dataclasses.dataclass
class Context:
  """Hold what a study's `run` is given beside its cell.

  Attributes:
    study: the study.
    settings: the study's.
    cell: the cell.
    seeds: those that are missing.
    prepared: what the study's `prepare` returned.
    workdir: the working directory.
    interruption: says whether a signal asked to stop.
    progress: to be called with a `training.Progress` now and then.
    devices: the options of `--devices`, or None.
    finished: the records so far, of all cells.
    kept: what cells keep for later ones of the same process, by what it is, as "programs".
    command: the command line.
    began: when the work on the next record began, by `time.perf_counter`.
  """

  study: "Study"
  settings: Any
  cell: Cell
  seeds: Sequence[int]
  prepared: Any = None
  workdir: pathlib.Path = pathlib.Path()
  interruption: Interruption = dataclasses.field(default_factory=Interruption)
  progress: Callable[[Any], None] = lambda progress: None
  devices: ConfigDict | None = None
  finished: Sequence[Record] = ()
  kept: dict[str, Any] = dataclasses.field(default_factory=dict)
  command: str = ""
  began: float = dataclasses.field(default_factory=time.perf_counter, init=False)

  @functools.cached_property
  def directory(self) -> pathlib.Path:
    """Return where checkpoints of this cell with these seeds lie, until its records are written."""
    # Of other settings a checkpoint is another's.
    config = config_of(self.study, self.settings, self.cell)
    return self.workdir / "checkpoints" / record.file_name(self.cell, list(self.seeds), config)

  def share(self) -> float:
    """Return a seed's share of the seconds since the work began, where all seeds train together."""
    return (time.perf_counter() - self.began) / len(self.seeds)

  def record(self, seed: int | None, *, seconds: float | None = None, **parts: Any) -> Record:
    """Make the record of a seed of this cell; see `record`.

    Args:
      seed: the seed, or None where there is none.
      seconds: that it took; by default those since the record before, or since the work began.
      **parts: what `make_record` takes beside: `status`, `metrics`, `curves` and `measured`.
    """
    now = time.perf_counter()
    made = {"seconds": now - self.began if seconds is None else seconds, "command": self.command}
    self.began = now
    return make_record(self.study, self.settings, self.cell, seed, **made, **parts)

  def interrupt(self, where: str = "") -> None:
    """Leave with the status of a process that the signal ended; call it once all is saved.

    Args:
      where: is told to the user, as "at step 10 and saved".
    """
    print(f"Interrupted {where}".rstrip() + "; the same command goes on.")
    raise SystemExit(self.interruption.exit_status)


class Study(NamedTuple):
  """Hold a study.

  Attributes:
    settings: a NamedTuple class with a default for each field, each of which becomes a flag, with
      its help from the docstring's attributes; or a function that returns a ConfigDict, that of
      `--config`.
    cells: `settings -> cells`.
    run: `(cell, context) -> records`, an iterator. What it yields is written at once: a record, or
      a list of records of seeds that trained together, all or none.
    report: `(records, settings) -> blocks`, an iterator; see `blocks`.
    name: in records: the module below `experiments`, or its path; by default that of `run`.
    choose: `settings -> settings`, what the study takes of those of the command line, as one
      variant of several; it raises a ValueError. All else is given what it returns.
    check: `settings -> None`, raises a ValueError for settings that are none. Nothing is loaded and
      nothing written before.
    prepare: `(settings, cells) -> prepared`, called once with the cells that are left: loads data
      and checks the cells against them. It raises a ValueError or an OSError.
    config: `(settings, cell) -> dictionary`, what a cell's results depend on; by default all
      settings but those of `selects`.
    selects: names of settings that only say which cells and seeds there are.
    seeds: `(settings, cell) -> seeds`; by default so many as `settings.seeds` says, from 0 on.
    estimate: `(cell, context) -> seconds` for the context's seeds, measured by steps that are
      thrown away.
    derive: `(settings, records, workdir) -> records`, an iterator over what follows from finished
      records, as ensembles; called when all cells are done.
    claims: of `claims.Claim`, judged in the report; or `settings -> claims`. A metric that no
      finished record of a row has is a ValueError, as soon as there are such records.
    keep_checkpoints: whether a cell's checkpoints stay once its records are written.
    seed_by_seed: whether the first seed of all cells comes before the second ones, so that whatever
      slows the machine slows all cells; or `settings -> whether`.
  """

  settings: Callable[..., Any]
  cells: Callable[[Any], Sequence[Cell]]
  run: Callable[[Cell, Context], Iterable[Record | Sequence[Record]]]
  report: Callable[[Sequence[Record], Any], Iterable[Any]]
  name: str = ""
  choose: Callable[[Any], Any] = lambda settings: settings
  check: Callable[[Any], None] = lambda settings: None
  prepare: Callable[[Any, Sequence[Cell]], Any] = lambda settings, cells: None
  config: Callable[[Any, Cell], dict[str, Any]] | None = None
  selects: tuple[str, ...] = ("seeds",)
  seeds: Callable[[Any, Cell], Sequence[int]] = lambda settings, cell: range(settings.seeds)
  estimate: Callable[[Cell, Context], float] | None = None
  derive: Callable[[Any, Sequence[Record], pathlib.Path], Iterable[Record]] = (
    lambda settings, records, workdir: ()
  )
  claims: tuple | Callable[[Any], tuple] = ()
  keep_checkpoints: bool = False
  seed_by_seed: bool | Callable[[Any], bool] = False


class Task(NamedTuple):
  """Hold a cell with the seeds that are to be made in one call of `run`."""

  cell: Cell
  seeds: tuple[int, ...]


def name_of(study: Study) -> str:
  """Return the name under which a study's records stand."""
  if study.name:
    return study.name
  module = study.run.__module__
  if module == "__main__":  # A script in a file of a user's own.
    module = pathlib.Path(getattr(sys.modules[module], "__file__", None) or "study").stem
  return module.removeprefix("experiments.")


def to_json(settings: Any) -> dict[str, Any]:
  """Return settings as JSON holds them, without the directories of data."""
  plain = settings.to_dict() if isinstance(settings, ConfigDict) else settings._asdict()
  return _plain(plain)


def from_json(study: Study, plain: Mapping[str, Any]) -> Any:
  """Return the settings that `to_json` turned into what JSON holds."""
  settings = as_tuples(plain)
  return study.settings(**settings) if isinstance(study.settings, type) else ConfigDict(settings)


def config_of(study: Study, settings: Any, cell: Cell) -> dict[str, Any]:
  """Return what a cell's results depend on, as records hold it.

  Digests of the files and folders of data that it names belong to it, because other data may come
  to lie there, and settings of JAX that change numbers, where they are not JAX's own.
  """
  if study.config is None:
    config = {k: v for k, v in to_json(settings).items() if k not in study.selects}
  else:
    config = _plain(study.config(settings, cell))
  return config | _digests(config) | ({"jax": changed} if (changed := _changed_jax()) else {})


def _digests(config: Mapping[str, Any]) -> dict[str, str]:
  found = {}
  for key, text in flatten(config).items():
    if key.rpartition(".")[2] in _DATA and isinstance(text, str):
      with contextlib.suppress(Exception):  # In a user's own study it may be any text.
        found[f"{key}_digest"] = data.fingerprint(text)
  return {key: digest for key, digest in found.items() if digest is not None}


def make_record(
  study: Study,
  settings: Any,
  cell: Cell,
  seed: int | None,
  *,
  seconds: float | None,
  status: str = "finished",
  metrics: dict[str, Any] | None = None,
  curves: dict[str, Any] | None = None,
  measured: dict[str, Any] | None = None,
  command: str = "",
) -> Record:
  """Make a record.

  Args:
    study: that it is of.
    settings: the study's.
    cell: the cell.
    seed: the seed, or None where there is none.
    seconds: that it took; None where nothing was timed.
    status: `finished`, `diverged` or `failed`.
    metrics: by split.
    curves: by name.
    measured: all else.
    command: the command line.
  """
  return {
    "study": name_of(study),
    "cell": cell,
    "seed": seed,
    "status": status,
    "metrics": metrics or {},
    "curves": curves or {},
    "measured": measured or {},
    "config": config_of(study, settings, cell),
    "command": command,
    "versions": environment.versions(),
    "device": environment.device(),
    "revision": _revision(),
    "time": {
      "finished_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
      "seconds": None if seconds is None else round(seconds, 3),
    },
  }


@functools.cache
def _revision() -> str:
  """Return the revision at the first call: the program stays what it was, whatever becomes of its
  source tree."""
  return environment.git_revision() or "no git"


def tasks(study: Study, settings: Any, *, only: str = "") -> list[Task]:
  """List the cells of a study with their seeds, in the order in which they are run.

  A task is a cell with all its seeds, or with one where the study goes seed by seed; cells in whose
  name the regular expression is not found are left out.

  Raises:
    ValueError: the expression is none or leaves nothing, or a cell stands there twice.
  """
  cells = [json.loads(json.dumps(cell)) for cell in study.cells(settings)]
  names = [record.describe(cell) for cell in cells]
  for cell, name in zip(cells, names, strict=True):
    if cells.count(cell) > 1:
      raise ValueError(f"Got {name} twice; name each cell once, or its seeds would count twice.")
  try:
    pattern = re.compile(only)
  except re.error as error:
    raise ValueError(f"Got --only={only!r}, which is no regular expression ({error}).") from None
  chosen = [cell for cell, name in zip(cells, names, strict=True) if pattern.search(name)]
  if not chosen:
    raise ValueError(
      f"Got --only={only!r}, which no cell's name holds; the cells are {'; '.join(names)}."
      if only
      else "The settings ask for no cell; name at least one."
    )
  all_seeds = [_check_seeds(study.seeds(settings, cell)) for cell in chosen]
  by_seed = study.seed_by_seed
  if not (by_seed(settings) if callable(by_seed) else by_seed):
    return [Task(cell, seeds) for cell, seeds in zip(chosen, all_seeds, strict=True)]
  return [
    Task(cell, (seeds[place],))
    for place in range(max(map(len, all_seeds)))
    for cell, seeds in zip(chosen, all_seeds, strict=True)
    if place < len(seeds)
  ]


def _check_seeds(seeds: Iterable[int | None]) -> tuple[int | None, ...]:
  """Return seeds if a run can have them.

  JAX makes a random key of the last 32 bits of a seed, so others would repeat these.
  """
  found = tuple(itertools.islice(seeds, _MOST_SEEDS + 1))
  if len(found) > _MOST_SEEDS:
    raise ValueError(f"Got more than {_MOST_SEEDS} seeds of a cell; ask for fewer.")
  for seed in found:
    if seed is not None and not 0 <= seed < 2**32:
      raise ValueError(f"Got the seed {seed}; a seed lies from 0 to {2**32 - 1}.")
  return found


def missing(
  study: Study, wanted: Sequence[Task], records: Sequence[Record], *, again: bool = True
) -> list[Task]:
  """Return what is left of the tasks: the seeds that have no record, or that failed, if `again`."""
  counted = [r for r in records if not again or r["status"] != "failed"]
  done = {key for r in counted for key in record.keys(r)}
  left = []
  for cell, seeds in wanted:
    rest = [s for s in seeds if (name_of(study), json.dumps(cell, sort_keys=True), s) not in done]
    if rest:
      left.append(Task(cell, tuple(rest)))
  return left


def check_configs(study: Study, settings: Any, wanted: Sequence[Task], records: Sequence[Record]):
  """Check that records were made with the same settings as the wanted cells will be.

  Records of other cells that are alike count too, since they stand in the same report. A ValueError
  says what differs.
  """
  expected = {
    json.dumps(cell, sort_keys=True): config_of(study, settings, cell) for cell, _ in wanted
  }
  items = {frozenset(cell) for cell, _ in wanted}
  for cell in (of["cell"] for of in records):
    if frozenset(cell) in items and (text := json.dumps(cell, sort_keys=True)) not in expected:
      with contextlib.suppress(Exception):  # These settings may know nothing of it.
        expected[text] = config_of(study, settings, cell)
  for of in records:
    name, cell, seed = record.key(of)
    if name != name_of(study):
      raise ValueError(
        f"The results there are of the study {name!r}, and this is {name_of(study)!r}. Give "
        "another --workdir."
      )
    if of["status"] == "failed" or cell not in expected or of["config"] == expected[cell]:
      continue
    old, new = flatten(of["config"]), flatten(expected[cell])
    changes = [
      f"  {key}: {old.get(key, 'absent')!r} -> {new.get(key, 'absent')!r}"
      for key in sorted(old | new)
      if old.get(key, "absent") != new.get(key, "absent")
    ]
    raise ValueError(
      f"The results of {record.describe(of['cell'])}, seed {seed}, were made with another "
      "configuration:\n" + "\n".join(changes) + "\nGive another --workdir, or the former values."
    )


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
  """Turn a nested dictionary into one of dotted keys."""
  flat = {}
  for key, value in config.items():
    if isinstance(value, Mapping) and value:
      flat |= flatten(value, f"{prefix}{key}.")
    else:
      flat[prefix + key] = value
  return flat


def summarise(made: Record) -> str:
  """Say in a line how a seed ended, by what its record holds.

  Example:
    >>> summarise({"status": "finished", "metrics": {"test": {"accuracy": 0.5}}, "measured": {},
    ...   "time": {"seconds": 2.0}})
    'accuracy 0.5, 2.0 s'
  """
  if made["status"] == "failed":
    return f"failed: {made['measured'].get('error')}"
  parts = [made["status"]] * (made["status"] != "finished")
  if diverged := made["measured"].get("diverged"):
    parts = [f"diverged at step {diverged['step']}"]
  metrics = made["metrics"]
  numbers = metrics.get("test") or flatten(metrics) or made["measured"]
  shown = [(k, v) for k, v in numbers.items() if isinstance(v, int | float)][:3]
  parts += [f"{name} {value:.4g}" for name, value in shown]
  seconds = made["time"]["seconds"]
  return ", ".join(parts + ([] if seconds is None else [f"{seconds:.1f} s"]))


def help_of(settings: type) -> dict[str, str]:
  """Return what the docstring of a NamedTuple says of each field."""
  found = re.findall(r"^  (\w+): (.*(?:\n    .*)*)", inspect.getdoc(settings) or "", re.MULTILINE)
  return {name: " ".join(text.split()) for name, text in found}


def _plain(node: Any) -> Any:
  """Return what JSON makes of a node, without where data lie, which is not part of a result."""

  def without_place(items: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in items.items() if key != _PLACE}

  return json.loads(json.dumps(node), object_hook=without_place)


def as_tuples(node: Any) -> Any:
  """Return what JSON holds with tuples in place of its lists."""
  if isinstance(node, Mapping):
    return {key: as_tuples(value) for key, value in node.items()}
  return tuple(map(as_tuples, node)) if isinstance(node, list) else node


def _changed_jax() -> dict[str, Any]:
  """Return the settings of JAX that change random numbers or types, where they are not its own."""
  usual = {
    "jax_threefry_partitionable": True,
    "jax_default_prng_impl": "threefry2x32",
    "jax_enable_x64": False,
    "jax_default_matmul_precision": None,
  }
  return {name: value for name, own in usual.items() if (value := getattr(jax.config, name)) != own}


def iterate(made: Iterable[Record | Sequence[Record]]) -> Iterator[list[Record]]:
  """Yield what `run` yields as lists of records."""
  for some in made:
    yield [some] if isinstance(some, dict) else list(some)


def check_numbers(settings: Any, **bounds: float | tuple[float, float]) -> None:
  """Check that settings have numbers, and that all of them lie within bounds.

  Args:
    settings: the study's; a setting is a number, or several.
    **bounds: by the setting's name the least that is allowed, or the least and the most.

  Raises:
    ValueError: there is none, or one lies beyond the bounds.

  Example:
    >>> class Settings(NamedTuple):
    ...   seeds: int = 5
    ...   errors: tuple[float, ...] = (0.1, 0.5)
    >>> check_numbers(Settings(), seeds=2, errors=(0, 1))
  """
  for name, bound in bounds.items():
    given = getattr(settings, name)
    values = list(given) if isinstance(given, Iterable) else [given]
    low, high = bound if isinstance(bound, tuple) else (bound, math.inf)
    allowed = f"at least {low}" if high == math.inf else f"in [{low}, {high}]"
    if not values:
      raise ValueError(f"Got no --{name}; pass one number {allowed} or more, with commas between.")
    for value in values:
      if not low <= value <= high:
        raise ValueError(f"Got --{name}={value}; it must be {allowed}.")
