"""Mixed precision: bfloat16 within, float32 without, near what float32 gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softmax_research import nn

# Smooth: at a kink of ReLU, a rounding changes a gradient as a whole.
_NETWORKS = {
  "mlp": {"widths": (16, 8), "batch_norm": True, "activation": "tanh"},
  "cnn": {"stages": ((4,),), "dense": (8,), "dropout": (0.2,), "activation": "tanh"},
}


@pytest.mark.parametrize("name", _NETWORKS)
def test_products_are_in_bfloat16_and_what_is_kept_in_float32(name):
  plain = nn.make(name, **_NETWORKS[name])
  narrow, shape, key = nn.in_bfloat16(plain), (6, 6, 1), jax.random.key(0)
  images, weights = jax.random.normal(key, (32, *shape)), jax.random.normal(key, (32, 8))
  params, state = jax.jit(narrow.init, static_argnums=1)(key, shape)

  def loss(params, backbone):
    features, new_state = backbone.apply(params, state, images, train=True, key=key)
    return jnp.sum(weights * features), (features, new_state)

  gradient = jax.jit(jax.grad(loss, has_aux=True), static_argnums=1)
  (ours, (features, new_state)), (exact, (wide, _)) = (
    gradient(params, backbone) for backbone in (narrow, plain)
  )
  assert {x.dtype.name for x in jax.tree.leaves((ours, features, new_state))} == {"float32"}
  np.testing.assert_allclose(features, wide, atol=0.1)
  ours, exact = (
    np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(grads)]) for grads in (ours, exact)
  )
  assert 1e-4 < np.linalg.norm(ours - exact) / np.linalg.norm(exact) < 0.05
  text = gradient.lower(params, narrow).as_text()
  products = [line for line in text.splitlines() if "dot_general" in line]
  assert products and all(line.count("xbf16>") >= 2 for line in products)


@pytest.mark.parametrize(
  "name",
  [
    *("mlp:batch_norm=True", "cnn:whitening=2:batch_norm=True", "resnet:depth=8"),
    "transformer:patch=2:width=8:depth=1:heads=2:attention=(softmax:sink=True)",
    "transformer:patch=2:width=8:depth=1:heads=2:attention=(taylor_linear:key_features=4)",
  ],
)
def test_nothing_is_promoted_by_itself(name):
  backbone = nn.make(name, dtype="bfloat16")

  def loss(params, state):
    return backbone.apply(params, state, jnp.ones((2, 6, 6, 1)), train=True)[0].sum()

  with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
    jax.eval_shape(lambda key: jax.grad(loss)(*backbone.init(key, (6, 6, 1))), jax.random.key(0))


def test_state_keeps_its_type():
  mean = nn.Backbone(
    lambda key, shape: ({}, jnp.zeros(())),
    lambda params, state, images, **options: (images, images.mean()),
  )
  params, state = mean.init(jax.random.key(0), (3,))
  _, new_state = nn.in_bfloat16(mean).apply(params, state, jnp.ones((2, 3)), train=True)
  assert new_state.dtype == state.dtype == jnp.float32
