"""The displays: plain lines away from a terminal, bars on one."""

import re

import rich.console

from softmax_research.study import progress
from softmax_research.training.loop import Progress

_PROGRESS = Progress(2, 20, 120, 1200, 0.5, 0.91, 5000.0, 270.0)


def _show(display):
  display.start("softmax, seed 0", 0, 2)
  display.update(_PROGRESS)
  display.finish("softmax, seed 0", "test accuracy 97.00%")


def test_plain_lines_are_few_and_say_how_a_run_ended(capsys):
  with progress.display() as display:
    _show(display)
  assert capsys.readouterr().out == "[1/2] softmax, seed 0: test accuracy 97.00%\n"


def test_a_long_run_says_now_and_then_how_it_is_doing(capsys, monkeypatch):
  clock = iter([0.0, 30.0, 60.0])
  monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
  with progress.display() as display:
    display.start("softmax, seed 0", 0, 2)
    display.update(Progress(1, 20, 0, 1200, None, None, 0.0))
    display.update(_PROGRESS)
  compiling, measured = capsys.readouterr().out.splitlines()
  assert compiling == "[1/2] softmax, seed 0: epoch 1/20, compiling"
  assert measured.endswith("validation 91.00%, 5,000 images/s, 270 s left in this run")


def test_a_terminal_gets_bars(monkeypatch, capsys):
  console = rich.console.Console(force_terminal=True, width=150)
  monkeypatch.setattr(rich.console, "Console", lambda: console)
  with progress.display() as display:
    display.start("softmax, seed 0", 0, 2)
    display.update(_PROGRESS)
    display._bars.refresh()  # Bars are drawn by a clock; here at once.
    display.finish("softmax, seed 0", "test accuracy 97.00%")
  shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().out)  # Without colours.
  assert "epoch 2/20" in shown and "270 s left" in shown and "test accuracy 97.00%" in shown
