"""Shared fixtures: real image datasets, prepared once for a machine."""

import contextlib
import fcntl
import gc
import importlib.util
import os
import pathlib
import platform
import subprocess
import sys

import jax
import pytest

from softmax_research.training import environment

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Compiling, and not running, is what the tests cost. Machine code that is not optimised, and made
# in one part, takes less than half the time; so does XLA's older code for fused loops, which JAX
# from 0.11 on may lack, and dies of a flag that it does not know. Without fused products and sums
# (AVX has none) what is computed twice is twice the same, so that a maximum is found by equality,
# as in the gradient of `jnp.max`. Scripts in processes of their own inherit all this.
_FASTER = "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
if jax.__version_info__ < (0, 11):
  _FASTER += " --xla_cpu_use_fusion_emitters=false"
if platform.machine() == "x86_64":
  _FASTER += " --xla_cpu_max_isa=AVX"
# What a user sets comes last, and holds.
os.environ["XLA_FLAGS"] = f"{_FASTER} {os.environ.get('XLA_FLAGS', '')}"
# Half of a test's time is Python's, which traces. The search for garbage among what is still in
# use, and lines of source that each operation would carry, are 3 to 11 % of all.
gc.set_threshold(200_000, 50, 100)
jax.config.update("jax_traceback_in_locations_limit", 0)
# Eight devices for the tests on meshes; all others use the first.
jax.config.update("jax_num_cpu_devices", 8)
environment.keep_programs()

# Optional: a folder of the original images beside the checkout, for machines without network.
_LOCAL_IMAGES = pathlib.Path(__file__).parents[2] / "shared" / "datasets"
# Tests look at the test splits; to prepare the training splits too takes six times as long.
_PREPARE = """
import itertools, sys
sys.path.insert(0, sys.argv[1])
import build_tfds
read = build_tfds.read
few = {"train": 10, "test": None}
build_tfds.read = lambda name, split: itertools.islice(read(name, split), few[split])
for builder in build_tfds.BUILDERS.values():
  builder(data_dir=sys.argv[2], file_format="array_record").download_and_prepare()
"""


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
  directory = cache / "softmax_research-tests" / "tfds_test_splits"
  with _locked(directory.with_suffix(".lock")):
    if not _is_prepared(directory):
      subprocess.run([sys.executable, "-c", _PREPARE, script.parent, directory], check=True)
  return directory
