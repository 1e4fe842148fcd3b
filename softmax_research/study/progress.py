"""Live progress: a rich display on a terminal, plain lines elsewhere."""

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Protocol

import rich.console
import rich.progress

from softmax_research.training.loop import Progress

# A log should say that a run is alive without burying what matters.
_SECONDS_PER_LINE = 10.0


class Display(Protocol):
  """What runs that train together report to: `start` once, `update` often, `finish` for each."""

  def start(self, name: str, runs_done: int, num_runs: int) -> None: ...
  def update(self, progress: Progress) -> None: ...
  def finish(self, name: str, summary: str) -> None: ...


@contextlib.contextmanager
def display() -> Iterator[Display]:
  """Yield a display fit for where the output goes.

  Example:
    >>> with display() as show:
    ...   show.start("softmax, seed 0", 0, 1)
    ...   show.finish("softmax, seed 0", "test accuracy 97.2%")
    [1/1] softmax, seed 0: test accuracy 97.2%
  """
  console = rich.console.Console()
  if not console.is_terminal:
    yield _Lines()
    return
  columns = (
    rich.progress.TextColumn("[bold]{task.description}"),
    rich.progress.BarColumn(),
    rich.progress.MofNCompleteColumn(),
    rich.progress.TextColumn("{task.fields[status]}"),
    rich.progress.TextColumn("{task.fields[left]}"),
  )
  with rich.progress.Progress(*columns, console=console) as bars:
    yield _Bars(bars)


def describe(progress: Progress) -> str:
  """Say in a line how a run is doing.

  Example:
    >>> describe(Progress(2, 20, 120, 1200, 0.5, 0.91, 5000.0))
    'epoch 2/20, loss 0.5000, validation 91.00%, 5,000 images/s'
    >>> describe(Progress(1, 20, 0, 1200, None, None, 0.0))
    'epoch 1/20, compiling'
  """
  if progress.loss is None:
    return f"epoch {progress.epoch}/{progress.num_epochs}, compiling"
  parts = [f"epoch {progress.epoch}/{progress.num_epochs}", f"loss {progress.loss:.4f}"]
  if progress.validation_accuracy is not None:
    parts.append(f"validation {progress.validation_accuracy:.2%}")
  if progress.images_per_second:
    parts.append(f"{progress.images_per_second:,.0f} images/s")
  return ", ".join(parts)


class _Lines:
  """Print a line at a run's end, and now and then during a long one."""

  def start(self, name: str, runs_done: int, num_runs: int) -> None:
    self._name, self._done, self._num_runs = name, runs_done, num_runs
    self._printed = time.monotonic()

  def update(self, progress: Progress) -> None:
    now = time.monotonic()
    if now - self._printed >= _SECONDS_PER_LINE:
      self._printed = now
      count, left = f"{self._done + 1}/{self._num_runs}", progress.seconds_left
      more = "" if left is None else f", {left:.0f} s left in this run"
      print(f"[{count}] {self._name}: {describe(progress)}{more}")
      sys.stdout.flush()

  def finish(self, name: str, summary: str) -> None:
    self._done += 1
    print(f"[{self._done}/{self._num_runs}] {name}: {summary}")
    sys.stdout.flush()


class _Bars:
  """Show one bar for the runs and one for the steps of the run under way."""

  def __init__(self, bars: rich.progress.Progress):
    self._bars = bars
    self._runs = bars.add_task("runs", total=None, status="", left="")
    self._steps = bars.add_task("", total=None, status="", left="", visible=False)

  def start(self, name: str, runs_done: int, num_runs: int) -> None:
    self._bars.update(self._runs, completed=runs_done, total=num_runs)
    self._bars.reset(self._steps, description=name, visible=True, status="compiling", left="")

  def update(self, progress: Progress) -> None:
    self._bars.update(
      self._steps,
      completed=progress.step,
      total=progress.num_steps,
      status=describe(progress),
      left="" if progress.seconds_left is None else f"{progress.seconds_left:.0f} s left",
    )

  def finish(self, name: str, summary: str) -> None:
    self._bars.update(self._steps, visible=False)
    self._bars.advance(self._runs)
    self._bars.console.print(f"[bold]{name}[/]: {summary}")
