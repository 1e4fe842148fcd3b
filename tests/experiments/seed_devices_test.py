"""Seeds over devices: as many devices as divide the seeds evenly, and arrays as they were."""

import jax
import numpy as np

from experiments.information import seed_devices


def test_seeds_are_divided_evenly():
  tree = {"a": np.arange(36.0).reshape(3, 12), "b": np.arange(24).reshape(2, 12)}
  divided = seed_devices.divide(tree, axis=1)
  for name, array in tree.items():
    np.testing.assert_array_equal(divided[name], array)
  most = len(jax.devices())
  count = max(n for n in (1, 2, 3, 4, 6, 12) if n <= most)
  assert len(divided["a"].sharding.device_set) == count
  assert {shard.data.shape for shard in divided["a"].addressable_shards} == {(3, 12 // count)}
