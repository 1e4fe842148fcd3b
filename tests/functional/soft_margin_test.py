"""Soft margin against its formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softmax_research.functional import cross_entropy, soft_margin, taylor_score
from tests.derivatives import check_derivatives

LOGITS = np.array([[0.5, -1.0, 3.0], [1.0, 2.0, -jnp.inf]])


def test_only_the_label_is_lowered():
  lowered = soft_margin(LOGITS, np.array([2, 0]), margin=0.75)
  np.testing.assert_array_equal(lowered, [[0.5, -1, 2.25], [0.25, 2, -np.inf]])
  np.testing.assert_array_equal(soft_margin(LOGITS, np.array([2, 0]), margin=0), LOGITS)


def test_a_distribution_shares_the_margin():
  labels = np.array([[0.25, 0.75, 0.0], [0.5, 0.0, 0.5]])
  lowered = soft_margin(LOGITS, labels, margin=0.8)
  np.testing.assert_allclose(lowered, [[0.3, -1.6, 3], [0.6, 2, -np.inf]], rtol=1e-6)


@pytest.mark.parametrize("score", [lambda z: z, lambda z: taylor_score(z, order=4)])
def test_loss_is_that_of_the_paper(score):
  logits, margin, label = np.array([0.5, -1.0, 2.0]), 0.6, 1
  g = np.exp if score(-1.0) == -1 else lambda z: 1 + z + z**2 / 2 + z**3 / 6 + z**4 / 24
  own = g(logits[label] - margin)
  expected = -np.log(own / (own + g(logits[0]) + g(logits[2])))
  with jax.enable_x64(True):
    loss = cross_entropy(score(soft_margin(logits, label, margin=margin)), label)
  np.testing.assert_allclose(loss, expected, rtol=1e-13)


def test_gradients_reach_logits_and_margin():
  check_derivatives(lambda z, m: cross_entropy(soft_margin(z, 1, margin=m), 1), LOGITS[0], 0.3)


def test_a_label_out_of_range_gives_a_loss_of_nan():
  np.testing.assert_array_equal(soft_margin(LOGITS, [3, -1], margin=1.0), LOGITS)
  assert jnp.all(jnp.isnan(cross_entropy(soft_margin(LOGITS, [3, -1], margin=1.0), [3, -1])))


@pytest.mark.parametrize("margin", [-0.1, np.nan, np.inf])
def test_bad_margins(margin):
  with pytest.raises(ValueError, match=r"margin=.*>= 0\. Pass 0 for no margin"):
    soft_margin(LOGITS, [0, 0], margin=margin)


def test_bad_labels():
  with pytest.raises(ValueError, match="one class index"):
    soft_margin(LOGITS, [0], margin=1.0)
