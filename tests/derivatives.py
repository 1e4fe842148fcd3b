"""Derivatives against finite differences in float64, each function's in one program."""

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np


def differences(function, x, step=1e-6):
  """Returns the gradient of the sum of a NumPy function's values by central differences."""
  found = np.zeros_like(x)
  for index in np.ndindex(*x.shape):
    moved = np.zeros_like(x)
    moved[index] = step
    found[index] = np.sum(function(x + moved) - function(x - moved)) / (2 * step)
  return found


def check_derivatives(function, *arguments):
  """Compares modes and orders of the derivatives of a JAX function's weighted sum.

  Along a direction v, reverse and forward mode must give the differences of values; forward over
  reverse those of gradients; and reverse over forward the same.
  """
  rng = np.random.default_rng(0)
  with jax.enable_x64(True):
    arguments = jax.tree.map(lambda value: jnp.asarray(value, jnp.float64), arguments)
    x, unravel = jax.flatten_util.ravel_pytree(arguments)
    direction = rng.normal(size=x.shape)
    weights = rng.normal(size=jax.eval_shape(function, *arguments).shape)

    def total(x):
      return jnp.sum(weights * function(*unravel(x)))

    def along(x):
      return jax.jvp(total, (x,), (direction,))[1]

    @jax.jit
    def derivatives(x):
      slopes, forward_over_reverse = jax.jvp(jax.grad(total), (x,), (direction,))
      return total(x), slopes, forward_over_reverse, *jax.value_and_grad(along)(x)

    at, above, below = (jax.device_get(derivatives(x + s * 1e-5 * direction)) for s in (0, 1, -1))
  _, slopes, forward_over_reverse, forward, reverse_over_forward = at
  value_change, slope_change = ((above[i] - below[i]) / 2e-5 for i in (0, 1))
  np.testing.assert_allclose(slopes @ direction, value_change, rtol=1e-6, atol=1e-7)
  np.testing.assert_allclose(forward, slopes @ direction, rtol=1e-10, atol=1e-12)
  np.testing.assert_allclose(forward_over_reverse, slope_change, rtol=1e-5, atol=1e-7)
  np.testing.assert_allclose(reverse_over_forward, forward_over_reverse, rtol=1e-9, atol=1e-11)
