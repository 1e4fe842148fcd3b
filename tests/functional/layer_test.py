"""Products, features and labels of output layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from softmax_research.functional.layer import (
  check_class_labels,
  check_features,
  look_up,
  product,
)
from softmax_research.functional.mesh import has_explicit_mesh


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_summed_in_float32(dtype):
  # 4096 ones: neither type holds every partial sum.
  total = product(jnp.ones((1, 4096), dtype), jnp.ones((4096, 1), dtype))
  assert total.dtype == jnp.float32
  assert total[0, 0] == 4096


def test_wider_types_are_kept():
  with jax.enable_x64(True):
    assert product(jnp.ones((1, 2)), jnp.ones((2, 1), jnp.float32)).dtype == jnp.float64


@pytest.mark.parametrize(("features", "kernel"), [((), (2, 3)), ((4, 3), (2, 3)), ((2,), (2,))])
def test_features_must_fit_the_kernel(features, kernel):
  with pytest.raises(ValueError, match=r"must have the shapes \[\.\.\., D\] and \[D, K\]"):
    check_features(np.zeros(features), np.zeros(kernel))


def test_labels_are_checked_and_widened():
  features = np.zeros((2, 5))
  assert check_class_labels(np.array([1, 255], np.uint8), features, 1000, "").dtype == jnp.int32
  with pytest.raises(TypeError, match=r"Got labels of type float32.*Use cross_entropy\."):
    check_class_labels(jnp.zeros((2, 3)), features, 3, "Use cross_entropy.")
  with pytest.raises(ValueError, match=r"integer labels of shape \(3,\)"):
    check_class_labels([0, 1, 2], features, 3, "")


@pytest.mark.parametrize("table_spec", [P(), P(None, "data")])
@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_look_up_on_a_mesh(axis_type, table_spec):
  mesh = jax.make_mesh((8,), ("data",), axis_types=(axis_type,), devices=jax.devices("cpu"))
  table, indices = np.arange(128.0, dtype=np.float32).reshape(2, 64), 3 * np.arange(16)
  with jax.set_mesh(mesh):
    sharded = jax.device_put(table, NamedSharding(mesh, table_spec))
    places = jax.device_put(indices, NamedSharding(mesh, P("data")))
    assert has_explicit_mesh(places) == (axis_type == AxisType.Explicit)
    taken = jax.jit(look_up)(sharded, places)
    gradient = jax.jit(jax.grad(lambda table: look_up(table, places).sum()))(sharded)
  np.testing.assert_array_equal(taken, table[:, indices])
  np.testing.assert_array_equal(gradient, np.tile(np.isin(np.arange(64), indices), (2, 1)))
  if axis_type == AxisType.Explicit:
    assert taken.sharding.spec == P(None, "data")


def test_look_up_clips():
  assert look_up(np.array([5, 6]), jnp.array([[-3, 2]])).tolist() == [[5, 6]]
