"""Backbones by name."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softmax_research.nn import ACTIVATIONS, NETWORKS, make, network_options


def test_identity_flattens():
  backbone = make("identity")
  assert backbone.init(jax.random.key(0), (2, 2, 1)) == ({}, {})
  images = jnp.arange(8.0).reshape(2, 2, 2, 1)
  features, state = backbone.apply({}, {}, images, train=True)
  np.testing.assert_array_equal(features, images.reshape(2, 4))
  assert state == {}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_runs_with_its_defaults(name):
  backbone = make(name)
  params, state = backbone.init(jax.random.key(0), (8, 8, 1))
  features, _ = backbone.apply(params, state, jnp.ones((2, 8, 8, 1)), train=False)
  assert features.ndim == 2 and jnp.isfinite(features).all()


@pytest.mark.parametrize("name", NETWORKS)
def test_every_option_has_a_default_and_is_documented(name):
  for option, default in network_options(name).items():
    assert default is not inspect.Parameter.empty
    assert f"{option}:" in NETWORKS[name].__doc__


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", ["cnn", "mlp"])
def test_parameters_and_state_are_float32_and_not_weakly_typed(name, activation):
  for batch_norm in (False, "before", "after"):
    backbone = make(name, activation=activation, batch_norm=batch_norm, dropout=0.1)
    with jax.enable_x64(True):
      variables = jax.eval_shape(lambda b=backbone: b.init(jax.random.key(0), (8, 8, 1)))
    types = {(leaf.dtype.name, leaf.weak_type) for leaf in jax.tree.leaves(variables)}
    assert types == {("float32", False)}


def test_an_unknown_network_lists_the_networks():
  with pytest.raises(ValueError, match=r"'resnet'.*cnn, identity, mlp"):
    make("resnet")


def test_an_unknown_option_lists_the_options():
  with pytest.raises(ValueError, match=r"'depth'.*'mlp'.*activation, axis_name, batch_norm"):
    make("mlp", depth=3)
  with pytest.raises(ValueError, match=r"'depth'.*'identity'.*axis_name"):
    make("identity", depth=3)
