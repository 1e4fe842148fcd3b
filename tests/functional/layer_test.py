"""Products, features and labels of output layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softmax_research.functional.layer import check_class_labels, check_features, product


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
