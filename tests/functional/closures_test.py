"""What a function closes over, as an argument of it."""

import jax
import jax.numpy as jnp

from softmax_research.functional.closures import hoist


def test_python_numbers_that_are_differentiated_become_arrays():
  # Outside of jit a tracer may stand for a Python number.
  def total(temperature):
    scaled = hoist(lambda logit: logit / temperature, jnp.float32)
    assert [constant.shape for constant in scaled.constants] == [()]
    return scaled.call(scaled.constants, jnp.array([[3.0], [4.0]])).sum()

  assert jax.grad(total)(2.0) == -7 / 4


def test_arguments_that_are_not_used():
  uses = hoist(lambda a, b, c: a * jnp.exp(c), jnp.float32, num_arguments=3).uses
  assert uses == [True, False, True]
