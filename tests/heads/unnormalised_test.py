"""One-against-all and hinge heads against numpy."""

import jax
import numpy as np
import pytest

from softmax_research.heads import make

RNG = np.random.default_rng(0)
PARAMS = {"kernel": RNG.normal(size=(4, 3)), "bias": RNG.normal(size=3)}
FEATURES = RNG.normal(size=(5, 4))
LABELS = np.array([0, 2, 1, 1, 2])
LOGITS = FEATURES @ PARAMS["kernel"] + PARAMS["bias"]
OWN = np.eye(3, dtype=bool)[LABELS]


def _evaluate(specification):
  head = make(specification, 3)
  with jax.enable_x64(True):
    return head.loss(PARAMS, FEATURES, LABELS), np.exp(head.log_prob(PARAMS, FEATURES))


def test_one_vs_all():
  loss, probabilities = _evaluate("one_vs_all")
  sigma = 1 / (1 + np.exp(-LOGITS))
  np.testing.assert_allclose(loss, -np.log(np.where(OWN, sigma, 1 - sigma)).sum(-1), rtol=1e-12)
  np.testing.assert_allclose(probabilities, sigma / sigma.sum(-1, keepdims=True), rtol=1e-12)


@pytest.mark.parametrize("margin", [1.0, 0.25])
def test_hinge(margin):
  gaps = np.maximum(margin + LOGITS - LOGITS[OWN][:, None], 0)
  gaps[OWN] = 0
  strongest, probabilities = _evaluate(f"hinge:margin={margin}")
  total, _ = _evaluate(f"hinge:margin={margin}:sum_rivals=True")
  np.testing.assert_allclose(strongest, gaps.max(-1), rtol=1e-12)
  np.testing.assert_allclose(total, gaps.sum(-1), rtol=1e-12)
  softmax = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
  np.testing.assert_allclose(probabilities, softmax, rtol=1e-12)


def test_no_bias():
  for name in ("one_vs_all", "hinge"):
    assert set(make(f"{name}:bias=False", 3).init(jax.random.key(0), 4)) == {"kernel"}


def test_bad_margin():
  with pytest.raises(ValueError, match="margin=-1"):
    make("hinge:margin=-1", 3)
