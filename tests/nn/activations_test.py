"""Activations against PyTorch's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softmax_research.nn.activations import ACTIVATIONS, MONOTONE, make_activation

INPUTS = np.linspace(-4, 4, 33, dtype=np.float32).reshape(11, 3)


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
  inputs = torch.tensor(INPUTS, requires_grad=True)
  outputs = peers[name](inputs)
  outputs.sum().backward()
  activation = make_activation(name, 3)
  actual, pullback = jax.vjp(activation, INPUTS)
  (slopes,) = pullback(jnp.ones_like(actual))
  np.testing.assert_allclose(actual, outputs.detach(), rtol=1e-5, atol=1e-6)
  away = np.abs(INPUTS) > 0.1  # At the kink the slope is a convention.
  np.testing.assert_allclose(slopes[away], inputs.grad.numpy()[away], rtol=1e-5, atol=1e-6)


def test_prelu_learns_one_slope_a_channel():
  activation = make_activation("prelu", 3)
  activation.slope[...] = jnp.array([0.0, 0.5, 2.0])
  outputs = activation(jnp.full((1, 3), -2.0))
  np.testing.assert_array_equal(outputs, [[0.0, -1.0, -4.0]])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_monotone_ones_are_marked(name):
  outputs = make_activation(name, 1)(jnp.linspace(-6, 6, 1001)[:, None])
  assert (name in MONOTONE) == (name != "prelu" and bool((jnp.diff(outputs[:, 0]) >= 0).all()))


def test_an_unknown_name_lists_the_names():
  with pytest.raises(ValueError, match=r"'swish'.*elu, gelu, leaky_relu, prelu, relu"):
    make_activation("swish", 3)
