"""The CNN against PyTorch, the papers' parameter counts, and its options."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from softmax_research.nn import CNN, make
from softmax_research.nn.layer import _suits_any_layout

# Banerjee et al. 2020 (also the shape of Liu et al. 2016 for MNIST).
MNIST = {"stages": ((64,) * 4, (64,) * 3, (64,) * 3), "dense": (256,)}
CIFAR10 = {
  "stages": ((32, 32), (64, 64), (128, 128)),
  "dense": (128,),
  "batch_norm": "after",
  "dropout": (0.2, 0.3, 0.4),
  "dense_dropout": 0.5,
  "kernel_init": "he_uniform",
}


def _init(backbone, shape):
  return jax.jit(lambda key: backbone.init(key, shape))(jax.random.key(0))


def _images(*shape):
  return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def _count(tree):
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(
  ("options", "input_shape", "features", "total"),
  [
    (MNIST, (28, 28, 1), 256, 483_274),
    (CIFAR10, (32, 32, 3), 128, 552_874),
    # Agarap 2018.
    (
      {
        "stages": ((32, 32), (64, 64)),
        "dense": (256,),
        "padding": "valid",
        "dropout": 0.25,
        "dense_dropout": 0.5,
      },
      (16, 16, 1),
      256,
      84_202,
    ),
  ],
)
def test_papers_nets_have_their_parameters(options, input_shape, features, total):
  backbone = make("cnn", **options)
  params, state = jax.eval_shape(lambda: backbone.init(jax.random.key(0), input_shape))
  dense_layer_of_ten_classes = features * 10 + 10
  assert _count(params) + _count(state) + dense_layer_of_ten_classes == total


@pytest.mark.parametrize(
  ("options", "input_shape", "maps"),
  [
    # Liu et al. 2016, Table 1: features in the plane, CIFAR10 and CIFAR100.
    (
      {
        "stages": ((32, 32), (64, 64), (128, 128)),
        "kernel": 5,
        "dense": (2,),
        "linear_features": True,
      },
      (28, 28, 1),
      (3, 3, 128),
    ),
    ({"stages": ((64,) * 5, (96,) * 4, (128,) * 4), "dense": (256,)}, (32, 32, 3), (4, 4, 128)),
    ({"stages": ((96,) * 5, (192,) * 4, (384,) * 4), "dense": (512,)}, (32, 32, 3), (4, 4, 384)),
  ],
)
def test_papers_nets_have_their_shapes(options, input_shape, maps):
  options = options | {"activation": "prelu", "batch_norm": "before"}
  images = jnp.zeros((2, *input_shape))

  def run():
    net = CNN(input_shape, rngs=nnx.Rngs(0), **options)
    return net.maps(images, train=False), net(images, train=False)

  shapes = jax.eval_shape(run)
  assert shapes[0].shape == (2, *maps)
  assert shapes[1].shape == (2, options["dense"][-1])


def _torch_net(torch, params):
  """Return PyTorch's form of two stages with batch norm after relu, and one dense layer."""
  convolutions, channels = [], 2
  for index, filters in enumerate((4, 4, 6)):
    layer = params["convolutions"][str(index)]
    convolution = torch.nn.Conv2d(channels, filters, 3, padding=1)
    kernel = np.array(layer["linear"]["kernel"]).transpose(3, 2, 0, 1)
    convolution.weight.data = torch.tensor(kernel)
    convolution.bias.data = torch.tensor(np.array(layer["bias"]))
    norm = torch.nn.BatchNorm2d(filters)
    norm.weight.data = torch.tensor(np.array(layer["norm"]["scale"]))
    norm.bias.data = torch.tensor(np.array(layer["norm"]["bias"]))
    convolutions += [convolution, torch.nn.ReLU(), norm]
    convolutions += [torch.nn.MaxPool2d(2)] if index > 0 else []
    channels = filters
  return torch.nn.Sequential(*convolutions)


