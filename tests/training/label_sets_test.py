"""Metrics of label sets against scikit-learn's."""

import warnings

import numpy as np
import pytest
from sklearn import metrics

from softmax_research import training


@pytest.mark.parametrize("ties", [False, True])
def test_metrics_are_scikit_learns(ties):
  rng = np.random.default_rng(0)
  labels = (rng.random((60, 5)) < [0.5, 0.3, 0.1, 0.8, 0.0]).astype(int)
  scores = rng.normal(size=(60, 5)) + labels
  scores = scores.round() if ties else scores
  predicted = scores > 0.7
  predicted[:, 4] = False
  found = training.evaluate_sets(scores, predicted, labels)
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # It warns of the class without labels.
    each = [metrics.average_precision_score(labels[:, k], scores[:, k]) for k in range(4)]
    for average in ("micro", "macro"):
      wanted = metrics.f1_score(labels, predicted, average=average, zero_division=0)
      assert found[f"{average}_f1"] == pytest.approx(wanted, rel=1e-12)
  np.testing.assert_allclose(found["average_precision"][:4], each, rtol=1e-12)
  assert found["average_precision"][4] is None
  assert found["mean_average_precision"] == pytest.approx(np.mean(each), rel=1e-12)
  assert found["exact_match"] == pytest.approx(metrics.accuracy_score(labels, predicted))


def test_impossible_labels_are_tied_and_without_labels_there_is_no_precision():
  labels = np.array([[0], [1], [0], [1]])
  found = training.evaluate_sets(np.array([[-np.inf], [-np.inf], [-np.inf], [0.0]]), labels, labels)
  assert found["mean_average_precision"] == pytest.approx(0.75)  # (1 + 2 / 4) / 2
  none = training.evaluate_sets(np.zeros((4, 1)), labels, 0 * labels)
  assert none["mean_average_precision"] is None


def test_the_best_threshold_is_that_of_all_tried():
  rng = np.random.default_rng(1)
  labels = (rng.random((30, 4)) < 0.4).astype(int)
  scores = (rng.normal(size=(30, 4)) + labels).round(1)  # Several are equal.

  def f1(threshold):
    return metrics.f1_score(labels, scores >= threshold, average="micro")

  best = training.best_threshold(scores, labels)
  assert f1(best) == max(map(f1, np.unique(scores)))


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"labels": np.zeros(3, int)}, r"labels of \(3,\)"),
    ({"labels": np.full((3, 2), 2)}, "other than 0 and 1"),
    ({"scores": np.full((3, 2), np.nan)}, "NaN"),
    ({"scores": np.zeros((0, 2))}, "N >= 1"),
  ],
)
def test_what_is_refused(change, message):
  good = {"scores": np.zeros((3, 2)), "predicted": np.ones((3, 2)), "labels": np.ones((3, 2), int)}
  with pytest.raises(ValueError, match=message):
    training.evaluate_sets(**good | change)
  with pytest.raises(ValueError, match=message):
    training.best_threshold(*[(good | change)[name] for name in ("scores", "labels")])
