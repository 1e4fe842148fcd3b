"""The runner of every study: finds what is missing, runs it, writes it at once, survives kills."""

import contextlib
import dataclasses
import functools
import json
import pathlib
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from softmax_research import registry
from softmax_research.study import (
  claims,
  ledger,
  lifecycle,
  markdown,
  record,
  report,
  study,
  workdir,
)
from softmax_research.study.record import duration, span
from softmax_research.training import environment

_LONGEST_MESSAGE = 500


class Options(NamedTuple):
  """Hold what a command line, whose flags have these names, says beside a study's settings.

  A shard `(i, n)` is every n-th cell from the i-th on, counted from 1.
  """

  workdir: pathlib.Path
  command: str = ""
  only: str = ""
  shard: tuple[int, int] | None = None
  dry_run: bool = False
  estimate_all: bool = False
  minutes: float = 0
  formats: tuple[str, ...] = ("md", "html")
  devices: ConfigDict | None = None


class Work(NamedTuple):
  """Hold what a run is to do: tasks, those left, records so far, what all its contexts share."""

  wanted: list[study.Task]
  left: list[study.Task]
  records: list[study.Record]
  shared: study.Context

  def context(self, task: study.Task, records: Sequence[study.Record]) -> study.Context:
    """Return what the study's functions are given of a task, beside the records so far."""
    own = {"cell": task.cell, "seeds": task.seeds, "finished": records}
    return dataclasses.replace(self.shared, **own)

  def estimate(self, task: study.Task) -> float | None:
    """Return a task's estimate, or None where it is skipped; a ValueError if it would fail."""
    try:
      return self.shared.study.estimate(task.cell, self.context(task, self.records))
    except study.SkippedError as reason:
      print(f"{describe(task)}: is skipped: {reason}", flush=True)
      return None
    except Exception as error:
      raise ValueError(f"{describe(task)} would fail: {error}") from error


def run(of: study.Study, settings: Any, options: Options) -> list[str]:
  """Run what is missing of a study, write its report, and return the names of cells that failed.

  Raises:
    ValueError, OSError: settings, data or the working directory do not fit; nothing was run.
    StorageError: the working directory cannot be written; what is finished is kept.
    SystemExit: interrupted; the same command goes on.
  """
  plain = study.to_json(settings)
  lifecycle.check_processes_agree(
    lambda: [
      study.name_of(of),
      plain,
      options.only,
      options.shard,
      options.devices and options.devices.to_dict(),
      environment.git_revision(),
      environment.versions(),
    ]
  )
  of.check(settings)
  if options.dry_run:
    work = _find_work(of, settings, options)
    list_estimates(work) if options.estimate_all else list_cells(work)
    return []
  with contextlib.ExitStack() as stack:
    lock = workdir.locked(options.workdir, options.shard)
    environment.from_first(lambda: stack.enter_context(lock))
    work = _find_work(of, settings, options)
    environment.from_first(lambda: workdir.write_config(options.workdir, study.name_of(of), plain))
    failed = run_tasks(work, options)
    if environment.is_first():
      finish(of, settings, options)
  return failed


def run_tasks(work: Work, options: Options) -> list[str]:
  """Run tasks one after the other, and return the names of those that failed.

  One that fails is recorded, and the others go on.
  """
  of, path = work.shared.study, workdir.results_path(options.workdir, options.shard)
  records, failed, skipped = list(work.records), [], set()
  total = sum(len(task.seeds) for task in work.wanted)
  done = total - sum(len(task.seeds) for task in work.left)
  show = lifecycle.Display()
  with lifecycle.interruptible(options.minutes) as interruption:
    for number, task in enumerate(work.left):
      name = describe(task)
      context = work.context(task, records)
      context.interruption, context.progress = interruption, show.update
      show.start(name, done, total)
      end = done + len(task.seeds)
      try:
        for some in study.iterate(of.run(task.cell, context)):
          environment.from_first(functools.partial(workdir.append, path, some))
          records += some
          done += len(some)
          for made in some:
            show.finish(describe(study.Task(task.cell, (made["seed"],))), study.summarise(made))
          if interruption() and done < end:
            context.interrupt()
      except study.SkippedError as reason:
        if record.describe(task.cell) not in skipped:
          show.finish(name, f"skipped: {reason}")
        skipped.add(record.describe(task.cell))
        continue
      except Exception as error:  # A cell's own fault must not cost the others.
        if workdir.is_full_or_read_only(error) or lifecycle.tells_of_a_loss(error):
          raise
        failed.append(_fail(path, context, error, name, show))
        continue
      # Not before the records are there, and of this cell alone: others may be under way.
      if environment.is_first() and not of.keep_checkpoints:
        workdir.remove(context.directory)
      _judge(of, work.shared.settings, records)
      seconds = [by_records(task, records, alike=True) for task in work.left[number + 1 :]]
      if seconds and None not in seconds:
        print(f"time left: about {duration(sum(seconds))}", flush=True)
      if interruption() and number + 1 < len(work.left):
        context.interrupt()
  return failed


