"""Run a paper's table, under its own protocol or a smaller one, beside the paper's numbers.

    python -m experiments.reproduce --config=configs/liu2016.py --variant=cpu \\
        --workdir=runs/liu2016

The table is a queue of cells: a method in a setting with its seeds. Finished seeds are appended to
results.jsonl in the working directory; the same command goes on from wherever it was interrupted.
Where a table searches hyperparameters, each method's trials are cells before its own.
A cell that fails is recorded, the others go on, and the exit status is 1. --dry_run lists the
cells with their estimated time. --only=REGEX takes some of the cells, so that machines can share a
table: append their results.jsonl to each other, run the command once more, and the report is made.

Where a paper's numbers are those of studies with a script of their own, as in configs/qin2019.py,
these run, each in its own directory below the working directory; --only chooses among them.
"""

import contextlib
import functools
import pathlib
import shlex
import sys

from absl import flags

from experiments import command, devices
from experiments.reproduction import cells, inputs, queue, report, studied, study_runs, work
from experiments.reproduction.protocol import VARIANTS, make_protocol, seeds_together
from softmax_research import training
from softmax_research.study.interruption import interruptible
from softmax_research.training import results

_CONFIG = command.define_config()
_DEVICES = devices.define_devices()
_WORKDIR = command.define_workdir()
_VARIANT = flags.DEFINE_enum("variant", "full", VARIANTS, "The paper's protocol, or a smaller one.")
_ONLY = flags.DEFINE_string("only", "", "Regular expression; run the cells whose name it fits.")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "List the cells with their time; train nothing.")


def main() -> None:
  """Run what is missing of the table, and write its report."""
  workdir = pathlib.Path(_WORKDIR.value)
  if studied.is_studied(_CONFIG.value, _VARIANT.value):
    return run_studies(workdir)
  with command.errors_explained():
    devices.check_in_one_program(_DEVICES.value)
    # Devices are made before anything asks JAX for one.
    devices.prepare(_DEVICES.value, seeds_together(_CONFIG.value, _VARIANT.value))
    protocol = make_protocol(_CONFIG.value, _VARIANT.value)
    wanted = queue.make_cells(protocol, only=_ONLY.value)
    # First, so that a table whose results are refused leaves config.json as it is.
    merged = queue.merge(results.read(workdir / "results.jsonl"), protocol)
    if not _DRY_RUN.value:
      command.open_workdir(
        workdir,
        protocol.describe(),
        may_change=("seeds", "seeds_together", "settings", "deviations"),
      )
  if merged.duplicates:
    print(f"{merged.duplicates} runs stand twice in the results; the first of each is taken.")
  todo = queue.missing(wanted, merged.finished)
  load = functools.cache(lambda setting: inputs.load_splits(protocol.setting(setting)))
  with contextlib.ExitStack() as stack:
    interruption = stack.enter_context(interruptible())
    show = stack.enter_context(training.display())
    context = cells.Context(protocol, _DEVICES.value, workdir, interruption, show.update, load)
    if _DRY_RUN.value:
      work.list_cells(context, todo, merged.finished)
      return
    stack.enter_context(command.storage_errors_explained(workdir))
    failed = work.run_cells(context, todo, merged.finished, show, len(wanted))
    with command.errors_explained():  # New trials may choose other values than a finished run's.
      merged = queue.merge(results.read(workdir / "results.jsonl"), protocol)
    print(f"Report: {report.write(workdir, protocol, merged, command=_typed())}")
  _exit_if_any(failed, "cells")


def run_studies(workdir: pathlib.Path) -> None:
  """Run what is missing of the table's studies, and write its report."""
  with command.errors_explained():
    if _DEVICES.value.to_dict() != devices.get_options().to_dict():
      raise ValueError(
        "Got --devices, which a table made of studies has no use for. Leave it away, or run the "
        "studies by their own scripts, which --dry_run lists."
      )
    table = studied.make_table(_CONFIG.value, _VARIANT.value)
    chosen = studied.choose(table, _ONLY.value)
    if _DRY_RUN.value:
      return study_runs.list_studies(table, workdir, chosen)
    studied.check_unchanged(table, workdir)
    command.open_workdir(
      workdir, table.describe(), may_change=("studies", "settings", "deviations")
    )
    study_runs.collect(table, workdir)  # Damaged results are found before hours of work.
  failed = study_runs.run(table, workdir, chosen, typed=_typed())
  _exit_if_any(failed, "studies")


def _typed() -> str:
  return shlex.join(["python", "-m", "experiments.reproduce", *sys.argv[1:]])


def _exit_if_any(failed: list[str], what: str) -> None:
  if failed:
    print(f"{len(failed)} {what} failed: {'; '.join(failed)}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
  command.run(main)
