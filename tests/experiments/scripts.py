"""Run an experiment script as a user does, in a process of its own.

The process is a copy of one that has imported everything and touched no device, since most of a
script's time would be that of importing.
"""

import atexit
import multiprocessing
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile

REPOSITORY = pathlib.Path(__file__).parents[2]
COPIES = multiprocessing.get_context("forkserver")
COPIES.set_forkserver_preload(["tests.experiments.imported"])

# A model so small that a run takes a second or two.
TINY = (
  "--config.num_epochs=2",
  "--config.batch_size=128",
  "--config.backbone.widths=(8,)",
)


def start_script(name, *arguments, env=None, before=None):
  """Start `python -m experiments.NAME`; `finish` returns how it ended.

  Its process first calls `before`, if given.
  """
  output = tempfile.mkdtemp()
  env = os.environ | {"JAX_PLATFORMS": "cpu"} | (env or {})
  process = COPIES.Process(
    target=_run, args=(name, list(map(str, arguments)), output, dict(env), before)
  )
  process.start()
  process.output = pathlib.Path(output)
  return process


def finish(process, timeout=300):
  """Wait for a process; return its status, and what it printed and complained."""
  process.join(timeout)
  out, error = ((process.output / name).read_text() for name in ("stdout", "stderr"))
  assert process.exitcode is not None, out + error
  return subprocess.CompletedProcess((), process.exitcode, out, error)


def run_script(name, *arguments, check=True, env=None, before=None):
  """Run a script as `start_script` does; with `check` it must succeed."""
  done = finish(start_script(name, *arguments, env=env, before=before))
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


def _run(name, arguments, output, env, before):
  for number, stream in enumerate(("stdout", "stderr"), 1):
    os.dup2(os.open(os.path.join(output, stream), os.O_WRONLY | os.O_CREAT), number)
  become(name, arguments, env)
  if before is not None:
    before()
  sys.modules.pop(f"experiments.{name}", None)  # It is run anew, as the main module.
  try:
    runpy.run_module(f"experiments.{name}", run_name="__main__", alter_sys=True)
  finally:
    atexit._run_exitfuncs()  # A copy ends without them.


def become(name, arguments, env):
  """Give this process the working directory, the arguments and the environment of a script."""
  import jax

  os.chdir(REPOSITORY)
  sys.argv = [name, *arguments]
  os.environ.clear()
  os.environ.update(env)
  # What is read of the environment when JAX and Python start.
  jax.config.update("jax_platforms", env["JAX_PLATFORMS"])
  jax.config.update("jax_compilation_cache_dir", env.get("JAX_COMPILATION_CACHE_DIR") or None)
  sys.dont_write_bytecode = bool(env.get("PYTHONDONTWRITEBYTECODE"))
