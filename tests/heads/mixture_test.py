"""The mixture of softmaxes against its formula, and the rank of its log-probabilities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softmax_research import heads
from tests.derivatives import differences

RNG = np.random.default_rng(0)
N, D, E, M, K = 5, 4, 3, 2, 9
FEATURES = RNG.normal(size=(N, D))
LABELS = np.array([0, 8, 3, 3, 7])


def _params(head):
  shapes = jax.eval_shape(lambda: head.init(jax.random.key(0), D))
  return jax.tree.map(lambda leaf: RNG.normal(size=leaf.shape), shapes)


def _log_probs(params, features):
  gates = np.exp(features @ params["gate"])
  gates /= gates.sum(-1, keepdims=True)
  probs = 0
  for m in range(M):
    columns = slice(m * E, (m + 1) * E)
    latent = np.tanh(features @ params["latent"]["kernel"] + params["latent"]["bias"])[:, columns]
    weights = np.exp(latent @ params["layer"]["kernel"] + params["layer"]["bias"])
    probs = probs + gates[:, [m]] * weights / weights.sum(-1, keepdims=True)
  return np.log(probs)


@pytest.mark.parametrize("implementation", ["plain", "streaming"])
def test_loss_gradient_and_log_probabilities(implementation):
  head = heads.mixture(K, num_components=M, width=E, implementation=implementation)
  params, weights = _params(head), RNG.normal(size=N)

  @jax.jit
  def run(params, features):
    losses, pull = jax.vjp(lambda p, x: head.loss(p, x, LABELS), params, features)
    soft = head.loss(params, features, jnp.eye(K)[LABELS])
    return losses, soft, head.log_prob(params, features), pull(weights)

  with jax.enable_x64(True):
    losses, soft, log_probs, (of_params, of_features) = run(params, FEATURES)
  expected = _log_probs(params, FEATURES)
  np.testing.assert_allclose(log_probs, expected, rtol=1e-11)
  np.testing.assert_allclose(losses, -expected[np.arange(N), LABELS], rtol=1e-11)
  np.testing.assert_allclose(soft, losses, rtol=1e-11)

  def total(params, features):
    return -weights @ _log_probs(params, features)[np.arange(N), LABELS]

  np.testing.assert_allclose(
    of_features, differences(lambda x: total(params, x), FEATURES), rtol=1e-5, atol=1e-8
  )
  for path, leaf in jax.tree.leaves_with_path(params):
    place = [step.key for step in path]

    def moved(value, place=place):
      def put(tree, keys):
        return tree | {keys[0]: put(tree[keys[0]], keys[1:])} if keys else value

      return total(put(params, place), FEATURES)

    found = of_params
    for key in place:
      found = found[key]
    np.testing.assert_allclose(found, differences(moved, leaf), rtol=1e-5, atol=1e-7)


def test_a_softmax_has_a_matrix_of_low_rank_and_a_mixture_has_not():
  features = RNG.normal(size=(60, D))
  ranks = {}
  for name in ("softmax", "mixture:num_components=8"):
    head = heads.make(name, 50)
    with jax.enable_x64(True):
      log_probs = jax.jit(head.log_prob)(_params(head), features)
    ranks[name] = np.linalg.matrix_rank(np.asarray(log_probs))
  assert ranks == {"softmax": D + 2, "mixture:num_components=8": 50}


def test_bad_options():
  with pytest.raises(ValueError, match="num_components=0"):
    heads.mixture(9, num_components=0)
  with pytest.raises(ValueError, match="width='wide'; it must be an integer"):
    heads.mixture(9, width="wide")
  with pytest.raises(ValueError, match="Taylor order must be even"):
    heads.mixture(9, order=3)
