"""The arrows of the floor plan: who may import whom, and what an import must not pull in."""

import pathlib
import subprocess
import sys

_ROOT = pathlib.Path(__file__).resolve().parent.parent


def test_imports_go_down_the_floors():
  # In a process of its own: the linter's console outlives pytest's capturing of the output.
  check = "import importlinter.cli as c; exit(c.lint_imports('pyproject.toml', no_cache=True))"
  run = subprocess.run(
    [sys.executable, "-c", check], cwd=_ROOT, capture_output=True, text=True, check=False
  )
  assert run.returncode == 0, run.stdout + run.stderr
  assert "0 broken" in run.stdout


def _loaded(statement):
  """Returns the names of the modules that a fresh interpreter holds after a statement."""
  names = "import sys; print(*sys.modules)"
  command = [sys.executable, "-c", f"{statement}; {names}"]
  run = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=True)
  return set(run.stdout.split())


def test_the_library_imports_only_what_it_computes_with():
  slow = {"tensorflow", "tensorflow_datasets", "torch", "flax", "optax", "matplotlib"}
  slow |= {"sklearn", "rich", "tensorboardX", "ml_collections"}
  loaded = _loaded("import softmax_research")
  assert "jax" in loaded
  assert not slow & loaded


def test_a_script_loads_no_tensorflow_no_plotting_and_nothing_that_few_runs_use():
  loaded = _loaded("import experiments.train")
  assert {"flax", "optax", "ml_collections"} <= loaded
  slow = {"tensorflow", "tensorflow_datasets", "torch", "tensorboardX"}
  # Of SciPy every study's statistics take the special functions, which are quick to import.
  slow |= {"matplotlib", "sklearn", "jinja2", "markdown_it", "scipy.stats", "scipy.optimize"}
  assert not slow & loaded
