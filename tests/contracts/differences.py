"""Derivatives by finite differences in float64, for the contract suite."""

import jax
import jax.numpy as jnp
import numpy as np


def gradient(function, x, step=1e-6):
  """Returns the gradient of the sum of a NumPy function's values by central differences."""
  found = np.zeros_like(x)
  for index in np.ndindex(*x.shape):
    moved = np.zeros_like(x)
    moved[index] = step
    found[index] = np.sum(function(x + moved) - function(x - moved)) / (2 * step)
  return found


def check_second_derivatives(function, x):
  """Compares modes and orders of a JAX function's derivatives, in one program.

  Along a direction v, forward mode must give the gradient's product with v; forward over reverse
  the differences of gradients; and reverse over forward the same.
  """
  rng = np.random.default_rng(0)
  direction = rng.normal(size=x.shape)

  def total(x, weights):
    return jnp.sum(weights * function(x))

  @jax.jit
  def derivatives(x, weights):
    def along(x):
      return jax.jvp(lambda x: total(x, weights), (x,), (direction,))[1]

    slopes, forward_over_reverse = jax.jvp(
      jax.grad(lambda x: total(x, weights)), (x,), (direction,)
    )
    return slopes, forward_over_reverse, *jax.value_and_grad(along)(x)

  with jax.enable_x64(True):
    weights = rng.normal(size=jax.eval_shape(function, x).shape)
    slopes, forward_over_reverse, forward, reverse_over_forward = jax.device_get(
      derivatives(x, weights)
    )
    near = [jax.device_get(derivatives(x + s * 1e-5 * direction, weights))[0] for s in (1, -1)]
  np.testing.assert_allclose(forward, np.sum(slopes * direction), rtol=1e-11, atol=1e-13)
  expected = (near[0] - near[1]) / 2e-5
  np.testing.assert_allclose(forward_over_reverse, expected, rtol=1e-6, atol=1e-8)
  np.testing.assert_allclose(reverse_over_forward, forward_over_reverse, rtol=1e-10, atol=1e-12)
