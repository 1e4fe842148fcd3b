"""Heads for imbalanced classes, against numpy."""

import jax
import numpy as np
import pytest

from softmax_research.heads import make

RNG = np.random.default_rng(0)
PARAMS = {"kernel": RNG.normal(size=(4, 3)), "bias": RNG.normal(size=3)}
FEATURES = RNG.normal(size=(5, 4))
LABELS = np.array([0, 2, 1, 1, 2])
COUNTS = (20, 70, 10)
PRIOR = np.array(COUNTS) / 100
LOGITS = FEATURES @ PARAMS["kernel"] + PARAMS["bias"]
SOFTMAX = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)


def _at_labels(values):
  return values[np.arange(5), LABELS]


def _evaluate(specification):
  head = make(specification, 3, class_counts=COUNTS)
  with jax.enable_x64(True):
    loss, gradient = jax.value_and_grad(lambda p: head.loss(p, FEATURES, LABELS).mean())(PARAMS)
    return float(loss), gradient, np.exp(head.log_prob(PARAMS, FEATURES))


def test_pc_softmax():
  loss, _, probabilities = _evaluate("pc_softmax")
  ratio = np.exp(LOGITS) / (np.exp(LOGITS) @ PRIOR)[:, None]
  # The prior is kept in float32, made as it is outside of the double-precision scope.
  np.testing.assert_allclose(loss, -np.log(_at_labels(ratio)).mean(), rtol=1e-6)
  np.testing.assert_allclose(probabilities, SOFTMAX, rtol=1e-12)


def test_logit_adjustment():
  loss, gradient, probabilities = _evaluate("logit_adjusted")
  adjusted = PRIOR * np.exp(LOGITS)
  adjusted /= adjusted.sum(-1, keepdims=True)
  np.testing.assert_allclose(loss, -np.log(_at_labels(adjusted)).mean(), rtol=1e-6)
  np.testing.assert_allclose(probabilities, SOFTMAX, rtol=1e-12)
  pc_loss, pc_gradient, _ = _evaluate("pc_softmax")
  np.testing.assert_allclose(loss - pc_loss, -np.log(PRIOR[LABELS]).mean(), rtol=1e-5)
  for name in gradient:
    np.testing.assert_allclose(gradient[name], pc_gradient[name], rtol=1e-5, atol=1e-7)


def test_the_strength_of_the_adjustment():
  loss, _, _ = _evaluate("logit_adjusted:tau=0")
  np.testing.assert_allclose(loss, -np.log(_at_labels(SOFTMAX)).mean(), rtol=1e-12)
  loss, _, _ = _evaluate("logit_adjusted:tau=2:order=2")
  values = PRIOR**2 * (1 + LOGITS + LOGITS**2 / 2)
  expected = -np.log(_at_labels(values / values.sum(-1, keepdims=True))).mean()
  np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_moved_predictions():
  loss, _, probabilities = _evaluate("prior_shift")
  np.testing.assert_allclose(loss, -np.log(_at_labels(SOFTMAX)).mean(), rtol=1e-12)
  moved = SOFTMAX / PRIOR
  np.testing.assert_allclose(probabilities, moved / moved.sum(-1, keepdims=True), rtol=1e-6)


def test_a_class_without_examples():
  counts = (20, 70, 0)
  labels = np.zeros(5, int)
  for specification in ("pc_softmax", "logit_adjusted", "logit_adjusted:tau=0", "prior_shift"):
    head = make(specification, 3, class_counts=counts)
    gradient = jax.grad(lambda p, h=head: h.loss(p, FEATURES, labels).mean())(PARAMS)
    assert all(np.all(np.isfinite(array)) for array in gradient.values())
    assert not np.any(np.isnan(head.log_prob(PARAMS, FEATURES)))
  np.testing.assert_array_equal(head.log_prob(PARAMS, FEATURES)[:, 2], np.full(5, -np.inf))


@pytest.mark.parametrize("name", ["pc_softmax", "logit_adjusted", "prior_shift"])
@pytest.mark.parametrize(
  "counts, message",
  [
    (None, "no class_counts for the head"),
    ((1, 2), r"class_counts of shape \(2,\) for 3 classes"),
    ((0, 0, 0), "at least one is positive"),
    ((1, 2, -1), "non-negative"),
  ],
)
def test_bad_counts(name, counts, message):
  with pytest.raises(ValueError, match=message):
    make(name, 3, class_counts=counts)


def test_bad_strength():
  with pytest.raises(ValueError, match="tau=-1"):
    make("logit_adjusted:tau=-1", 3, class_counts=COUNTS)