def finish(of: study.Study, settings: Any, options: Options) -> None:
  """Append what follows from finished records, and write the report, if no shard has work left."""
  records = workdir.read(options.workdir)
  tasks = study.tasks(of, settings, only=options.only)
  left = study.missing(of, tasks, records, again=False)
  if options.shard is not None and left:
    runs = report.count(sum(len(task.seeds) for task in left), "run")
    print(f"{runs} left, of other shards or skipped; no report yet.")
    return
  known = {record.key(r) for r in records}
  for made in of.derive(settings, records, options.workdir):
    if record.key(made) not in known:
      workdir.append(workdir.results_path(options.workdir), [made])
      records.append(made)
  paths = write_report(of, settings, records, options.workdir, formats=options.formats)
  print(f"Report: {paths[0]}" if paths else "There is nothing to report yet.")


def write_report(
  of: study.Study,
  settings: Any,
  records: Sequence[study.Record],
  out: pathlib.Path,
  *,
  title: str | None = None,
  formats: Sequence[str] = ("md", "html"),
) -> list[pathlib.Path]:
  """Write the report of a study's records, and return its paths; see `report.write_report`.

  A title takes the place of the report's own.
  """
  if not records or not formats:
    return []
  records = in_order(of, settings, records)
  if any(r["status"] == "finished" for r in records):
    blocks = list(of.report(records, settings))
  else:
    blocks = ["Nothing is finished; where runs diverged, a lower learning rate may help."]
  if title is not None:
    blocks.insert(0, f"# {markdown.escape(title)}")
  # Claims are what a study is about, so they stand before its first section.
  sections = [i for i, b in enumerate(blocks) if isinstance(b, str) and b.startswith("## ")]
  start = sections[0] if sections else len(blocks)
  blocks[start:start] = ledger.of_study(_claims(of, settings), records)
  return report.write_report(
    out, blocks, records, config=study.to_json(settings), formats=tuple(formats)
  )


def in_order(of: study.Study, settings: Any, records: Sequence[study.Record]) -> list[study.Record]:
  """Put records in the order of the cells and seeds, whatever order they were made in.

  Records of cells that the settings do not ask for come last.
  """
  cells = [json.dumps(cell, sort_keys=True) for cell in of.cells(settings)]

  def place(made: study.Record) -> tuple[float, float]:
    cell = {name: value for name, value in made["cell"].items() if name != "ensemble"}
    text = json.dumps(cell, sort_keys=True)
    seed = float("inf") if made["seed"] is None else made["seed"]
    return cells.index(text) if text in cells else len(cells), seed

  return sorted(records, key=place)


def list_cells(work: Work) -> None:
  """Print what is left with its estimated time; a ValueError says which cell would fail."""
  total, unknown = 0.0, 0
  for task in work.left:
    seconds, source = by_records(task, work.records), "by finished runs"
    if seconds is None and work.shared.study.estimate is not None:
      seconds, source = work.estimate(task), "by measured steps"
      if seconds is None:
        continue
    elif seconds is None:
      seconds = by_records(task, work.records, alike=True)
      source = "by finished runs of other cells"
    total += seconds or 0.0
    unknown += seconds is None
    said = "not known" if seconds is None else f"about {duration(seconds)}, {source}"
    print(f"{describe(task)}: {said}", flush=True)
  runs = sum(len(task.seeds) for task in work.left)
  known = len(work.left) - unknown
  time = f"about {duration(total)}" if known or not work.left else "time not known"
  cells, others = (report.count(number, "cell") for number in (len(work.left), unknown))
  more = f", and {others} whose time is not known" if known and unknown else ""
  print(f"{cells}, {report.count(runs, 'run')}, {time}{more}")


