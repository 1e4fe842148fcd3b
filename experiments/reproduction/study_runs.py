"""Study runs: the studies of a table, each by its own script, and the table made of them."""

import json
import pathlib
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from experiments import command
from experiments.reproduction import estimate, report, studied
from experiments.reproduction.queue import Merged
from experiments.reproduction.studied import StudiedTable
from experiments.reproduction.study_records import translate
from softmax_research.study.interruption import interruptible
from softmax_research.training import results

_SECONDS_BETWEEN_LOOKS = 0.2


def collect(table: StudiedTable, workdir: pathlib.Path) -> list[dict]:
  """Return the runs of all studies below a working directory, as records of the table.

  Raises:
    ValueError: a study's results are damaged.
  """
  records = []
  for name, setting in table.config.settings.items():
    found = results.read(workdir / setting.study / "results.jsonl")
    script = table.config.studies[setting.study].script
    records += translate(script, found, name, setting)
  common = {"paper": table.paper.name, "variant": table.variant}
  return [common | record for record in records]


def list_studies(table: StudiedTable, workdir: pathlib.Path, names: Sequence[str]) -> None:
  """Print the studies with the time that is left, by the configuration's estimate."""
  merged, total = studied.merge(table, collect(table, workdir)), 0.0
  for name in names:
    seconds = studied.share_left(table, name, merged) * table.config.studies[name].seconds
    total += seconds
    said = f"about {estimate.describe(seconds)} on two cores" if seconds else "finished"
    print(f"{name}: {said}, {_typed(table, name, workdir)}")
  print(f"{len(names)} studies, about {estimate.describe(total)}")


def run(
  table: StudiedTable,
  workdir: pathlib.Path,
  names: Sequence[str],
  *,
  typed: str,
  call: Callable[[list[str]], int] | None = None,
) -> list[str]:
  """Run the studies that are not finished, then write results.jsonl and the report.

  Args:
    table: of `studied.make_table`.
    workdir: each study has a directory of its name in it.
    names: of the studies to run.
    typed: the command, for the report.
    call: runs a command and returns its exit status.

  Returns:
    The names of the studies that failed.

  Raises:
    SystemExit: interrupted; the same command goes on.
  """
  failed = []
  for name in names:
    if not studied.share_left(table, name, studied.merge(table, collect(table, workdir))):
      print(f"{name}: finished")
      continue
    print(f"{name}: {_typed(table, name, workdir)}", flush=True)
    if (call or _call)([sys.executable, *table.command(name, str(workdir / name))]):
      failed.append(name)
  records = collect(table, workdir)
  _write(workdir / "results.jsonl", records)
  path = write_report(table, workdir, studied.merge(table, records), typed)
  print(f"Report: {path}")
  return failed


def write_report(
  table: StudiedTable, workdir: pathlib.Path, merged: Merged, typed: str | None
) -> pathlib.Path:
  """Write the table's report."""
  blocks = ["## Studies", "The numbers are those of:", studied.commands(table)]
  more = [*blocks, *studied.other_numbers(table)]
  return report.write(workdir, table, merged, command=typed, more=more)


def _typed(table: StudiedTable, name: str, workdir: pathlib.Path) -> str:
  return shlex.join(["python", *table.command(name, str(workdir / name))])


def _write(path: pathlib.Path, records: Sequence[dict]) -> None:
  """Write all records at once: the studies' own files are what grows."""
  with command.storage_errors_explained(path.parent):
    partial = path.with_suffix(".partial")
    partial.write_text("".join(json.dumps(record) + "\n" for record in records))
    partial.replace(path)


def _call(argv: list[str]) -> int:
  """Run a command; a signal that asks to stop goes on to it, and ends this process after it."""
  with interruptible() as interruption, subprocess.Popen(argv) as process:
    told = False
    while process.poll() is None:
      time.sleep(_SECONDS_BETWEEN_LOOKS)
      # A terminal sends its interrupt to both.
      if interruption.signal == signal.SIGTERM and not told:
        process.terminate()
        told = True
  if interruption():
    print("Interrupted; the same command goes on.")
    sys.exit(interruption.exit_status)
  return process.returncode
