"""Storage that fails: an error that says what to do, and what is finished is kept."""

import resource

from tests.experiments.scripts import TINY, expect_error, run_script

_SEEDS = ("compare", "--config.heads=softmax", *TINY, "--config.num_epochs=1", "--formats=")


def _small_files():
  """Make the disk full, as far as a process can tell: a file's bytes beyond these are refused."""
  resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, 8_000))


def _environment(tmp_path):
  """Keep elsewhere, or not at all, what a full disk may cut short and other tests would read.

  These are the compiled programs, and Python's bytecode, of which it does not see that a write was
  short.
  """
  return {
    "JAX_COMPILATION_CACHE_DIR": "",
    "SOFTMAX_RESEARCH_CACHE": str(tmp_path / "cache"),
    "PYTHONDONTWRITEBYTECODE": "1",
  }


def test_a_full_disk_keeps_what_is_finished(tmp_path):
  workdir = f"--workdir={tmp_path / 'run'}"
  env = _environment(tmp_path)
  run_script(*_SEEDS, workdir, "--config.seeds=1", env=env)
  before = (tmp_path / "run" / "results.jsonl").read_bytes()
  assert any((tmp_path / "cache" / "compiled").glob("*/*run_steps*"))  # Scripts keep programs.
  message = expect_error(*_SEEDS, workdir, "--config.seeds=2", env=env, before=_small_files)
  for part in ("cannot be written", "File too large", "finished", "same command"):
    assert part in message
  assert (tmp_path / "run" / "results.jsonl").read_bytes() == before
  done = run_script(*_SEEDS, workdir, "--config.seeds=2", env=env)
  assert "seed 1: accuracy" in done.stdout and "seed 0:" not in done.stdout
