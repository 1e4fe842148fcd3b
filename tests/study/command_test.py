"""Command lines of studies, as a user meets them: help, bad input, and output that goes nowhere."""

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


@pytest.mark.parametrize(
  ("argument", "expected"),
  [
    ("--sizes=10,ten", "whole numbers with commas"),
    ("--sizes=10,10", "Pass --sizes=10."),
    ("--nothing=3", "nothing"),
    ("stray", "'stray', which is not a flag"),
    ("--formats=word", "md, html, csv"),
    ("--workdir=", "--workdir= without a directory"),
  ],
)
def test_bad_input_is_refused_with_the_remedy(tmp_path, argument, expected):
  status, _, error = _run(f"--workdir={tmp_path / 'run'}", argument)
  assert status == 2 and error.count("Traceback") == 0
  assert expected in error and not (tmp_path / "run").exists()


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
