"""Command lines of studies, as a user meets them: help, bad input, and output that goes nowhere."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from softmax_research.study import workdir

_ROOT = pathlib.Path(__file__).parents[2]
_SCRIPT = """
import sys
sys.argv[0] = "toy.py"
from softmax_research import study
from tests.study import toy
study.main(toy.STUDY)
"""


def _start(*arguments, **options):
  environment = os.environ | {"JAX_PLATFORMS": "cpu"} | options.pop("env", {})
  return subprocess.Popen(
    [sys.executable, "-c", options.pop("script", _SCRIPT), *map(str, arguments)],
    cwd=_ROOT,
    env=environment,
    stdout=options.pop("stdout", subprocess.PIPE),
    stderr=subprocess.PIPE,
    text=True,
  )


def _run(*arguments, **options):
  process = _start(*arguments, **options)
  out, error = process.communicate(timeout=120)
  return process.returncode, out, error


def test_help_lists_every_flag_with_its_default():
  status, printed, _ = _run("--help")
  assert status == 0
  for line in (
    "--workdir: Directory for all results.",
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
  ("--workdir=", "--workdir= without a directory"),
]


def test_bad_input_is_refused_with_the_remedy(tmp_path):
  arguments = [(f"--workdir={tmp_path / 'run'}", argument) for argument, _ in _BAD_INPUT]
  expected = [expected for _, expected in _BAD_INPUT]
  _check_refused(_SCRIPT, [*arguments, ()], [*expected, "Got no --workdir"])
  assert not (tmp_path / "run").exists()


_CONFIGURED = """
import sys
sys.argv[0] = "toy.py"
import ml_collections
from softmax_research import study
from tests.study import toy
def settings():
  return ml_collections.ConfigDict({"seeds": 1})
def devices():
  return ml_collections.ConfigDict({"seed": 0})
of = toy.STUDY._replace(settings=settings, devices=True)
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
    ("--devices.bogus=1", ["--devices.bogus, but devices has no key 'bogus'; its keys are seed"]),
  ]
  arguments = [(f"--workdir={tmp_path / 'run'}", argument) for argument, _ in cases]
  _check_refused(_CONFIGURED, arguments, [expected for _, expected in cases])
  assert not (tmp_path / "run").exists()


def _check_refused(script, arguments, expected):
  """Run a script with each of the arguments, in copies of one process that has imported all."""
  each = """
import contextlib, json, os, sys
import softmax_research.study, tests.study.toy
for arguments in json.loads(sys.argv[1]):
  reader, writer = os.pipe()
  if os.fork() == 0:
    os.dup2(writer, 2)
    sys.argv = ["toy.py", *arguments]
    try:
      exec(SCRIPT, {"__name__": "__main__"})
      status = 0
    except SystemExit as error:
      status = error.code
    except BaseException:
      sys.excepthook(*sys.exc_info())
      status = 1
    sys.stderr.flush()
    os._exit(status)
  os.close(writer)
  with open(reader) as error:
    text = error.read()
  print(json.dumps([os.waitstatus_to_exitcode(os.wait()[1]), text]))
""".replace("SCRIPT", repr(script))
  status, printed, error = _run(json.dumps(arguments), script=each)
  assert status == 0, error
  for line, some, argument in zip(printed.splitlines(), expected, arguments, strict=True):
    status, error = json.loads(line)
    assert status == 2 and "Traceback" not in error, (argument, error)
    for text in [some] if isinstance(some, str) else some:
      assert text in error, (argument, error)


def test_a_locale_of_few_letters_costs_no_report(tmp_path):
  directory = tmp_path / "größe"
  few = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
  status, _, error = _run(f"--workdir={directory}", "--only=size=10$|ß", env=few)
  assert status == 0, error
  assert "größe" in (directory / "report.md").read_text(encoding="utf-8")
  assert "größe" in workdir.read(directory)[0]["command"]


def test_a_platform_that_is_not_there_is_refused_with_the_remedy(tmp_path):
  status, _, error = _run(f"--workdir={tmp_path / 'run'}", env={"JAX_PLATFORMS": "no_such"})
  assert status == 2 and "Leave JAX_PLATFORMS unset" in error and "Traceback" not in error


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_output_that_goes_nowhere_costs_no_run(tmp_path):
  with open("/dev/full", "w") as full:
    status, _, error = _run(f"--workdir={tmp_path / 'full'}", stdout=full)
  assert status == 0, error
  assert len(workdir.read(tmp_path / "full")) == 4
  reader, writer = os.pipe()
  os.close(reader)
  status, _, error = _run(f"--workdir={tmp_path / 'gone'}", stdout=writer)
  os.close(writer)
  assert status == 0, error
  assert len(workdir.read(tmp_path / "gone")) == 4


def test_a_kill_loses_nothing_that_was_finished(tmp_path):
  slow = _SCRIPT.replace(
    "study.main(toy.STUDY)",
    """
import time
def run(cell, context):
  for made in toy.run(cell, context):
    yield made
    time.sleep(60 if cell["size"] == 100 else 0)
study.main(toy.STUDY._replace(run=run))
""",
  )
  process = _start(f"--workdir={tmp_path}", script=slow)
  deadline = time.monotonic() + 60
  while time.monotonic() < deadline and len(workdir.read(tmp_path)) < 3:
    time.sleep(0.05)
  process.send_signal(signal.SIGKILL)
  process.communicate()
  before = (tmp_path / "results.jsonl").read_bytes()
  assert before.count(b"\n") == 3
  # The lock went with its process.
  status, _, error = _run(f"--workdir={tmp_path}")
  assert status == 0, error
  assert (tmp_path / "results.jsonl").read_bytes().startswith(before)
  assert len(workdir.read(tmp_path)) == 4