def list_estimates(work: Work) -> None:
  """Print the estimates of finished cells beside what they took; a ValueError if there are none."""
  estimated = took = 0.0
  for task in work.wanted if work.shared.study.estimate is not None else ():
    seconds = by_records(task, work.records)
    if seconds is None:
      continue
    guess = work.estimate(task)
    if guess is not None:
      estimated, took = estimated + guess, took + seconds
      print(f"{describe(task)}: about {duration(guess)}, took {duration(seconds)}", flush=True)
  if not took:
    raise ValueError(
      "Got --estimate_all, but no cell is finished, or the study has no estimates. Leave it away."
    )
  print(f"about {duration(estimated)}, took {duration(took)}: {estimated / took:.2f} times")


def describe(task: study.Task) -> str:
  """Name a task for a person."""
  name, seeds = record.describe(task.cell), [seed for seed in task.seeds if seed is not None]
  return f"{name}, seed{'s' * (len(seeds) > 1)} {span(seeds)}" if seeds else name


def by_records(
  task: study.Task, records: Sequence[study.Record], *, alike: bool = False
) -> float | None:
  """Estimate a task's seconds by finished seeds of its cell, or of those most `alike`, if any."""
  timed = [r for r in records if r["status"] != "failed" and r["time"]["seconds"]]
  shared = [sum(r["cell"].get(key) == value for key, value in task.cell.items()) for r in timed]
  wanted = max(shared, default=0) if alike else len(task.cell)
  seconds = [
    r["time"]["seconds"] for r, count in zip(timed, shared, strict=True) if count == wanted
  ]
  return statistics.median(seconds) * len(task.seeds) if seconds else None


def check_shard(text: str) -> tuple[int, int] | None:
  """Read `--shard`; a ValueError says how it is written."""
  if not text:
    return None
  number, slash, count = text.partition("/")
  if slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count):
    return int(number), int(count)
  raise ValueError(
    f"Got --shard={text!r}; write I/N, as 3/16: every N-th cell from the I-th on, I from 1 to N."
  )


def _find_work(of: study.Study, settings: Any, options: Options) -> Work:
  """Find what is missing, and prepare it; everything is checked here, before anything runs."""
  wanted = study.tasks(of, settings, only=options.only)
  if options.shard is not None:
    number, count = options.shard
    wanted = wanted[number - 1 :: count]
  records = environment.from_first(lambda: workdir.read(options.workdir))
  study.check_configs(of, settings, study.tasks(of, settings), records)
  _judge(of, settings, records)
  left = study.missing(of, wanted, records)
  if options.devices is not None and options.devices.get("seeds_by") == "apart":
    left = [study.Task(cell, (seed,)) for cell, seeds in left for seed in seeds]
  needed = wanted if options.estimate_all else left
  prepared = of.prepare(settings, [task.cell for task in needed]) if needed else None
  shared = study.Context(
    of,
    settings,
    {},
    (),
    prepared=prepared,
    workdir=options.workdir,
    devices=options.devices,
    command=options.command,
  )
  return Work(wanted, left, records, shared)


def _claims(of: study.Study, settings: Any) -> Sequence[claims.Claim]:
  return of.claims(settings) if callable(of.claims) else of.claims


def _judge(of: study.Study, settings: Any, records: Sequence[study.Record]) -> None:
  """Raise a ValueError for a claim that is wrong: of its metrics, once there are records of it."""
  claims.judge(_claims(of, settings), {None: records})


def _fail(path, context, error: Exception, name: str, show) -> str:
  message = registry.describe(error)[:_LONGEST_MESSAGE]
  made = context.record(
    None, seconds=0.0, status="failed", measured={"error": message, "seeds": list(context.seeds)}
  )
  environment.from_first(lambda: workdir.append(path, [made]))
  show.finish(name, f"failed: {message}")
  return name
