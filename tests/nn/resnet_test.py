"""The ResNet against PyTorch, the paper's parameter counts, and its options."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softmax_research.nn import in_form, make

_SMALL = {"depth": 6, "widths": (3, 5), "activation": "tanh"}


def _count(tree):
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(
  ("depth", "total"),
  [(20, 269_722), (32, 464_154), (44, 658_586), (56, 853_018), (110, 1_727_962)],
)
def test_parameters_are_those_of_the_papers_table_6(depth, total):
  backbone = make(f"resnet:depth={depth}")
  params, state = jax.eval_shape(lambda: backbone.init(jax.random.key(0), (32, 32, 3)))
  assert _count(params) + 64 * 10 + 10 == total
  assert _count(state) == sum(2 * w * (depth - 2) // 3 for w in (16, 32, 64)) + 2 * 16


def _layer(torch, params, maps, stride):
  """Return the convolution and batch norm of a layer of ours on `[B, C, H, W]`."""
  kernel = params["linear"]["kernel"]
  pad = kernel.shape[0] // 2
  maps = torch.conv2d(maps, kernel.permute(3, 2, 0, 1), stride=stride, padding=pad)
  scale, bias = params["norm"]["scale"], params["norm"]["bias"]
  return torch.nn.functional.batch_norm(maps, None, None, scale, bias, training=True)


def _peer(torch, params, maps):
  maps = torch.tanh(_layer(torch, params["first"], maps, 1))
  for index, filters in enumerate((3, 5)):
    block, stride = params["blocks"][str(index)], 1 + index
    residual = torch.tanh(_layer(torch, block["first"], maps, stride))
    residual = _layer(torch, block["second"], residual, 1)
    if "projection" in block:
      maps = _layer(torch, block["projection"], maps, stride)
    else:
      lacking = (0, 0, 0, 0, 0, filters - maps.shape[1])
      maps = torch.nn.functional.pad(maps[:, :, ::stride, ::stride], lacking)
    maps = torch.tanh(maps + residual)
  return maps.mean((2, 3))


@pytest.mark.parametrize("shortcut", ["identity", "projection"])
def test_features_and_gradients_are_pytorchs_in_every_form(shortcut, monkeypatch):
  torch = pytest.importorskip("torch")
  images = np.random.default_rng(0).normal(size=(4, 7, 6, 2)).astype(np.float32)
  backbone = make("resnet", shortcut=shortcut, **_SMALL)
  params, state = jax.jit(lambda key: backbone.init(key, (7, 6, 2)))(jax.random.key(0))
  theirs = jax.tree.map(lambda leaf: torch.tensor(np.array(leaf), requires_grad=True), params)
  expected = _peer(torch, theirs, torch.tensor(images).permute(0, 3, 1, 2))
  expected.sin().sum().backward()
  # Elsewhere than on CPU the library's convolutions are taken.
  for backend in ("cpu", "gpu") if shortcut == "identity" else ("cpu",):
    monkeypatch.setattr(jax, "default_backend", lambda backend=backend: backend)

    @jax.jit
    def gradient(params):
      def loss(params):
        features, _ = backbone.apply(params, state, images, train=True)
        return jnp.sin(features).sum(), features

      return jax.grad(loss, has_aux=True)(params)

    grads, features = gradient(params)
    assert ("stablehlo.convolution" in gradient.lower(params).as_text()) == (backend == "gpu")
    np.testing.assert_allclose(features, expected.detach(), rtol=1e-4, atol=1e-5)
    jax.tree.map(
      lambda ours, peer: np.testing.assert_allclose(ours, peer.grad, rtol=1e-3, atol=1e-4),
      grads,
      theirs,
    )


def test_seeds_train_in_one_operation_as_one_after_another():
  backbone = in_form(make("resnet:norm=none:activation=prelu", depth=4, widths=3), "vmap")
  images = np.random.default_rng(0).normal(size=(2, 6, 6, 1)).astype(np.float32)

  def gradient(seed):
    params, state = backbone.init(jax.random.key(seed), (6, 6, 1))
    assert not jax.tree.leaves(state)
    return jax.grad(lambda p: jnp.sin(backbone.apply(p, state, images, train=True)[0]).sum())(
      params
    )

  @jax.jit
  def run(seeds):
    return jax.vmap(gradient)(seeds), jax.lax.map(gradient, seeds)

  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), *run(jnp.arange(2))
  )


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"depth": 18}, r"depth=18 for 3 stages; it must be 6n \+ 2, as 20"),
    ({"depth": 2}, "depth=2"),
    ({"widths": (16, 0)}, "Got 0 in widths"),
    ({"norm": "layer"}, "'batch' or 'none'"),
    ({"shortcut": "pool"}, "'identity' or 'projection'"),
    ({"depth": 6, "widths": (8, 4)}, "pass shortcut='projection'"),
    ({"activation": "step"}, "the activations are"),
  ],
)
def test_bad_options_say_what_to_pass(options, message):
  with pytest.raises(ValueError, match=message):
    make("resnet", **options).init(jax.random.key(0), (8, 8, 1))


def test_other_inputs_than_images_are_refused():
  with pytest.raises(ValueError, match="Use the MLP"):
    make("resnet").init(jax.random.key(0), (8,))
