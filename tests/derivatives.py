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


def check_derivatives(function, *arguments, oracle=None):
  """Compares modes and orders of the derivatives of a JAX function's weighted sum.

  Along a direction v, reverse and forward mode must give the differences of values; forward over
  reverse those of gradients; and reverse over forward the same. Values and gradient must be those
  of the oracle, a NumPy function of one argument, if there is one.
  """
  rng = np.random.default_rng(0)
  with jax.enable_x64(True):
    arguments = jax.tree.map(lambda value: jnp.asarray(value, jnp.float64), arguments)
    x, unravel = jax.flatten_util.ravel_pytree(arguments)
    direction = rng.normal(size=x.shape)
    weights = rng.normal(size=jax.eval_shape(function, *arguments).shape)

    def total(x):
      values = function(*unravel(x))
      return jnp.sum(weights * values), values

    def along(x):
      return jax.jvp(lambda x: total(x)[0], (x,), (direction,))[1]

    @jax.jit
    def derivatives(x):
      gradient = jax.grad(total, has_aux=True)
      slopes, forward_over_reverse, values = jax.jvp(gradient, (x,), (direction,), has_aux=True)
      return values, slopes, forward_over_reverse, *jax.value_and_grad(along)(x)

    at, above, below = (jax.device_get(derivatives(x + s * 1e-5 * direction)) for s in (0, 1, -1))
  values, slopes, forward_over_reverse, forward, reverse_over_forward = at
  value_change = np.sum(weights * (above[0] - below[0])) / 2e-5
  slope_change = (above[1] - below[1]) / 2e-5
  np.testing.assert_allclose(slopes @ direction, value_change, rtol=1e-6, atol=1e-7)
  np.testing.assert_allclose(forward, slopes @ direction, rtol=1e-10, atol=1e-12)
  np.testing.assert_allclose(forward_over_reverse, slope_change, rtol=1e-5, atol=1e-7)
  np.testing.assert_allclose(reverse_over_forward, forward_over_reverse, rtol=1e-9, atol=1e-11)
  if oracle is not None:
    (x,) = jax.device_get(arguments)
    np.testing.assert_allclose(values, oracle(x), rtol=1e-11, atol=1e-13)
    expected = differences(lambda z: weights * oracle(z), x)
    np.testing.assert_allclose(slopes.reshape(x.shape), expected, rtol=2e-6, atol=1e-8)
