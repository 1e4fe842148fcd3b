"""Learning curves draw means and ranges of the seeds."""

import numpy as np

from softmax_research.reporting import group_by_head
from softmax_research.reporting.learning_curves import learning_curves
from tests.reporting.fake_results import make_diverged, make_run


def _figure(records):
  return learning_curves(group_by_head(records))


def _line(axes, index=0):
  """Return the data of a curve; the lines that lead to the names are drawn after all curves."""
  return axes.lines[index].get_xydata()


def test_lines_are_means_and_bands_are_ranges():
  records = [make_run("softmax", seed, epochs=6) for seed in range(3)]
  error, nll, loss = _figure(records).axes
  accuracies = np.array([r["curves"]["validation_accuracy"] for r in records])
  np.testing.assert_allclose(_line(error)[:, 0], np.arange(1, 7))
  np.testing.assert_allclose(_line(error)[:, 1], 100 * (1 - accuracies).mean(axis=0))
  nlls = np.array([r["curves"]["validation_nll"] for r in records])
  band = nll.collections[0].get_paths()[0].vertices[:, 1]
  np.testing.assert_allclose([band.min(), band.max()], [nlls.min(), nlls.max()])
  np.testing.assert_allclose(
    _line(loss)[:, 1], np.mean([r["curves"]["train_loss"] for r in records], axis=0)
  )
  assert [text.get_text() for text in error.texts] == ["softmax"]


def test_one_seed_has_no_band():
  error, *_ = _figure([make_run("softmax", 0)]).axes
  assert not error.collections


def test_seeds_of_unequal_length_and_gaps_are_averaged_where_they_are():
  records = [make_run("softmax", 0, epochs=3), make_run("softmax", 1, epochs=5)]
  records[0]["curves"]["validation_nll"][1] = None
  _, nll, _ = _figure(records).axes
  first, second = (r["curves"]["validation_nll"] for r in records)
  expected = [(first[0] + second[0]) / 2, second[1], (first[2] + second[2]) / 2, *second[3:]]
  np.testing.assert_allclose(_line(nll)[:, 1], expected)


def test_wide_ranges_are_logarithmic_and_zeros_are_not():
  records = [make_run("softmax", 0)]
  assert _figure(records).axes[0].get_yscale() == "log"
  records[0]["curves"]["validation_accuracy"][-1] = 1.0
  assert _figure(records).axes[0].get_yscale() == "linear"


def test_one_epoch_and_heads_without_runs_are_drawn():
  figure = _figure([make_run("softmax", 0, epochs=1), make_diverged("taylor", 0)])
  assert [text.get_text() for text in figure.axes[0].texts] == ["softmax"]


def test_without_curves_there_is_no_figure():
  assert _figure([make_diverged("softmax", 0)]) is None
