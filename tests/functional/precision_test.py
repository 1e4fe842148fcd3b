"""Widening at the boundary."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softmax_research.functional.precision import widen


@pytest.mark.parametrize(
  "given, wide, narrow",
  [
    (jnp.float16, jnp.float32, jnp.float16),
    (jnp.bfloat16, jnp.float32, jnp.bfloat16),
    (jnp.float32, jnp.float32, jnp.float32),
    (jnp.int8, jnp.float32, jnp.float32),
    (jnp.bool_, jnp.float32, jnp.float32),
  ],
)
def test_types(given, wide, narrow):
  values, result_type = widen(jnp.ones(3, given))
  assert values.dtype == wide
  assert result_type == narrow


def test_double_stays_double():
  with jax.enable_x64(True):
    values, result_type = widen(np.ones(3))
  assert values.dtype == result_type == jnp.float64


def test_lists_become_arrays():
  values, _ = widen([1, 2])
  assert isinstance(values, jax.Array)


def test_complex_values_are_refused():
  with pytest.raises(TypeError, match=r"complex64.*real"):
    widen(jnp.ones(1, jnp.complex64))
