"""Run an experiment script as a user does, in a process of its own."""

import os
import pathlib
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).parents[2]

# A model so small that a run takes a second or two.
TINY = (
  "--config.num_epochs=2",
  "--config.batch_size=128",
  "--config.backbone.widths=(8,)",
)


def run_script(name, *arguments, check=True, env=None, before=None):
  """Run `python -m experiments.NAME`; with `check` it must succeed.

  Its process first calls `before`, if given.
  """
  done = subprocess.run(
    [sys.executable, "-m", f"experiments.{name}", *map(str, arguments)],
    cwd=REPOSITORY,
    env=os.environ | {"JAX_PLATFORMS": "cpu"} | (env or {}),
    capture_output=True,
    text=True,
    check=False,
    preexec_fn=before,
  )
  if check:
    assert done.returncode == 0, done.stdout + done.stderr
  return done


def expect_error(name, *arguments, env=None, before=None):
  """Run a script that must refuse its input; return the message, which is no traceback."""
  done = run_script(name, *arguments, check=False, env=env, before=before)
  assert done.returncode == 2, done.stdout + done.stderr
  assert done.stderr.startswith("error: ") or "\nerror: " in done.stderr, done.stderr
  assert "Traceback" not in done.stderr
  return done.stderr
