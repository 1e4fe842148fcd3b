"""Heads that differ in their score."""

import jax
import numpy as np
import pytest

from softmax_research import functional
from softmax_research.heads import make

RNG = np.random.default_rng(0)
PARAMS = {"kernel": RNG.normal(size=(4, 3)), "bias": RNG.normal(size=3)}
FEATURES = RNG.normal(size=(5, 4))
LABELS = np.array([0, 2, 1, 1, 2])


@pytest.mark.parametrize(
  "specification, positive",
  [
    ("softmax", np.exp),
    ("softmax:temperature=2.5", lambda z: np.exp(z / 2.5)),
    ("taylor", lambda z: 1 + z + z**2 / 2),
    ("taylor:order=4", lambda z: 1 + z + z**2 / 2 + z**3 / 6 + z**4 / 24),
    ("relu", lambda z: np.maximum(z, 1e-2)),
    ("relu:epsilon=0.5", lambda z: np.maximum(z, 0.5)),
    ("spherical", lambda z: z**2 + 1e-2),
    ("spherical:epsilon=0.5", lambda z: z**2 + 0.5),
  ],
)
def test_loss_and_prediction(specification, positive):
  head = make(specification, 3)
  values = positive(FEATURES @ PARAMS["kernel"] + PARAMS["bias"])
  expected = np.log(values / values.sum(-1, keepdims=True))
  with jax.enable_x64(True):
    log_probs = head.log_prob(PARAMS, FEATURES)
    loss = head.loss(PARAMS, FEATURES, LABELS)
  np.testing.assert_allclose(log_probs, expected, rtol=1e-12)
  np.testing.assert_allclose(loss, -expected[np.arange(5), LABELS], rtol=1e-12)


def test_relu_starts_with_living_classes():
  params = make("relu", 3).init(jax.random.key(0), 4)
  np.testing.assert_array_equal(params["bias"], np.ones(3))
  started = make("relu:bias_start=0.5", 3).init(jax.random.key(0), 4)
  np.testing.assert_array_equal(started["bias"], np.full(3, 0.5))
  assert set(make("relu:bias=False", 3).init(jax.random.key(0), 4)) == {"kernel"}


def test_a_high_order_is_softmax():
  with jax.enable_x64(True):
    log_probs = make("taylor:order=40", 3).log_prob(PARAMS, FEATURES)
    softmax = functional.log_softmax(FEATURES @ PARAMS["kernel"] + PARAMS["bias"])
  np.testing.assert_allclose(log_probs, softmax, rtol=1e-12)


@pytest.mark.parametrize(
  "specification, message",
  [
    ("softmax:temperature=0", "temperature=0"),
    ("taylor:order=3", "order=3"),
    ("relu:epsilon=0", "epsilon=0"),
    ("spherical:epsilon=-1", "epsilon=-1"),
  ],
)
def test_bad_options_fail_at_construction(specification, message):
  with pytest.raises(ValueError, match=message):
    make(specification, 3)
