"""Critics against networks of numpy on explicit pairs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from softmax_research.nn import JointCritic, SeparableCritic

_RNG = np.random.default_rng(0)
X, Y = _RNG.normal(size=(4, 3)).astype(np.float32), _RNG.normal(size=(4, 2)).astype(np.float32)


def _dense(inputs, linear):
  return inputs @ np.asarray(linear.kernel[...], np.float64) + np.asarray(linear.bias[...])


def _hidden(inputs, layers):
  for layer in layers:
    kernel, bias = layer.linear.kernel[...], layer.bias[...]
    inputs = np.maximum(inputs @ np.asarray(kernel, np.float64) + np.asarray(bias), 0)
  return inputs


def _made(critic, *sizes, **options):
  return nnx.jit(lambda: critic(*sizes, **options, rngs=nnx.Rngs(0)))()


_score = nnx.jit(lambda critic, x, y: critic(x, y))


def test_a_separable_critic_multiplies_two_embeddings():
  critic = _made(SeparableCritic, 3, 2, widths=(8, 6), embedding=5)
  g = _dense(_hidden(X, critic.x_hidden.layers), critic.x_linear)
  h = _dense(_hidden(Y, critic.y_hidden.layers), critic.y_linear)
  expected = [[g[i] @ h[j] for j in range(4)] for i in range(4)]
  np.testing.assert_allclose(_score(critic, X, Y), expected, rtol=1e-5, atol=1e-7)


def test_embeddings_start_with_a_length_of_about_a_tenth():
  critic = _made(SeparableCritic, 20, 20)
  x = _RNG.normal(size=(200, 20)).astype(np.float32)
  embed = nnx.jit(lambda critic, x: critic.x_linear(critic.x_hidden(x, train=False)))
  lengths = np.linalg.norm(embed(critic, x), axis=-1)
  assert 0.05 < np.median(lengths) < 0.3


@pytest.mark.parametrize("widths", [(8,), (8, 6)])
def test_a_joint_critic_is_a_network_on_each_pair(widths):
  critic = _made(JointCritic, 3, 2, widths=widths)
  critic.bias[...] = jnp.linspace(-1, 1, 8)
  kernel, bias = np.asarray(critic.kernel[...], np.float64), np.asarray(critic.bias[...])
  expected = np.zeros((4, 4))
  for i in range(4):
    for j in range(4):
      hidden = np.maximum(np.concatenate([X[i], Y[j]]) @ kernel + bias, 0)
      expected[i, j] = _dense(_hidden(hidden, critic.rest), critic.score)[0]
  scores = _score(critic, X, Y)
  np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("critic", [JointCritic, SeparableCritic])
def test_sizes_below_one_are_refused(critic):
  with pytest.raises(ValueError, match="at least 1"):
    critic(3, 2, widths=(0,), rngs=nnx.Rngs(0))
  with pytest.raises(ValueError, match="Got x_size=0"):
    critic(0, 2, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("critic", [JointCritic, SeparableCritic])
def test_one_width_serves_and_nothing_is_broadcast_by_itself(critic):
  with jax.numpy_rank_promotion("raise"):
    scores = jax.eval_shape(lambda: critic(3, 2, widths=8, rngs=nnx.Rngs(0))(X, Y))
  assert scores.shape == (4, 4)
