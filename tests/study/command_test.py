"""Command lines of studies, as a user meets them: help, bad input, and output that goes nowhere."""

import functools
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from softmax_research.study import workdir
from tests.experiments.scripts import finish, start

_ROOT = pathlib.Path(__file__).parents[2]
_SCRIPT = """
from softmax_research import study
from tests.study import toy
study.main(toy.STUDY)
"""


def _run(*arguments, script=_SCRIPT, **options):
  """Run a script with arguments; return its status, and what it printed and complained."""
  run = functools.partial(exec, script, {"__name__": "__main__"})
  done = finish(start(run, *arguments, name="toy.py", **options))
  return done.returncode, done.stdout, done.stderr


def _check_refused(script, arguments, expected):
  status, _, error = _run(*arguments, script=script)
  assert status == 2 and "Traceback" not in error, (arguments, error)
  for text in [expected] if isinstance(expected, str) else expected:
    assert text in error, (arguments, error)


def test_help_lists_every_flag_with_its_default():
  status, printed, _ = _run("--help")
  assert status == 0
  for line in (
    "--workdir: Directory for all results, as runs/mine.",
    "--sizes: Numbers that each mean is of. (10,100)",
    "--seeds: Repetitions of each. (2)",
    "--only: ",
    "--shard: ",
    "--dry_run: ",
    "--formats: ",
  ):
    assert line in printed


_BAD_INPUT = [
  ("--sizes=10,ten", "whole numbers with commas"),
  ("--sizes=10,10", "Pass --sizes=10."),
  ("--nothing=3", "nothing"),
  ("stray", "'stray', which is not a flag"),
  ("--formats=word", "md, html, csv"),
  ("--minutes=nan", "--minutes=nan: it must be 0 or more"),
  ("--minutes=-1", "it must be 0 or more"),
  ("--workdir=", "--workdir= without a directory"),
]


def test_bad_input_is_refused_with_the_remedy(tmp_path):
  for argument, expected in _BAD_INPUT:
    _check_refused(_SCRIPT, (f"--workdir={tmp_path / 'run'}", argument), expected)
  _check_refused(_SCRIPT, (), "Got no --workdir")
  nowhere = f"import jax\njax.config.update('jax_platforms', 'no_such'){_SCRIPT}"
  _check_refused(nowhere, (f"--workdir={tmp_path / 'run'}",), "Leave JAX_PLATFORMS unset")
  assert not (tmp_path / "run").exists()


_TEXTS = """
from typing import NamedTuple
from softmax_research import study
class Settings(NamedTuple):
  heads: tuple[str, ...] = ()
  seeds: int = 1
def cells(settings):
  return [{"head": head} for head in settings.heads]
def report(records, settings):
  return 1 + "2"
def run(cell, context):
  yield context.record(0)
study.main(study.Study(Settings, cells, run, report, name="texts"))
"""


def test_texts_of_a_list_may_have_commas_in_brackets(tmp_path):
  heads = "softmax,two_level:groups=(0,0,1,1)"
  status, printed, _ = _run(f"--workdir={tmp_path}", f"--heads={heads}", "--dry_run", script=_TEXTS)
  assert status == 0 and "two_level:groups=(0,0,1,1)" in printed and "2 cells" in printed
  for texts, expected in ((f"{heads},softmax", f"Pass --heads={heads}."), ("a:b=(", "brackets")):
    _check_refused(_TEXTS, (f"--workdir={tmp_path}", f"--heads={texts}"), expected)


def test_an_error_in_a_study_of_ones_own_says_where(tmp_path):
  script = tmp_path / "mine.py"
  script.write_text(_TEXTS)
  run = f"import runpy\nrunpy.run_path({str(script)!r}, run_name='__main__')"
  expected = f"TypeError at {script}, line 10: unsupported operand"
  _check_refused(run, (f"--workdir={tmp_path / 'run'}", "--heads=softmax"), expected)


_CONFIGURED = """
import ml_collections
from softmax_research import study
from tests.study import toy
def settings():
  return ml_collections.ConfigDict({"seeds": 1})
def devices():
  return ml_collections.ConfigDict({"seed": 0})
of = toy.STUDY._replace(settings=settings)
study.main(of, default_config="configs/digits.py", devices=devices)
"""
_BAD_CONFIGS = [
  ("raise RuntimeError('boom')", "RuntimeError", "boom"),
  ("x = 1", "AttributeError", "no attribute 'get_config'"),
  ("def get_config():\n  raise AttributeError('mine')", "line 2: mine"),
  ("def get_config(x):\n  return x", "missing 1 required positional argument"),
  ("x =", "SyntaxError", "line 1"),
  ("def get_config():\n  return 7", "returned int; it must return an ml_collections.ConfigDict"),
]


