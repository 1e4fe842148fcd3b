"""Dropout under pmap draws the masks that one device would draw for the whole batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from softmax_research.nn.dropout import Dropout


@pytest.mark.parametrize("batch_axis", [0, -1])
def test_shares_of_a_batch_get_their_own_parts_of_one_mask(batch_axis):
  inputs = jnp.arange(1.0, 49.0).reshape((8, 6) if batch_axis == 0 else (6, 8))

  def apply(share, axis_name=None):
    dropout = Dropout(0.4, axis_name=axis_name)
    return dropout(share, deterministic=False, rngs=nnx.Rngs(3), batch_axis=batch_axis)

  shares = jnp.stack(jnp.split(inputs, 4, axis=batch_axis))
  parts = jax.vmap(lambda share: apply(share, "data"), axis_name="data")(shares)
  whole = apply(inputs)
  assert 0 < np.count_nonzero(whole) < whole.size
  np.testing.assert_allclose(jnp.concatenate(parts, axis=batch_axis), whole, rtol=1e-6)
