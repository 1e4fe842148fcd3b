"""Run an experiment script as a user does, in a process of its own.

The process is a copy of one that has imported everything and touched no device, since most of a
script's time would be that of importing.
"""

import atexit
import functools
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


def start(script, *arguments, name="script.py", cwd=REPOSITORY, env=None, before=None):
  """Start a process that calls `script` as if that were what its arguments are of.

  It first calls `before`, if given. `finish` returns how it ended.
  """
  output = tempfile.mkdtemp()
  env = os.environ | {"JAX_PLATFORMS": "cpu"} | (env or {})
  argv = [name, *map(str, arguments)]
  process = COPIES.Process(target=_run, args=(script, argv, output, cwd, dict(env), before))
  process.start()
  process.output = pathlib.Path(output)
  return process


def start_script(name, *arguments, **options):
  """Start `python -m experiments.NAME`; see `start`."""
  return start(functools.partial(_run_module, f"experiments.{name}"), *arguments, **options)


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


def _run_module(name):
  sys.modules.pop(name, None)  # It is run anew, as the main module.
  runpy.run_module(name, run_name="__main__", alter_sys=True)


def _run(script, argv, output, cwd, env, before):
  import jax

  for number, stream in enumerate(("stdout", "stderr"), 1):
    os.dup2(os.open(os.path.join(output, stream), os.O_WRONLY | os.O_CREAT), number)
  os.chdir(cwd)
  sys.argv = argv
  os.environ.clear()
  os.environ.update(env)
  # What is read of the environment when JAX and Python start.
  jax.config.update("jax_platforms", env["JAX_PLATFORMS"])
  jax.config.update("jax_compilation_cache_dir", env.get("JAX_COMPILATION_CACHE_DIR") or None)
  sys.dont_write_bytecode = bool(env.get("PYTHONDONTWRITEBYTECODE"))
  if before is not None:
    before()
  sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))
  try:
    script()
  finally:
    atexit._run_exitfuncs()  # A copy ends without them.
