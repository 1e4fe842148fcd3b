"""Work: run the cells of a queue one after the other, or list them with their time."""

import shutil
from collections.abc import Sequence
from typing import Any

from experiments.reproduction import cells, estimate, report
from experiments.reproduction.queue import Cell, Key, settle
from softmax_research import data
from softmax_research.training import results


def run_cells(
  context: cells.Context,
  todo: Sequence[Cell],
  finished: dict[Key, dict[str, Any]],
  show: Any,
  num_wanted: int,
) -> list[str]:
  """Run cells; one that fails is recorded, and the others go on.

  An optional setting whose data are not there is skipped, and does not count as failed.

  Args:
    context: what all cells share.
    todo: the cells that are left.
    finished: records by key, to which those of each finished cell are added.
    show: of `training.display`.
    num_wanted: the number of all cells, for the display.

  Returns:
    The names of the cells that failed.

  Raises:
    OSError: the results cannot be written.
  """
  path, failed, absent = context.workdir / "results.jsonl", [], set()
  for i, cell in enumerate(todo):
    if cell.setting in absent:
      continue
    print(estimate.left(todo[i:], finished), flush=True)
    show.start(cell.name, num_wanted - len(todo) + i, num_wanted)
    try:
      cell = settle(context.protocol, cell, finished)
      records = cells.run(context, cell)
    except OSError:
      raise  # Of storage, where no other cell would do better.
    except Exception as error:  # A cell's own fault must not cost the others.
      results.append(path, cells.failure(context.protocol, cell, error))
      if _may_be_absent(context, cell) and isinstance(error, data.DataUnavailableError):
        absent.add(cell.setting)
        show.finish(cell.setting, f"skipped: {error}")
      else:
        failed.append(cell.name)
        show.finish(cell.name, f"failed: {error}")
      continue
    results.append(path, *records)
    for record in records:
      finished[cell.setting, cell.row, record["seed"]] = record
    # Not before the results are there: what is measured after training may fail too.
    shutil.rmtree(cells.checkpoint_directory(context, cell), ignore_errors=True)
    show.finish(cell.name, report.describe(records))
  return failed


def _may_be_absent(context, cell) -> bool:
  return context.protocol.setting(cell.setting).get("optional", False)


def list_cells(
  context: cells.Context, todo: Sequence[Cell], finished: dict[Key, dict[str, Any]]
) -> float:
  """Print the cells that are left with their estimated time, and return the seconds of all.

  Where nothing of a setting is finished, a step of its first method is made and thrown away.
  """
  total, by_setting = 0.0, {}
  for cell in todo:
    seconds = estimate.from_finished(cell, finished)
    source = "by finished runs"
    if seconds is None:
      source = "by a step"
      if cell.setting not in by_setting:
        try:
          by_setting[cell.setting] = estimate.from_a_step(context, cell) / len(cell.seeds)
        except Exception as error:  # The listing goes on, as the table would.
          by_setting[cell.setting] = None
          print(f"{cell.setting} would fail: {error}")
      a_seed = by_setting[cell.setting]
      seconds = None if a_seed is None else a_seed * len(cell.seeds)
    total += seconds or 0
    print(f"{cell.name}: {'fails' if seconds is None else estimate.describe(seconds)}, {source}")
  print(f"{len(todo)} cells, about {estimate.describe(total)}")
  return total
