"""Self-attention: what each text makes of the weights, and rotary positions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from softmax_research import functional
from softmax_research.nn.self_attention import ATTENTIONS, SelfAttention, rotate

QUERY, KEY, VALUE = np.random.default_rng(0).normal(size=(3, 2, 5, 2, 4)).astype(np.float32)

EXPECTED = {
  "softmax": {},
  "softmax:sink=True": {"sink": 0.0},
  "softmax:sink=1.5": {"sink": 1.5},
  "softmax:length_scale=True": {"length_scale": 1.0},
  "taylor:order=4": {"score": functools.partial(functional.taylor_score, order=4)},
  "taylor_linear": {"score": functional.taylor_score},
  "scored:score=(spherical:epsilon=0.1)": {
    "score": functools.partial(functional.spherical_score, epsilon=0.1)
  },
  "entmax:alpha=1.3": {"normaliser": functools.partial(functional.entmax, alpha=1.3)},
  "entmax:alpha=learnt": {"normaliser": functools.partial(functional.entmax, alpha=1.5)},
  "sparsemax": {"normaliser": "sparsemax"},
  "sigmoid": {"normaliser": "sigmoid"},
  "softpick": {"normaliser": "softpick"},
  "soft_cap:cap=2.0": {"score": lambda z: 2 * jnp.tanh(z / 2)},
}


def test_texts_name_scores_and_normalisers():
  @jax.jit
  def run(*arrays):
    return {
      text: (
        ATTENTIONS.make(text, 2)(*arrays, causal=True),
        functional.attention(*arrays, causal=True, **options),
      )
      for text, options in EXPECTED.items()
    }

  for text, (found, expected) in run(QUERY, KEY, VALUE).items():
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5, err_msg=text)
  learnt = {
    text: nnx.state(ATTENTIONS.make(text, 2), nnx.Param)
    for text in ("softmax:sink=True", "softmax:length_scale=True", "entmax:alpha=learnt")
  }
  assert all(leaf.shape == (2,) for leaf in jax.tree.leaves(learnt)) and len(learnt) == 3
  assert jax.tree.leaves(nnx.state(ATTENTIONS.make("softmax:sink=1.5", 2), nnx.Param)) == []


def test_stablemax_is_a_score():
  attend = functools.partial(ATTENTIONS.make("stablemax", 2), causal=False)
  found = jax.jit(attend)(QUERY, KEY, VALUE)
  logits = np.einsum("bthd,bshd->bhts", QUERY, KEY) / 2
  powers = np.where(logits < 0, 1 / (1 - np.minimum(logits, 0)), logits + 1)
  weights = powers / powers.sum(-1, keepdims=True)
  np.testing.assert_allclose(found, np.einsum("bhts,bshd->bthd", weights, VALUE), atol=1e-5)


def test_one_of_ones_own_and_what_is_refused():
  @jax.jit
  def run(sequence):
    layer = SelfAttention(8, num_heads=2, attention=f"{__name__}.uniform", rngs=nnx.Rngs(0))
    return layer(sequence), layer.weights(sequence)

  outputs, weights = jax.device_get(run(QUERY.reshape(2, 5, 8)))
  np.testing.assert_allclose(outputs[:, 0], outputs[:, 4], atol=1e-6)
  # It has five keys of four features.
  np.testing.assert_allclose(weights, np.full((2, 2, 5, 5), 0.2), atol=1e-6)
  for options, message in (
    ({"attention": "hardmax"}, "attentions are entmax, relu"),
    ({"attention": "taylor:order=3"}, "must be even"),
    ({"attention": "softmax:sinks=True"}, "its options are"),
    ({"attention": "entmax:alpha=learned"}, "or 'learnt'"),
    ({"num_heads": 3}, "must divide"),
    ({"num_heads": 8, "rotary": True}, "turn pairs"),
  ):
    with pytest.raises(ValueError, match=message):
      SelfAttention(8, **{"num_heads": 2} | options, rngs=nnx.Rngs(0))

  def run_heads_first(sequence):
    layer = SelfAttention(8, num_heads=2, attention=f"{__name__}.heads_first", rngs=nnx.Rngs(0))
    return layer(sequence)

  with pytest.raises(ValueError, match=r"outputs of shape \(2, 2, 5, 4\) from the attention"):
    jax.eval_shape(run_heads_first, QUERY.reshape(2, 5, 8))


def uniform(num_heads):
  def attend(query, key, value, *, causal):
    return jnp.broadcast_to(value.mean(1, keepdims=True), query.shape)

  return attend


def heads_first(num_heads):
  return lambda query, key, value, *, causal: jnp.swapaxes(value, 1, 2)


def test_weights_are_those_of_the_outputs():
  @jax.jit
  def run(sequence):
    options = {"num_heads": 2, "attention": "softmax:sink=True", "causal": True}
    layer = SelfAttention(8, **options, rngs=nnx.Rngs(0))
    weights, value = layer.weights(sequence), layer.value(sequence).reshape(2, 5, 2, 4)
    outputs = layer.out(jnp.einsum("bhts,bshd->bthd", weights, value).reshape(2, 5, 8))
    return weights, outputs, layer(sequence)

  weights, outputs, expected = run(QUERY.reshape(2, 5, 8))
  np.testing.assert_allclose(outputs, expected, atol=1e-5)
  assert np.all(np.triu(weights[0, 0], 1) == 0) and np.all(weights.sum(-1) < 1)


def test_rotary_products_depend_on_distances_alone():
  same = np.broadcast_to(QUERY[:, :1], QUERY.shape)
  turned = np.asarray(jax.jit(rotate)(same))
  products = np.einsum("bthd,bshd->bhts", turned, turned)
  for distance in range(4):
    diagonal = np.diagonal(products, distance, -2, -1)
    np.testing.assert_allclose(diagonal, diagonal[..., :1].repeat(5 - distance, -1), rtol=1e-4)
  assert not np.allclose(products[0, 0, 0, 0], products[0, 0, 0, 1])
  with jax.enable_x64(True):
    turned = np.asarray(jax.jit(rotate)(np.ones((1, 1000, 1, 4))))[0, -1, 0, :2]
  angles = 999 * np.array([1, 0.01])
  np.testing.assert_allclose(turned, np.cos(angles) - np.sin(angles), rtol=1e-11)
