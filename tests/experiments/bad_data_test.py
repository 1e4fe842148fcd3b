"""Data that cannot be had, and caches that are damaged: what a script says and does."""

import shutil

import pytest

from softmax_research.study import workdir
from tests.experiments.scripts import TINY, expect_error, run_script

# The finder says of the packages that they are not there, as it does where none is installed.
_HIDE = """
from importlib.machinery import PathFinder

find_spec = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name in {packages} else find_spec(name, *rest)
"""


@pytest.fixture(name="without")
def _without(tmp_path):
  """Makes the environment of a process in which packages cannot be imported."""

  def hide(*packages):
    (tmp_path / "sitecustomize.py").write_text(_HIDE.format(packages=packages))
    return {"PYTHONPATH": str(tmp_path)}

  return hide


def _missing(tmp_path, dataset, env):
  """Asks for a data set that is not on this machine; returns the error."""
  return expect_error(
    "compare",
    f"--workdir={tmp_path / 'run'}",
    f"--config.dataset={dataset}",
    f"--config.data_dir={tmp_path / 'data'}",
    f"--config.cache_dir={tmp_path / 'cache'}",
    env=env,
  )


@pytest.mark.parametrize("package", ["tensorflow_datasets", "tensorflow"])
def test_a_missing_extra_says_what_to_install_and_where_files_go(tmp_path, without, package):
  if package == "tensorflow":
    pytest.importorskip("tensorflow_datasets")
  message = _missing(tmp_path, "mnist", without(package))
  for part in (package, 'pip install "softmax_research[tfds]"', "TFDS_DATA_DIR", "'digits'"):
    assert part in message


def test_no_network_says_where_files_go(tmp_path):
  pytest.importorskip("tensorflow")
  pytest.importorskip("tensorflow_datasets")
  nowhere = "http://127.0.0.1:9"  # Nothing listens there.
  env = {"https_proxy": nowhere, "http_proxy": nowhere, "no_proxy": "", "NO_PROXY": ""}
  message = _missing(tmp_path, "fashion_mnist", env)
  for part in ("cannot download", "fashion_mnist", "TFDS_DATA_DIR", "'digits'"):
    assert part in message


def test_a_damaged_cache_is_rebuilt_with_a_warning(
  load_images, image_cache, tfds_data_dir, tmp_path
):
  load_images("mnist")
  labels = tmp_path / "cache" / "mnist" / "train_labels.npy"
  shutil.copytree(image_cache / "mnist", labels.parent)
  whole = labels.read_bytes()
  labels.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))

  done = run_script(
    "compare",
    f"--workdir={tmp_path / 'run'}",
    "--config.dataset=mnist",
    "--config.heads=softmax",
    "--config.seeds=1",
    *TINY,
    "--config.num_epochs=1",
    f"--config.data_dir={tfds_data_dir}",
    f"--config.cache_dir={tmp_path / 'cache'}",
  )
  assert "damaged cache" in done.stderr and "train_labels.npy" in done.stderr
  assert labels.read_bytes() == whole
  (record,) = workdir.read(tmp_path / "run")
  assert record["status"] == "finished"
  assert record["measured"]["dataset"]["num_train"] == 54_000
