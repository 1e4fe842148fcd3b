"""A layer, and each activation, against PyTorch's modules in the same order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from softmax_research.nn import ACTIVATIONS, KERNEL_INITIALISERS
from softmax_research.nn.layer import Dropout, Layer

INPUTS = np.random.default_rng(0).normal(1.0, 2.0, size=(8, 6, 6, 3)).astype(np.float32)
_SLOPES_AT = np.linspace(-4, 4, 33, dtype=np.float32).reshape(11, 3)


class Scale(nnx.Module):
  """A linear map that can turn the order of its inputs round."""

  def __init__(self):
    self.scale = nnx.Param(jnp.array([1.0, -2.0, 0.5]))

  def __call__(self, inputs):
    return inputs * self.scale[...]


def _peer(torch, activation, batch_norm):
  activations = {
    "relu": torch.nn.ReLU,
    "tanh": torch.nn.Tanh,
    "prelu": lambda: torch.nn.PReLU(3),
    "gelu": lambda: torch.nn.GELU(approximate="tanh"),
    None: torch.nn.Identity,
  }
  parts = [activations[activation]()]
  if batch_norm:
    parts.insert(0 if batch_norm == "before" else 1, torch.nn.BatchNorm2d(3))
  return torch.nn.Sequential(*parts, torch.nn.MaxPool2d(2))


@pytest.mark.parametrize("activation", ["relu", "tanh", "prelu", "gelu", None])
def test_outputs_and_gradients_are_pytorchs(activation):
  torch = pytest.importorskip("torch")
  scale = np.array(
    [1.5, -1.0, 0.5], np.float32
  )  # Negative: pooling and norm must not change places.
  layers = {}
  for order in ("", "before", "after"):
    layers[order] = Layer(Scale(), 3, activation=activation, batch_norm=order or False, pool=2)
    if order:
      layers[order].norm.scale[...] = jnp.asarray(scale)
  parts = {order: nnx.split(layer, nnx.Param, ...) for order, layer in layers.items()}

  @jax.jit
  def run(inputs):
    def loss(params, inputs, order):
      graph, _, rest = parts[order]
      layer = nnx.merge(graph, params, rest, copy=True)
      outputs = layer(inputs, train=True)
      return (outputs**2).sum(), (outputs, nnx.state(layer, nnx.BatchStat))

    gradient = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
    return {order: gradient(parts[order][1], inputs, order) for order in parts}

  for order, ((_, (outputs, stats)), grads) in run(INPUTS).items():
    peer = _peer(torch, activation, order)
    position = 0 if order == "before" else 1
    if order:
      peer[position].weight.data = torch.tensor(scale)
    inputs = torch.tensor(INPUTS, requires_grad=True)
    scaled = inputs * torch.tensor([1.0, -2.0, 0.5])
    expected = peer(scaled.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    (expected**2).sum().backward()
    np.testing.assert_allclose(outputs, expected.detach(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(grads[1], inputs.grad, rtol=1e-3, atol=1e-4)
    if order:
      norm = peer[position]
      for ours, theirs in (("scale", norm.weight), ("bias", norm.bias)):
        np.testing.assert_allclose(grads[0]["norm"][ours][...], theirs.grad, rtol=1e-3, atol=1e-3)
      # PyTorch's running variance takes the unbiased one, ours (as Flax's) the biased.
      count = INPUTS[..., 0].size
      variance = 0.9 + (norm.running_var - 0.9) * (count - 1) / count
      running = stats["norm"]
      np.testing.assert_allclose(running["mean"][...], norm.running_mean, rtol=1e-4, atol=1e-5)
      np.testing.assert_allclose(running["var"][...], variance, rtol=1e-4)


@pytest.mark.parametrize("batch_norm", ["before", "after"])
def test_evaluation_uses_the_running_statistics(batch_norm):
  layer = Layer(Scale(), 3, batch_norm=batch_norm)
  layer.norm.mean[...], layer.norm.var[...] = jnp.ones(3), jnp.full(3, 4.0)
  outputs = jax.jit(lambda inputs: layer(inputs, train=False))(INPUTS)
  scaled = INPUTS * np.array([1.0, -2.0, 0.5], np.float32)
  normalise = lambda x: (x - 1) / np.sqrt(4 + 1e-5)  # noqa: E731
  relu = lambda x: np.maximum(x, 0)  # noqa: E731
  order = (normalise, relu) if batch_norm == "before" else (relu, normalise)
  np.testing.assert_allclose(outputs, order[1](order[0](scaled)), rtol=1e-5, atol=1e-6)
  np.testing.assert_array_equal(layer.norm.mean[...], jnp.ones(3))


def test_dropout_keeps_the_mean_and_draws_by_key():
  layer = Layer(lambda x: x, 256, activation=None, dropout=0.3)
  inputs = np.ones((64, 256), np.float32)

  @jax.jit
  def run(key):
    def apply(inputs):
      outputs = layer(inputs, train=True, rngs=nnx.Rngs(key))
      return outputs.sum(), outputs

    return *jax.grad(apply, has_aux=True)(inputs), layer(inputs, train=False)

  once, again, other = (jax.device_get(run(jax.random.key(seed))) for seed in (1, 1, 2))
  gradient, outputs, evaluated = once
  zero = outputs == 0
  assert abs(zero.mean() - 0.3) < 0.015  # Four standard errors of a mean over 16384.
  np.testing.assert_allclose(outputs[~zero], 1 / 0.7, rtol=1e-6)
  np.testing.assert_array_equal(again[1], outputs)
  assert (other[1] != outputs).any()
  np.testing.assert_array_equal(evaluated, inputs)
  np.testing.assert_array_equal(gradient, outputs)
  with pytest.raises(ValueError, match="pass key= to train"):
    layer(inputs, train=True)


@pytest.mark.parametrize("batch_axis", [0, -1])
def test_shares_of_a_batch_get_their_own_parts_of_one_mask(batch_axis):
  inputs = np.arange(1, 49, dtype=np.float32).reshape((8, 6) if batch_axis == 0 else (6, 8))

  def apply(share):
    return Dropout(0.4)(share, deterministic=False, rngs=nnx.Rngs(3), batch_axis=batch_axis)

  shares = np.stack(np.split(inputs, 4, axis=batch_axis))
  run = jax.jit(lambda shares, whole: (jax.vmap(apply, axis_name="data")(shares), apply(whole)))
  parts, whole = jax.device_get(run(shares, inputs))
  assert 0 < np.count_nonzero(whole) < whole.size
  np.testing.assert_allclose(np.concatenate(parts, axis=batch_axis), whole, rtol=1e-6)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"batch_norm": "both"}, "'before'.*'after'"),
    ({"batch_norm": 2}, "pass False"),
    ({"dropout": 1.0}, r"\[0, 1\)"),
    ({"dropout": -0.1}, r"\[0, 1\)"),
    ({"activation": "step"}, "the activations are"),
  ],
)
def test_bad_options_say_what_to_pass(options, message):
  with pytest.raises(ValueError, match=message):
    Layer(Scale(), 3, **options)


@pytest.mark.parametrize(("channels", "filters"), [(3, 5), (5, 3)])
def test_identity_copies_channels_as_pytorchs_dirac_does_and_leaves_the_others_random(
  channels, filters
):
  torch = pytest.importorskip("torch")
  make = KERNEL_INITIALISERS.find("identity")
  make = jax.jit(make, static_argnums=(1, 2))
  kernel = np.asarray(make(jax.random.key(0), (3, 3, channels, filters), jnp.float32))
  peer = torch.nn.Conv2d(channels, filters, 3)
  torch.nn.init.dirac_(peer.weight.data[: min(channels, filters)])
  copied = peer.weight.detach().numpy().transpose(2, 3, 1, 0)[..., : min(channels, filters)]
  np.testing.assert_array_equal(kernel[..., : min(channels, filters)], copied)
  others, bound = kernel[..., channels:], (9 * channels) ** -0.5
  if others.size:  # Uniform within PyTorch's bound.
    assert others.std() == pytest.approx(bound / 3**0.5, rel=0.15) and abs(others).max() <= bound


@pytest.mark.parametrize("name", sorted(KERNEL_INITIALISERS.keys() - {"identity"}))
def test_initialisers_have_their_variance(name):
  fan_in, fan_out = 300, 100
  make = jax.jit(KERNEL_INITIALISERS.find(name), static_argnums=(1, 2))
  kernel = np.asarray(make(jax.random.key(0), (fan_in, fan_out), jnp.float32))
  scale, distribution = name.split("_")
  variance = {"he": 2 / fan_in, "lecun": 1 / fan_in, "glorot": 2 / (fan_in + fan_out)}[scale]
  np.testing.assert_allclose(kernel.var(), variance, rtol=0.05)
  # A uniform variable never leaves sqrt(3) standard deviations; the truncated normal does.
  assert (np.abs(kernel).max() > 1.8 * np.sqrt(variance)) == (distribution == "normal")


def test_an_unknown_initialiser_lists_the_names():
  with pytest.raises(ValueError, match=r"glorot_normal.*he_uniform"):
    KERNEL_INITIALISERS.find("xavier")


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_values_and_slopes_are_pytorchs(name):
  torch = pytest.importorskip("torch")
  peers = {
    "relu": torch.nn.ReLU(),
    "tanh": torch.nn.Tanh(),
    "sigmoid": torch.nn.Sigmoid(),
    "leaky_relu": torch.nn.LeakyReLU(),
    "elu": torch.nn.ELU(),
    "gelu": torch.nn.GELU(approximate="tanh"),
    "prelu": torch.nn.PReLU(3),
  }
  inputs = torch.tensor(_SLOPES_AT, requires_grad=True)
  outputs = peers[name](inputs)
  outputs.sum().backward()
  activation = ACTIVATIONS.make(name, 3)

  @jax.jit
  def run(inputs):
    outputs, pullback = jax.vjp(activation, inputs)
    return outputs, pullback(jnp.ones_like(outputs))[0]

  actual, slopes = jax.device_get(run(_SLOPES_AT))
  np.testing.assert_allclose(actual, outputs.detach(), rtol=1e-5, atol=1e-6)
  away = np.abs(_SLOPES_AT) > 0.1  # At the kink the slope is a convention.
  # The slope of gelu far below 0 is a difference of numbers near 1.
  np.testing.assert_allclose(slopes[away], inputs.grad.numpy()[away], rtol=1e-5, atol=2e-6)


def test_prelu_learns_one_slope_a_channel():
  activation = ACTIVATIONS.make("prelu", 3)
  activation.slope[...] = jnp.array([0.0, 0.5, 2.0])
  outputs = activation(jnp.full((1, 3), -2.0))
  np.testing.assert_array_equal(outputs, [[0.0, -1.0, -4.0]])


def test_an_unknown_name_lists_the_names():
  with pytest.raises(ValueError, match=r"'swish'.*elu, gelu, leaky_relu, prelu, relu"):
    ACTIVATIONS.make("swish", 3)


def test_activations_take_options_and_may_be_ones_own():
  assert ACTIVATIONS.make("leaky_relu:negative_slope=0.5", 3)(-2.0) == -1
  assert ACTIVATIONS.make("jax.nn.relu6", 3)(9.0) == 6