def test_features_and_gradients_are_pytorchs():
  torch = pytest.importorskip("torch")
  backbone = make("cnn", stages=((4, 4), (6,)), dense=(), batch_norm="after")
  params, state = _init(backbone, (7, 7, 2))
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda p: p + rng.normal(scale=0.3, size=p.shape).astype(np.float32), params
  )
  images = rng.normal(size=(5, 7, 7, 2)).astype(np.float32)

  @functools.partial(jax.value_and_grad, has_aux=True)
  def loss(params):
    features, moved = backbone.apply(params, state, images, train=True)
    return (features**2).sum(), (features, moved)

  (_, (features, _)), grads = jax.jit(loss)(params)
  peer = _torch_net(torch, params)
  outputs = peer(torch.tensor(images).permute(0, 3, 1, 2))
  expected = outputs.reshape(5, -1)
  (expected**2).sum().backward()
  np.testing.assert_allclose(features, expected.detach(), rtol=1e-4, atol=1e-4)
  for index in range(3):
    actual = grads["convolutions"][str(index)]
    position = (0, 3, 7)[index]
    kernel = peer[position].weight.grad.permute(2, 3, 1, 0)
    np.testing.assert_allclose(actual["linear"]["kernel"], kernel, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(actual["bias"], peer[position].bias.grad, rtol=2e-3, atol=2e-3)


def _torch_speed_net(torch, params, kernel):
  """Return PyTorch's form of a net after the speed-run nets, two stages of two convolutions."""

  class Net(torch.nn.Module):
    def __init__(self):
      super().__init__()
      self.bias = torch.nn.Parameter(torch.tensor(np.array(params["whitening"]["0"]["bias"])))
      self.convolutions, self.norms = torch.nn.ModuleList(), torch.nn.ModuleList()
      for index in range(4):
        layer = params["convolutions"][str(index)]
        weight = np.array(layer["linear"]["kernel"]).transpose(3, 2, 0, 1)
        convolution = torch.nn.Conv2d(weight.shape[1], len(weight), 3, padding=1, bias=False)
        convolution.weight.data = torch.tensor(weight)
        norm = torch.nn.BatchNorm2d(len(weight))
        norm.weight.data = torch.tensor(np.array(layer["norm"]["scale"]))
        norm.bias.data = torch.tensor(np.array(layer["norm"]["bias"]))
        self.convolutions.append(convolution)
        self.norms.append(norm)

    def forward(self, maps):
      gelu = functools.partial(torch.nn.functional.gelu, approximate="tanh")
      frozen = torch.tensor(np.array(kernel).transpose(3, 2, 0, 1))
      maps = gelu(torch.nn.functional.conv2d(maps, frozen) + self.bias[:, None, None])
      for index, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
        maps = convolution(maps)
        maps = torch.nn.functional.max_pool2d(maps, 2) if index % 2 == 0 else maps
        maps = gelu(norm(maps))
      return maps.amax((2, 3)) / 9

  return Net()


def test_the_speed_run_nets_features_and_gradients_are_pytorchs():
  torch = pytest.importorskip("torch")
  rng = np.random.default_rng(0)
  images = rng.normal(size=(5, 9, 9, 2)).astype(np.float32)
  backbone = make(
    "cnn",
    stages=((3, 3), (4, 4)),
    dense=(),
    whitening=2,
    examples=images,
    pool_first=True,
    batch_norm="before",
    activation="gelu",
    global_max_pool=True,
    feature_scale=1 / 9,
  )
  params, state = _init(backbone, (9, 9, 2))
  params = jax.tree.map(
    lambda p: p + rng.normal(scale=0.3, size=p.shape).astype(np.float32), params
  )

  @functools.partial(jax.value_and_grad, has_aux=True)
  def loss(params):
    features, _ = backbone.apply(params, state, images, train=True)
    return (features**3).sum(), features

  (_, features), grads = jax.jit(loss)(params)
  peer = _torch_speed_net(torch, params, state["whitening"]["0"]["linear"]["kernel"])
  expected = peer(torch.tensor(images).permute(0, 3, 1, 2))
  (expected**3).sum().backward()
  np.testing.assert_allclose(features, expected.detach(), rtol=1e-4, atol=1e-5)
  close = functools.partial(np.testing.assert_allclose, rtol=2e-3, atol=2e-4)
  close(grads["whitening"]["0"]["bias"], peer.bias.grad)
  for index in range(4):
    actual = grads["convolutions"][str(index)]
    close(actual["linear"]["kernel"], peer.convolutions[index].weight.grad.permute(2, 3, 1, 0))
    close(actual["norm"]["scale"], peer.norms[index].weight.grad)
    close(actual["norm"]["bias"], peer.norms[index].bias.grad)


def test_global_average_pool_is_the_mean_of_the_maps():
  @jax.jit
  def run(images):
    options = {"stages": ((3,),), "pool": 1, "dense": (), "global_average_pool": True}
    net = CNN((8, 8, 1), rngs=nnx.Rngs(0), **options)
    return net.maps(images, train=False), net(images, train=False)

  maps, features = jax.device_get(run(_images(2, 8, 8, 1)))
  assert maps.shape == (2, 8, 8, 3)
  np.testing.assert_allclose(features, maps.mean((1, 2)), rtol=1e-5)


def test_linear_features_may_be_negative_and_are_not_dropped():
  @jax.jit
  def run(images):
    options = {"dense": (16, 8), "linear_features": True, "dense_dropout": 0.5, "batch_norm": True}
    net = CNN((8, 8, 1), stages=((4,),), rngs=nnx.Rngs(0), **options)
    return net(images, train=True, rngs=nnx.Rngs(1))

  features = np.asarray(run(_images(4, 8, 8, 1)))
  assert (features < 0).any() and (features != 0).all()


def test_options_hold_for_all_stages_or_one_each():
  def shape(**options):
    def run():
      net = CNN((12, 12, 1), stages=((2,), (3,)), dense=(), rngs=nnx.Rngs(0), **options)
      return net.maps(jnp.ones((1, 12, 12, 1)), train=False)

    return jax.eval_shape(run).shape

  assert shape() == (1, 3, 3, 3)
  assert shape(pool=(3, 1)) == (1, 4, 4, 3)
  assert shape(kernel=[5, 3], padding="valid", pool=1) == (1, 6, 6, 3)


def test_dense_layers_fit_maps_that_are_pooled_first():
  def run():
    options = {"stages": ((2, 2),), "padding": "valid", "pool_first": True, "dense": (4,)}
    net, images = CNN((12, 12, 1), rngs=nnx.Rngs(0), **options), jnp.ones((1, 12, 12, 1))
    return net.maps(images, train=False), net(images, train=False)

  maps, features = jax.eval_shape(run)
  assert maps.shape == (1, 3, 3, 2) and features.shape == (1, 4)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"stages": ()}, "at least one stage"),
    ({"stages": ((32,), ())}, "at least one size"),
    ({"stages": ((32, 0),)}, "Got 0 in stages"),
    ({"kernel": 0}, "Got 0 in kernel"),
    ({"pool": (2, 2, 2)}, "3 values in pool.*2 stages"),
    ({"pool": -1}, "Got -1 in pool"),
    ({"pool": 3}, "too small"),
    ({"padding": "circular"}, "'same' or 'valid'"),
    ({"dropout": (0.5, 1.0)}, r"\[0, 1\)"),
    ({"dense": (0,)}, "Got 0 in dense"),
    ({"dense_dropout": 1.0}, r"\[0, 1\)"),
    ({"feature_scale": 0.0}, "Got feature_scale=0.0; it must be finite and > 0"),
    ({"kernel_init": "jax.nn.initializers.he_normal"}, "name what it made"),
    ({"global_average_pool": True, "global_max_pool": True}, "pooled in one way"),
  ],
)
def test_bad_options_say_what_to_pass(options, message):
  with pytest.raises(ValueError, match=message):
    make("cnn", **options).init(jax.random.key(0), (8, 8, 1))


def test_an_activation_of_ones_own_sees_the_channels_last(monkeypatch):
  backbone = make("cnn:stages=3-4:pool=1:dense=():activation=jax.nn.softmax")
  params, state = _init(backbone, (4, 4, 2))
  images = _images(2, 4, 4, 2)

  def run():
    return jax.jit(lambda params: backbone.apply(params, state, images, train=False)[0])(params)

  features = np.asarray(run())
  np.testing.assert_allclose(features.reshape(2, 4, 4, 4).sum(1), np.ones((2, 4, 4)), rtol=1e-5)
  monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
  library = run()
  np.testing.assert_allclose(features, library, atol=1e-5)
  # Only what looks at all channels is turned, which costs time.

  _suits_any_layout.cache_clear()

  def traced(_):
    assert _suits_any_layout(jax.nn.relu) and not _suits_any_layout(jax.nn.softmax)

  jax.eval_shape(jax.vmap(traced), jnp.ones(2))


def test_inputs_that_are_not_images_are_refused():
  with pytest.raises(ValueError, match="Use the MLP"):
    make("cnn").init(jax.random.key(0), (64,))
