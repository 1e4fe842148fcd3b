"""Metrics against scikit-learn, and calibration errors against a plain loop."""

import json

import numpy as np
import pytest
import sklearn.metrics

from softmax_research.training import metrics


@pytest.fixture(name="predictions")
def _predictions():
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(300, 4)) * 2
  labels = rng.choice(4, size=300, p=[0.6, 0.25, 0.1, 0.05])
  return logits - np.log(np.sum(np.exp(logits), axis=1, keepdims=True)), labels


def _calibration_by_loop(probs, labels):
  """Bin by comparing with both edges of (lower, upper], as the definition says."""
  confidence, correct = probs.max(1), probs.argmax(1) == labels
  gaps = []
  for m in range(15):
    inside = (confidence > m / 15) & (confidence <= (m + 1) / 15)
    if inside.any():
      gaps.append((inside.mean(), abs(correct[inside].mean() - confidence[inside].mean())))
  return sum(weight * gap for weight, gap in gaps), max(gap for _, gap in gaps)


def test_scores_equal_scikit_learn(predictions):
  log_probs, labels = predictions
  ours = metrics.evaluate(log_probs, labels)
  probs = np.exp(log_probs)
  predicted = probs.argmax(1)
  assert ours["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(labels, predicted))
  assert ours["error"] == pytest.approx(1 - ours["accuracy"])
  assert ours["nll"] == pytest.approx(sklearn.metrics.log_loss(labels, probs))
  assert ours["macro_accuracy"] == pytest.approx(
    sklearn.metrics.balanced_accuracy_score(labels, predicted)
  )
  assert ours["confusion"] == sklearn.metrics.confusion_matrix(labels, predicted).tolist()
  brier = sklearn.metrics.brier_score_loss(labels, probs, scale_by_half=False)
  assert ours["brier"] == pytest.approx(brier)
  assert ours["num_examples"] == 300


def test_examples_without_a_label_are_left_out(predictions):
  log_probs, labels = predictions
  kept = np.arange(300) % 3 > 0
  partly = np.where(kept, labels, -7)
  expected = metrics.evaluate(log_probs[kept], labels[kept])
  assert metrics.evaluate(log_probs, partly, ignore_label=-7) == expected
  with pytest.raises(ValueError, match=r"the label -7 .*pass their number as ignore_label"):
    metrics.evaluate(log_probs, partly)
  with pytest.raises(ValueError, match="300 labels that are all -7"):
    metrics.evaluate(log_probs, np.full(300, -7), ignore_label=-7)


def test_distributions_are_expectations_over_labels(predictions):
  log_probs, labels = predictions
  one_hot = metrics.evaluate(log_probs, np.eye(4)[labels])
  for name, value in metrics.evaluate(log_probs, labels).items():
    assert one_hot[name] == (value if isinstance(value, dict | list) else pytest.approx(value))
  # Each example four times, with a class each, as often as its distribution says.
  soft = np.random.default_rng(1).integers(1, 9, (300, 4))
  soft[:, 0] += 30 - soft.sum(1)
  ours = metrics.evaluate(log_probs, soft / 30)
  counts = soft.ravel()
  every = np.repeat(np.repeat(log_probs, 4, axis=0), counts, axis=0)
  often = metrics.evaluate(every, np.repeat(np.tile(range(4), 300), counts))
  for name in ("accuracy", "nll", "ece", "macro_accuracy"):
    assert ours[name] == pytest.approx(often[name])
  np.testing.assert_allclose(np.array(ours["confusion"]) * 30, often["confusion"])
  with pytest.raises(ValueError, match="300 labels that are no distributions, the first"):
    metrics.evaluate(log_probs, soft / 15)


def test_calibration_errors_equal_a_plain_loop(predictions):
  log_probs, labels = predictions
  ours = metrics.evaluate(log_probs, labels)
  ece, mce = _calibration_by_loop(np.exp(log_probs), labels)
  assert ours["ece"] == pytest.approx(ece)
  assert ours["mce"] == pytest.approx(mce)
  assert sum(ours["reliability"]["count"]) == 300


def test_a_confidence_on_an_edge_belongs_to_the_bin_below():
  probs = np.array([[0.6, 0.4]])  # 0.6 = 9/15
  counts = metrics.evaluate(np.log(probs), np.array([0]))["reliability"]["count"]
  assert counts.index(1) == 8


def test_certain_predictions_fill_the_last_bin():
  log_probs = np.array([[0.0, -np.inf]])
  ours = metrics.evaluate(log_probs, np.array([0]))
  assert ours["reliability"]["count"][-1] == 1
  assert ours["nll"] == 0


def test_an_impossible_label_makes_the_likelihood_none_and_the_rest_stays():
  ours = metrics.evaluate(np.array([[0.0, -np.inf], [0.0, -np.inf]]), np.array([0, 1]))
  assert ours["nll"] is None
  assert ours["accuracy"] == 0.5
  json.dumps(ours, allow_nan=False)


def test_a_class_without_examples_has_no_accuracy_of_its_own():
  ours = metrics.evaluate(np.log(np.full((2, 3), 1 / 3)), np.array([0, 2]))
  assert ours["per_class_accuracy"] == [1.0, None, 0.0]
  assert ours["macro_accuracy"] == 0.5


@pytest.mark.parametrize(
  ("log_probs", "labels"),
  [(np.zeros((0, 3)), np.zeros(0, int)), (np.zeros((2, 3)), np.zeros(3, int)), (np.zeros(3), [0])],
)
def test_shapes_that_do_not_fit_are_refused(log_probs, labels):
  with pytest.raises(ValueError, match=r"must be \[N, K\] and \[N\]"):
    metrics.evaluate(log_probs, labels)


@pytest.mark.parametrize(
  ("log_probs", "labels", "message"),
  [
    (np.log(np.full((3, 2), 0.5)), [0, 1, -1], "label -1 of example 2 for 2 classes"),
    (np.log(np.full((3, 2), 0.5)), [0, 2, 1], "label 2 of example 1"),
    (np.log(np.full((2, 2), 0.5)), [0.0, 1.0], "labels of type float64"),
    ([[0.0, -np.inf], [np.nan, np.nan]], [0, 0], "NaN among .* of 1 examples, the first of them 1"),
    ([[0.0, -np.inf], [3.0, 1.0]], [0, 0], r"sum to 22\.8\d+ at example 1, not to 1"),
    ([[-np.inf, -np.inf]], [0], "sum to 0 at example 0"),
  ],
)
def test_what_is_no_prediction_or_no_label_is_refused(log_probs, labels, message):
  with pytest.raises(ValueError, match=message):
    metrics.evaluate(np.array(log_probs), np.array(labels))
