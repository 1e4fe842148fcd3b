"""The transformers against PyTorch's encoder layer, and what they keep apart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from softmax_research import nn
from softmax_research.nn.transformer import Block, cut_patches


def test_a_block_equals_pytorchs():
  torch = pytest.importorskip("torch")
  options = {"heads": 2, "expansion": 2, "attention": "softmax", "causal": True, "rotary": False}
  block = nnx.jit(lambda: Block(8, **options, dropout=0.0, rngs=nnx.Rngs(0)))()
  layer = torch.nn.TransformerEncoderLayer(
    8,
    2,
    16,
    dropout=0.0,
    batch_first=True,
    norm_first=True,
    layer_norm_eps=1e-6,
    activation=lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
  )

  def put(target, kernel):
    target.data = torch.tensor(np.asarray(kernel).T.copy())

  attention = block.attention
  stacked = [np.asarray(part.kernel[...]).T for part in (attention.query, attention.key)]
  stacked.append(np.asarray(attention.value.kernel[...]).T)
  layer.self_attn.in_proj_weight.data = torch.tensor(np.concatenate(stacked))
  layer.self_attn.in_proj_bias.data.zero_()
  put(layer.self_attn.out_proj.weight, attention.out.kernel[...])
  layer.self_attn.out_proj.bias.data.zero_()
  for linear, ours in ((layer.linear1, block.widen), (layer.linear2, block.narrow)):
    put(linear.weight, ours.kernel[...])
    linear.bias.data.zero_()
  sequence = np.random.default_rng(0).normal(size=(2, 5, 8)).astype(np.float32)
  mask = torch.nn.Transformer.generate_square_subsequent_mask(5)
  given = torch.tensor(sequence, requires_grad=True)
  expected = layer(given, src_mask=mask, is_causal=True)
  expected.pow(2).sum().backward()
  loss = jax.value_and_grad(lambda x: (block(x, train=True) ** 2).sum())
  found, gradient = jax.jit(loss)(sequence)
  np.testing.assert_allclose(found, expected.pow(2).sum().item(), rtol=1e-5)
  np.testing.assert_allclose(gradient, given.grad, rtol=1e-4, atol=1e-5)


def test_patches_are_cut_in_rows_and_columns():
  images = np.arange(48.0, dtype=np.float32).reshape(1, 4, 6, 2)
  patches = cut_patches(jnp.asarray(images), 2)
  assert patches.shape == (1, 6, 8)
  np.testing.assert_array_equal(patches[0, 4], images[0, 2:4, 2:4].ravel())


def test_the_named_network_trains_under_dropout_in_bfloat16_and_takes_sequences():
  backbone = nn.make(
    "transformer:patch=4:width=8:depth=1:heads=2:attention=(softmax:sink=True)",
    dropout=0.5,
    dtype="bfloat16",
  )
  params, state = jax.jit(backbone.init, static_argnums=1)(jax.random.key(0), (8, 8, 1))
  assert state == {} and params["stack"]["blocks"]["0"]["attention"]["attend"]["sink"].shape == (2,)
  images = jnp.ones((2, 8, 8, 1))

  @jax.jit
  def run(params, key):
    def total(params):
      features, _ = backbone.apply(params, state, images, train=True, key=key)
      return jnp.sum(features), features

    return jax.grad(total, has_aux=True)(params)

  gradient, features = run(params, jax.random.key(1))
  assert features.shape == (2, 8) and features.dtype == jnp.float32
  assert not np.allclose(features, run(params, jax.random.key(2))[1])
  assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(gradient))

  def features_of_sequences():
    of_sequences = nn.make("transformer:width=8:depth=1:heads=2")
    params, state = of_sequences.init(jax.random.key(0), (5, 3))
    return of_sequences.apply(params, state, jnp.ones((2, 5, 3)), train=False)[0]

  assert jax.eval_shape(features_of_sequences).shape == (2, 8)


def test_images_of_another_size_are_refused():
  def run():
    net = nn.Transformer((8, 8, 1), width=8, depth=1, heads=2, rngs=nnx.Rngs(0))
    net(jnp.ones((2, 8, 4, 1)), train=False)

  with pytest.raises(ValueError, match=r"shape \(2, 8, 4, 1\) for a network of inputs \(8, 8, 1\)"):
    jax.eval_shape(run)


@pytest.mark.parametrize("positions", ["rotary", "learnt"])
def test_a_decoder_sees_no_later_token_and_learns_order(positions):
  options = {"length": 6, "width": 8, "depth": 2, "heads": 2, "positions": positions}
  net = nnx.jit(lambda: nn.Decoder(7, **options, rngs=nnx.Rngs(0)))()
  run = jax.jit(lambda tokens: net(tokens, train=False))
  rows = [[1, 2, 3, 4, 5, 6], [1, 2, 3, 6, 6, 6], [2, 1, 3, 4, 5, 6], [-1, 0, 6, 9, 0, 0]]
  features = np.asarray(run(np.array([*rows, [0, 0, 6, 6, 0, 0]])))
  np.testing.assert_allclose(features[0, :3], features[1, :3], atol=1e-5)
  assert np.abs(features[0, 3:] - features[1, 3:]).max() > 1e-2
  assert np.abs(features[0, 5] - features[2, 5]).max() > 1e-4
  np.testing.assert_array_equal(features[3], features[4])  # What is outside counts as the nearest.
  with pytest.raises(ValueError, match=r"tokens of shape \(3,\) and type int32"):
    run(np.zeros(3, np.int32))
  if positions == "learnt":
    with pytest.raises(ValueError, match="Got a sequence of 7 positions"):
      run(np.zeros((1, 7), int))


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"patch": 3}, "Got patches of side 3 for images of 8 by 8"),
    ({"positions": "sinusoid"}, "pass one of learnt, rotary, none"),
    ({"attention": "hardmax"}, "the attentions are"),
    ({"heads": 3}, "which they must divide"),
    ({"depth": 0}, "Got depth=0"),
    ({"width": 0}, "Got width=0"),
    ({"heads": 0}, "Got heads=0"),
    ({"expansion": 0}, "Got expansion=0"),
  ],
)
def test_bad_options_say_what_to_pass(options, message):
  with pytest.raises(ValueError, match=message):
    nn.make("transformer", **options).init(jax.random.key(0), (8, 8, 1))
