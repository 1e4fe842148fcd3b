"""Ensembles: predictions that are kept, agreement, means, and the test set's part of the spread."""

import math

import numpy as np
import pytest

from softmax_research.study import ensembles
from softmax_research.training import metrics


def test_kept_predictions_are_the_probabilities_the_labels_first_and_decisions_stay():
  rng = np.random.default_rng(0)
  probs = rng.dirichlet(np.full(5, 0.3), size=300)
  probs[0] = [0.2, 0.2, 0.2, 0.2001, 0.1999]  # Equal in steps of 1/255.
  probs[1] = [0.0, 1.0, 0.0, 0.0, 0.0]
  labels = rng.integers(0, 5, 300)
  with np.errstate(divide="ignore"):
    kept = ensembles.decode(ensembles.encode(np.log(probs), labels))
  rolled = np.stack([np.roll(row, -label) for row, label in zip(probs, labels, strict=True)])
  np.testing.assert_allclose(kept, rolled, atol=1.5 / 255)
  np.testing.assert_array_equal((kept.argmax(1) + labels) % 5, probs.argmax(1))
  np.testing.assert_array_equal(ensembles.is_right(kept), probs.argmax(1) == labels)


@pytest.mark.parametrize("num_classes", [10, 1000])
def test_equal_probabilities_count_as_in_the_accuracy(num_classes):
  # Of 1000 classes none has half a step of probability.
  labels = np.arange(200) % num_classes
  log_probs = np.full((200, num_classes), -np.log(num_classes))
  kept = ensembles.decode(ensembles.encode(log_probs, labels))
  accuracy = metrics.evaluate(log_probs, labels)["accuracy"]
  assert ensembles.is_right(kept).mean() == accuracy == np.mean(labels == 0) < 0.2
  # All runs predict the first class.
  np.testing.assert_array_equal((kept.argmax(1) + labels) % num_classes, 0)


def test_the_mean_of_runs_and_their_agreement():
  rng = np.random.default_rng(1)
  runs = list(rng.dirichlet(np.ones(3), size=(4, 50)))
  expected = (sum(runs).argmax(1) == 0).mean()
  assert ensembles.accuracy_of_mean(runs) == pytest.approx(expected)
  pairs = [(i, j) for i in range(4) for j in range(i)]
  shares = [(runs[i].argmax(1) == runs[j].argmax(1)).mean() for i, j in pairs]
  assert ensembles.agreement(runs) == pytest.approx(np.mean(shares))
  assert math.isnan(ensembles.agreement(runs[:1]))


def test_the_test_sets_part_of_the_spread_is_all_of_it_where_runs_are_equally_good():
  rng = np.random.default_rng(2)
  chances = rng.beta(9, 1, size=2000)  # Of each example to be classified right, in any run.
  right = rng.random((400, 2000)) < chances
  of_test = ensembles.std_of_test_set(right)
  assert of_test == pytest.approx(np.sqrt((chances * (1 - chances)).sum()) / 2000, rel=0.02)
  assert right.mean(1).std() == pytest.approx(of_test, rel=0.1)
  # Two runs are enough for the mean of many such estimates to be right.
  pairs = [ensembles.std_of_test_set(right[i : i + 2]) ** 2 for i in range(0, 400, 2)]
  assert np.sqrt(np.mean(pairs)) == pytest.approx(of_test, rel=0.02)
  # Runs that differ in quality spread further than that.
  better = rng.random((400, 2000)) < np.clip(chances + rng.normal(0, 0.05, (400, 1)), 0, 1)
  assert better.mean(1).std() > 2 * ensembles.std_of_test_set(better)
  assert math.isnan(ensembles.std_of_test_set(right[:1]))
