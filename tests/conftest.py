"""Shared fixtures: real image datasets, prepared once for a machine."""

import contextlib
import fcntl
import importlib.util
import os
import pathlib
import subprocess
import sys

import jax
import pytest

from softmax_research.training import environment

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Eight devices for the tests on meshes; all others use the first.
jax.config.update("jax_num_cpu_devices", 8)
# Compiling is most of the work of the tests.
environment.keep_programs()

# Optional: a folder of the original images beside the checkout, for machines without network.
_LOCAL_IMAGES = pathlib.Path(__file__).parents[2] / "shared" / "datasets"


@pytest.fixture(autouse=True, scope="session")
def _exact_products():
  """Tolerances are float32's; a GPU rounds products to TF32 unless it is told not to."""
  if jax.default_backend() != "cpu":
    jax.config.update("jax_default_matmul_precision", "highest")


@pytest.fixture(autouse=True, scope="module")
def _forget_compiled_programs():
  """Free what a module compiled: kept to the end, the programs of all tests take gigabytes."""
  yield
  jax.clear_caches()


@contextlib.contextmanager
def _locked(path):
  """Lets one process at a time pass: pytest-xdist runs session fixtures in every worker."""
  path.parent.mkdir(parents=True, exist_ok=True)
  with path.open("w") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    yield


def _is_prepared(directory):
  return all(any(directory.glob(f"{name}/*/features.json")) for name in ("mnist", "cifar10"))


@pytest.fixture(scope="session")
def tfds_data_dir():
  """A directory with prepared MNIST and CIFAR-10, or a skip that says why there is none."""
  given = os.environ.get("TFDS_DATA_DIR")
  if given and _is_prepared(pathlib.Path(given)):
    return pathlib.Path(given)
  script = _LOCAL_IMAGES / "build_tfds.py"
  if not script.exists():
    pytest.skip("no prepared MNIST and CIFAR-10: TFDS_DATA_DIR does not name a directory of them")
  for package in ("tensorflow", "tensorflow_datasets"):
    if importlib.util.find_spec(package) is None:
      pytest.skip(f"no prepared MNIST and CIFAR-10, and {package} is missing to prepare them")
  cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
  directory = cache / "softmax_research-tests" / "tfds"
  with _locked(directory.with_suffix(".lock")):
    if not _is_prepared(directory):
      command = [sys.executable, str(script), f"--data_dir={directory}"]
      subprocess.run(command, check=True)
  return directory
