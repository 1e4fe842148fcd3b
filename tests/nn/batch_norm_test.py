"""Batch norm against float64 formulas, PyTorch's and Flax's."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from softmax_research.nn.batch_norm import BatchNorm

INPUTS = np.random.default_rng(0).normal(1.0, 2.0, size=(6, 3, 2, 4)).astype(np.float32)
SCALE, BIAS = np.array([1.5, -1.0, 0.5, 2.0]), np.array([0.125, 0.25, -0.5, 0.0])


def _norm():
  norm = BatchNorm(4)
  norm.scale[...], norm.bias[...] = (jnp.asarray(x, jnp.float32) for x in (SCALE, BIAS))
  return norm


@functools.partial(jax.jit, static_argnames="axis")
def _run(inputs, axis=-1):
  """Return outputs, gradients for (scale, bias, inputs) of a weighted sum, and statistics."""
  graph, params, rest = nnx.split(_norm(), nnx.Param, ...)

  def loss(params, inputs):
    norm = nnx.merge(graph, params, rest, copy=True)
    outputs = norm(inputs, train=True, axis=axis)
    return jnp.sum(jnp.sin(outputs)), (outputs, norm.mean[...], norm.var[...])

  (_, out), (d_params, d_inputs) = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(
    params, inputs
  )
  return *out, d_params["scale"][...], d_params["bias"][...], d_inputs


@pytest.mark.parametrize("axis", [0, -1])
def test_everything_is_pytorchs(axis):
  torch = pytest.importorskip("torch")
  inputs = torch.tensor(INPUTS, dtype=torch.float64, requires_grad=True)
  peer = torch.nn.BatchNorm2d(4).double()
  peer.weight.data, peer.bias.data = torch.tensor(SCALE), torch.tensor(BIAS)
  expected = peer(inputs.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
  expected.sin().sum().backward()
  moved = np.moveaxis(INPUTS, -1, axis)
  outputs, mean, var, d_scale, d_bias, d_inputs = _run(moved, axis=axis)
  close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
  close(np.moveaxis(outputs, axis, -1), expected.detach())
  close(np.moveaxis(d_inputs, axis, -1), inputs.grad)
  close(d_scale, peer.weight.grad)
  close(d_bias, peer.bias.grad)
  close(mean, peer.running_mean)
  # PyTorch's running variance takes the unbiased one of the batch, ours (as Flax's) the biased.
  count = INPUTS[..., 0].size
  close(var, 0.9 + (peer.running_var - 0.9) * (count - 1) / count)


def test_running_statistics_are_flaxs():
  ours = _norm()
  peer = nnx.BatchNorm(4, momentum=0.9, epsilon=1e-5, rngs=nnx.Rngs(0))
  peer.scale[...], peer.bias[...] = ours.scale[...], ours.bias[...]

  @nnx.jit
  def train(ours, peer, inputs):
    ours(inputs, train=True), peer(inputs)
    return ours(inputs, train=False), peer(inputs, use_running_average=True)

  for shift in (3.0, 0.0):
    found, expected = train(ours, peer, INPUTS + np.float32(shift))
  np.testing.assert_allclose(ours.mean[...], peer.mean[...], rtol=1e-5)
  np.testing.assert_allclose(ours.var[...], peer.var[...], rtol=1e-4)
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_large_mean_costs_no_digits():
  inputs = np.float32(1000) + INPUTS  # Rounded to 6e-5, which is all that is lost.
  exact = inputs.astype(np.float64)
  mean, var = exact.mean((0, 1, 2)), exact.var((0, 1, 2))
  expected = (exact - mean) / np.sqrt(var + 1e-5) * SCALE + BIAS
  outputs, _, _, d_scale, *_ = _run(inputs)
  np.testing.assert_allclose(outputs, expected, atol=1e-3)
  standardised = (exact - mean) / np.sqrt(var + 1e-5)
  np.testing.assert_allclose(d_scale, (np.cos(expected) * standardised).sum((0, 1, 2)), atol=0.02)


def test_second_derivatives_are_those_of_the_plain_formula():
  with jax.enable_x64(True):
    inputs = INPUTS[:3, 0, 0].astype(np.float64)

    def ours(inputs):
      return jnp.sum(jnp.sin(_norm()(inputs, train=True)))

    def plain(inputs):
      centred = inputs - inputs.mean(0)
      outputs = centred / jnp.sqrt((centred**2).mean(0) + 1e-5) * SCALE + BIAS
      return jnp.sum(jnp.sin(outputs))

    actual, expected = (jax.jit(jax.jacrev(jax.grad(f)))(inputs) for f in (ours, plain))
    np.testing.assert_allclose(actual, expected, rtol=1e-7, atol=1e-8)


def test_shards_of_a_batch_give_what_the_whole_gives():
  whole = _run(INPUTS)
  run = jax.jit(jax.vmap(_run, axis_name="data"))
  shares = jax.device_get(run(INPUTS.reshape(2, 3, 3, 2, 4)))
  outputs, mean, var, d_scale, d_bias, d_inputs = shares
  shards = (
    outputs.reshape(INPUTS.shape),
    *(statistic[0] for statistic in (mean, var)),
    *(gradient.sum(0) for gradient in (d_scale, d_bias)),
    d_inputs.reshape(INPUTS.shape),
  )
  for actual, expected in zip(shards, whole, strict=True):
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_half_precision_keeps_its_type_and_averages_in_float32():
  inputs = jnp.asarray(INPUTS, jnp.bfloat16)
  outputs, mean, *_, d_inputs = _run(inputs)
  assert outputs.dtype == d_inputs.dtype == jnp.bfloat16 and mean.dtype == jnp.float32
  exact = np.asarray(inputs, np.float64).mean((0, 1, 2))
  np.testing.assert_allclose(mean, 0.1 * exact, rtol=1e-5)
