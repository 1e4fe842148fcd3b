"""The study of a user's own pairs: what it records and reports, and which files it refuses."""

import numpy as np
import pytest

from experiments.information import samples
from softmax_research.study import runner, workdir


@pytest.fixture(name="settings")
def _settings(tmp_path):
  rng = np.random.default_rng(0)
  labels = rng.integers(2, size=800)
  paths = {name: str(tmp_path / f"{name}.npy") for name in ("x", "y")}
  np.save(paths["x"], rng.normal(6.0 * labels)[:, None])
  np.save(paths["y"], labels)
  return samples.Settings(**paths, seeds=2, steps=60, batch_size=50, rate=0.01, widths=(16,))


def _run(settings, directory, only="plug_in"):
  samples.check(settings)
  assert runner.run(samples.STUDY, settings, runner.Options(directory, only=only)) == []
  return workdir.read(directory)


def test_labels_are_estimated_by_classifiers(settings, tmp_path):
  assert samples.cells(settings) == [{"estimator": "plug_in"}, {"estimator": "pc_softmax"}]
  records = _run(settings, tmp_path / "run")
  assert [record["seed"] for record in records] == [0, 1]
  for record in records:
    found = record["measured"]
    assert found["low"] < found["estimate"] < found["high"]
    assert found["estimate"] == pytest.approx(np.log(2), abs=0.1)
  report = (tmp_path / "run" / "report.md").read_text()
  assert "800 pairs; x of shape [1], y of shape []" in report and "| plug_in" in report
  # Other pairs under the same names are not gone on with.
  np.save(settings.y, 1 - np.load(settings.y))
  samples.digest.cache_clear()
  for changes in ({"seeds": 3}, {"estimators": ("pc_softmax",)}):
    with pytest.raises(ValueError, match=r"of plug_in, seed 0, (?s:.*)\n  y: .*\nGive another"):
      _run(settings._replace(**changes), tmp_path / "run", "")


def test_vectors_are_estimated_by_critics(settings):
  np.save(settings.y, np.zeros((800, 2)))
  names = [cell["estimator"] for cell in samples.cells(settings)]
  assert "info_nce" in names and "plug_in" not in names
  with pytest.raises(ValueError, match="categories"):
    samples.prepare(settings, [{"estimator": "plug_in"}])


def test_settings_that_are_none_are_refused(settings, tmp_path):
  (tmp_path / "text.npy").write_text("no array")
  for changes, message in (
    ({"x": "nowhere.npy"}, "--x=nowhere.npy; give a file that numpy.save wrote"),
    ({"y": str(tmp_path / "text.npy")}, "cannot be read as an array"),
    ({"estimators": ("noise",)}, "'noise'; the estimators are"),
    ({"seeds": 1}, "seeds=1; it must be at least 2"),
  ):
    changed = settings._replace(**changes)
    with pytest.raises(ValueError, match=message):
      samples.check(changed)
      samples.cells(changed)
