"""The MLP against plain matrix products, and its options."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softmax_research.nn import make


def _init(backbone, shape):
  return jax.jit(lambda key: backbone.init(key, shape))(jax.random.key(0))


def test_it_is_products_and_activations():
  backbone = make("mlp", widths=(5, 3), activation="tanh")
  params, state = _init(backbone, (2, 2, 1))
  images = np.random.default_rng(0).normal(size=(4, 2, 2, 1)).astype(np.float32)
  features, _ = jax.jit(lambda p: backbone.apply(p, state, images, train=True))(params)
  expected = images.reshape(4, -1)
  for layer in ("0", "1"):
    kernel = params["layers"][layer]["linear"]["kernel"]
    expected = np.tanh(expected @ kernel + params["layers"][layer]["bias"])
  np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-6)
  assert state == {}


@pytest.mark.parametrize("batch_norm", [True, "before", "after"])
def test_batch_norm_and_dropout(batch_norm):
  backbone = make("mlp", widths=[8, 4], batch_norm=batch_norm, dropout=0.5)
  params, state = _init(backbone, (6,))
  images = np.random.default_rng(0).normal(size=(16, 6)).astype(np.float32)
  apply = functools.partial(jax.jit(backbone.apply, static_argnames="train"), params, state)
  features, moved = apply(images, train=True, key=jax.random.key(2))
  assert features.shape == (16, 4) and (features == 0).mean() > 0.3
  assert (moved["layers"]["0"]["norm"]["mean"] != 0).all()
  first = params["layers"]["0"]
  assert ("bias" in first) == (batch_norm == "after")


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"widths": ()}, "at least one size"),
    ({"widths": "512"}, "must be an integer or a sequence"),
    ({"widths": (8, 0)}, "Got 0 in widths"),
    ({"widths": (8, 2.5)}, "Got 2.5 in widths"),
    ({"activation": "step"}, "s are .*relu|s are .*he_normal"),
    ({"kernel_init": "ones"}, "s are .*relu|s are .*he_normal"),
    ({"dropout": 1.5}, r"\[0, 1\)"),
  ],
)
def test_bad_options_say_what_to_pass(options, message):
  with pytest.raises(ValueError, match=message):
    make("mlp", **options).init(jax.random.key(0), (4,))


def test_integer_images_are_refused():
  backbone = make("mlp", widths=(4,))
  params, state = _init(backbone, (4,))
  with pytest.raises(TypeError, match=r"uint8.*standardise"):
    backbone.apply(params, state, jnp.zeros((2, 4), jnp.uint8), train=False)