def test_a_configuration_file_that_is_none_is_refused(tmp_path):
  cases = []
  for number, (source, *expected) in enumerate(_BAD_CONFIGS):
    path = tmp_path / f"{number}.py"
    path.write_text(source)
    cases.append((f"--config={path}", expected))
  cases += [
    (f"--config={tmp_path / 'none.py'}", ["none.py, which is no file"]),
    (f"--config={tmp_path}", ["which is no file"]),
    ("--config=", ["--config=, which is no file"]),
    ("--config.bogus=1", ["--config.bogus, but config has no key 'bogus'; its keys are augment"]),
    ("--config.optimizer.momentum=1", ["write all of it as --config.optimizer=NAME:momentum="]),
    (
      "--config.augment.bogus=1",
      ["augment is 'none'; write all of it as --config.augment=none:bo"],
    ),
    ("--process_id=1", ["--process_id=1 without --distributed"]),
    ("--devices.bogus=1", ["--devices.bogus, but devices has no key 'bogus'; its keys are seed"]),
  ]
  for argument, expected in cases:
    _check_refused(_CONFIGURED, (f"--workdir={tmp_path / 'run'}", argument), expected)
  # The value of a key may stand behind a space.
  spaced = ("--config.backbone", "mlp:widths=8", "--config.seeds=a")
  _check_refused(
    _CONFIGURED, (f"--workdir={tmp_path / 'run'}", *spaced), "--config.seeds=a: invalid"
  )
  assert not (tmp_path / "run").exists()


def test_a_locale_of_few_letters_costs_no_report(tmp_path):
  directory = tmp_path / "größe"
  few = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "JAX_PLATFORMS": "cpu"}
  command = [sys.executable, "-m", "tests.study.toy", f"--workdir={directory}"]
  subprocess.run([*command, "--only=size=10$|ß"], cwd=_ROOT, env=os.environ | few, check=True)
  assert "größe" in (directory / "report.md").read_text(encoding="utf-8")
  assert "größe" in workdir.read(directory)[0]["command"]


def _print_to_full_disk():
  os.dup2(os.open("/dev/full", os.O_WRONLY), 1)


def _print_to_no_reader():
  reader, writer = os.pipe()
  os.dup2(writer, 1)
  os.close(reader)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_output_that_goes_nowhere_costs_no_run(tmp_path):
  for name, before in (("full", _print_to_full_disk), ("gone", _print_to_no_reader)):
    status, _, error = _run(f"--workdir={tmp_path / name}", before=before)
    assert status == 0, error
    assert len(workdir.read(tmp_path / name)) == 4


def test_ctrl_c_before_the_first_cell_is_no_traceback(tmp_path):
  script = _SCRIPT.replace("(toy.STUDY)", "(toy.STUDY._replace(prepare=lambda *_: interrupt()))")
  script = f"import signal\ndef interrupt(): signal.raise_signal(signal.SIGINT)\n{script}"
  status, _, error = _run(f"--workdir={tmp_path}", script=script)
  assert status == 130 and "the same command goes on" in error and "Traceback" not in error


def test_a_tilde_is_the_users_home(tmp_path):
  assert _run("--workdir=~/run", "--sizes=10", env={"HOME": str(tmp_path)})[0] == 0
  assert len(workdir.read(tmp_path / "run")) == 2


def test_a_kill_loses_nothing_that_was_finished(tmp_path):
  killed = """
import os, signal
from softmax_research import study
from tests.study import toy
def run(cell, context):
  for made in toy.run(cell, context):
    yield made
    if cell["size"] == 100:
      os.kill(os.getpid(), signal.SIGKILL)
study.main(toy.STUDY._replace(run=run))
"""
  status, _, _ = _run(f"--workdir={tmp_path}", script=killed)
  assert status == -signal.SIGKILL
  before = (tmp_path / "results.jsonl").read_bytes()
  assert before.count(b"\n") == 3
  # The lock went with its process.
  status, _, error = _run(f"--workdir={tmp_path}")
  assert status == 0, error
  assert (tmp_path / "results.jsonl").read_bytes().startswith(before)
  assert len(workdir.read(tmp_path)) == 4
