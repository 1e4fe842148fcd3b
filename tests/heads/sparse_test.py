"""The heads of sparsemax and entmax: their losses, probabilities and names."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softmax_research import functional, heads

FEATURES = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
LABELS = np.array([0, 3, 1, 2, 3])


def _logits(params):
  return FEATURES @ np.asarray(params["kernel"]) + np.asarray(params.get("bias", 0))


@pytest.mark.parametrize(
  ("name", "alpha"),
  [("sparsemax", 2.0), ("entmax", 1.5), ("entmax:alpha=1.25", 1.25), ("entmax:alpha=1.0", 1.0)],
)
@pytest.mark.parametrize("bias", [True, False])
def test_loss_and_probabilities(name, alpha, bias):
  head = heads.make(name, 4, bias=bias)
  params = head.init(jax.random.key(0), 3)
  assert sorted(params) == (["bias", "kernel"] if bias else ["kernel"])
  params["kernel"] *= 2
  loss = head.loss(params, FEATURES, LABELS)
  expected = functional.entmax_loss(_logits(params), LABELS, alpha=alpha)
  np.testing.assert_allclose(loss, expected, atol=1e-5)
  log_probs = head.log_prob(params, FEATURES)
  probs = functional.entmax(_logits(params), alpha=alpha)
  np.testing.assert_allclose(np.exp(log_probs), probs, atol=1e-5)
  np.testing.assert_array_equal(np.argmax(log_probs, -1), np.argmax(_logits(params), -1))


def test_a_class_without_probability_has_infinite_loss_of_likelihood_but_a_finite_own():
  head = heads.make("sparsemax", 3)
  params = {"kernel": 4 * jnp.eye(3), "bias": jnp.zeros(3)}
  features, label = jnp.array([1.0, 0.0, 0.0]), jnp.array(1)
  np.testing.assert_array_equal(head.log_prob(params, features), [0, -np.inf, -np.inf])
  assert head.loss(params, features, label) == 4
  gradient = jax.grad(head.loss)(params, features, label)
  np.testing.assert_array_equal(gradient["bias"], [1, -1, 0])


def test_alpha_one_keeps_the_log_probabilities_that_softmax_has():
  params = {"kernel": jnp.eye(3) * 200, "bias": jnp.zeros(3)}
  features = jnp.array([1.0, 0.0, 0.5])
  entmax, softmax = (
    heads.make(name, 3).log_prob(params, features) for name in ("entmax:alpha=1", "softmax")
  )
  np.testing.assert_allclose(entmax, softmax)


@pytest.mark.parametrize("alpha", [0.5, 0, float("nan")])
def test_a_bad_alpha_fails_at_construction(alpha):
  with pytest.raises(ValueError, match=r"alpha=.*>= 1\. Pass 1 for softmax, 2 for sparsemax"):
    heads.make("entmax", 3, alpha=alpha)
