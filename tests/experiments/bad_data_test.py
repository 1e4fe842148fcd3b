"""Data that cannot be had, and caches that are damaged: what a script says and does."""

from importlib.machinery import PathFinder

import numpy as np
import PIL.Image
import pytest

from configs import digits, label_noise_mnist, localize_digits, many_classes_images
from experiments import compare, label_sets, localize, tune, word_vectors
from experiments.localization import material
from experiments.many import tasks
from softmax_research import data
from softmax_research.study import study, workdir
from tests.experiments.scripts import expect_error, run_script


def _hide_packages():
  """Have the finder say of a package that it is not there, as where it is not installed."""
  find_spec, hidden = PathFinder.find_spec, "tensorflow_datasets"
  PathFinder.find_spec = lambda name, *rest: None if name == hidden else find_spec(name, *rest)


def test_a_missing_extra_says_what_to_install_and_where_files_go(tmp_path):
  message = expect_error(
    "compare",
    f"--workdir={tmp_path / 'run'}",
    "--config.dataset=mnist",
    f"--config.data_dir={tmp_path / 'data'}",
    env={"SOFTMAX_RESEARCH_CACHE": str(tmp_path / "cache")},
    before=_hide_packages,
  )
  for part in ("tensorflow_datasets", 'pip install "softmax_research[tfds]"', "'digits'"):
    assert part in message


def test_data_of_ones_own_are_trained_on_and_their_damaged_cache_is_rebuilt(tmp_path, monkeypatch):
  """A folder of images, whose cache is not what was written."""
  pool, cache = data.digits().test, tmp_path / "cache"
  for i, (image, label) in enumerate(zip(*pool, strict=True)):
    (tmp_path / "own" / f"<{label}>").mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(image[:, 1:, 0]).save(tmp_path / "own" / f"<{label}>" / f"{i}.png")
  monkeypatch.setenv("SOFTMAX_RESEARCH_CACHE", str(cache))
  data.load(str(tmp_path / "own"))
  (kept,) = cache.glob("own-*.npz")
  whole = kept.read_bytes()
  kept.write_bytes(whole[:9999] + bytes([whole[9999] ^ 1]) + whole[10000:])

  done = run_script(
    "compare",
    f"--workdir={tmp_path / 'run'}",
    f"--config.dataset={tmp_path / 'own'}",
    "--config.heads=logit_adjusted",
    "--config.backbone=cnn:stages=((2,),)",
    "--config.seeds=1",
    "--config.num_epochs=1",
  )
  assert "damaged cache" in done.stderr and "Bad CRC-32" in done.stderr
  with np.load(kept) as found:
    assert found["train_images"].shape[0] == 288
  (record,) = workdir.read(tmp_path / "run")
  assert record["status"] == "finished" and record["measured"]["dataset"]["num_train"] == 259
  assert "&lt;3&gt;" in (tmp_path / "run" / "report.html").read_text("utf-8")


@pytest.mark.parametrize("kind", ["distributions", "some without"])
def test_studies_of_classes_refuse_examples_without_one(tmp_path, kind):
  """Labels of -1 were the last class, and labels that are rows were compared entry by entry."""
  images, labels = data.digits().test
  if kind == "distributions":
    arrays = {"labels": np.eye(10, dtype=np.float32)[labels]}
  else:
    known = np.arange(len(labels)) % 9 > 0
    arrays = {"labels": np.where(known, labels, -1), "ignore_label": np.int32(-1)}
  path = tmp_path / "own.npz"
  np.savez(path, images=images, **arrays)

  with pytest.raises(ValueError, match="here each needs one"):
    label_sets.prepare(label_sets.Settings(dataset=str(path)), [])
  config = many_classes_images.get_config()
  config.dataset = str(path)
  with pytest.raises(ValueError, match="here each needs one"):
    tasks.instances(config)
  if kind == "distributions":  # Scenes leave out examples without a class.
    config = localize_digits.get_config()
    config.dataset = str(path)
    with pytest.raises(ValueError, match="images of one class"):
      material.make(config)


def _of_tune(path):
  config = label_noise_mnist.get_config()
  config.datasets = f"label_noise:of={path}:rate=0.2"
  return config, tune.cells(config)[-1]


@pytest.mark.parametrize(
  ("of", "settings"),
  [
    (compare, lambda path: (_changed(digits, dataset=path), {"head": "softmax"})),
    (tune, _of_tune),
    (localize, lambda path: (_changed(localize_digits, folder=path), {"head": "softmax"})),
    (label_sets, lambda path: (label_sets.Settings(dataset=path), {"head": "softmax"})),
    (word_vectors, lambda path: (word_vectors.Settings(text=path), {})),
  ],
)
def test_a_result_depends_on_what_lay_under_a_path(of, settings, tmp_path):
  settings, cell = settings(str(tmp_path / "own"))
  found = [study.config_of(of.STUDY, settings, cell)]
  for text in ("first", "second"):
    (tmp_path / "own").write_text(text)
    found.append(study.config_of(of.STUDY, settings, cell))
  nothing, first, second = map(study.flatten, found)
  (key,) = first.keys() - nothing.keys()
  assert key.endswith("_digest") and first[key] != second[key]


def _changed(configuration, **changes):
  config = configuration.get_config()
  config.update(changes)
  return config
