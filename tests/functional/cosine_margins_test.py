"""Additive cosine and angular margins against arccos in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softmax_research.functional import (
  additive_angular_margin,
  additive_cosine_margin,
  cross_entropy,
)
from tests.derivatives import check_derivatives

COSINES = np.array([[0.5, -0.25, 0.75], [0.0, 0.9, -0.99]])
LABELS = np.array([2, 2])


def _angular(cosine, margin):
  angle = np.arccos(cosine)
  past = angle >= np.pi - margin
  return np.where(past, cosine - margin * np.sin(margin), np.cos(angle + margin))


def test_cosine_margin():
  lowered = additive_cosine_margin(COSINES, LABELS, margin=0.25)
  np.testing.assert_allclose(lowered, [[0.5, -0.25, 0.5], [0, 0.9, -1.24]], rtol=1e-6)


@pytest.mark.parametrize("margin", [0.0, 0.1, 0.5, np.pi / 2])
def test_angular_margin(margin):
  with jax.enable_x64(True):
    result = additive_angular_margin(COSINES, LABELS, margin=margin)
  np.testing.assert_allclose(result[:, 2], _angular(COSINES[:, 2], margin), rtol=1e-12)
  np.testing.assert_array_equal(result[:, :2], COSINES[:, :2])


@settings(max_examples=40, deadline=None)
@given(st.floats(0, np.pi), st.floats(0, np.pi), st.floats(0, np.pi / 2))
def test_the_label_falls_as_its_angle_grows(first, second, margin):
  cosines = np.float32(np.cos([[min(first, second)], [max(first, second)]]))
  near, far = additive_angular_margin(cosines, [0, 0], margin=margin)[:, 0]
  assert near >= far - 1e-6
  assert near <= cosines[0, 0] + 1e-6


def test_slopes():
  cosines, margin = np.array([-0.95, -0.6, 0.0, 0.3, 0.9]), 0.5
  with jax.enable_x64(True):
    slope = jax.vmap(jax.grad(lambda c: additive_angular_margin(c[None], 0, margin=margin)[0]))(
      cosines
    )
  angles = np.arccos(cosines)
  expected = np.where(angles < np.pi - margin, np.sin(angles + margin) / np.sin(angles), 1)
  np.testing.assert_allclose(slope, expected, rtol=1e-12)


@pytest.mark.parametrize("cosine", [1.0, 1.0 + 1e-6, -1.0, -1.0 - 1e-6])
@pytest.mark.parametrize("transform", [jax.jacrev, jax.jacfwd])
def test_slopes_are_finite_at_the_ends(cosine, transform):
  slope = transform(lambda c: additive_angular_margin(c, 0, margin=0.5))(jnp.array([cosine]))
  np.testing.assert_allclose(slope, [[np.cos(0.5) if cosine > 0 else 1]], rtol=1e-6)


def test_second_order_and_both_modes():
  check_derivatives(
    lambda c, m: cross_entropy(30 * additive_angular_margin(c, LABELS, margin=m), LABELS),
    COSINES,
    0.4,
  )


@pytest.mark.parametrize("margin_of", [additive_cosine_margin, additive_angular_margin])
def test_properties_that_both_share(margin_of):
  np.testing.assert_allclose(margin_of(COSINES, LABELS, margin=0), COSINES, rtol=1e-6)
  hard = margin_of(COSINES, LABELS, margin=0.3)
  np.testing.assert_allclose(margin_of(COSINES, np.eye(3)[LABELS], margin=0.3), hard, rtol=1e-6)
  np.testing.assert_allclose(margin_of(COSINES, [3, -1], margin=0.3), COSINES, rtol=1e-6)
  impossible = jnp.array([[-jnp.inf, 0.5]])
  value, pull_back = jax.vjp(lambda c: margin_of(c, [0], margin=0.3), impossible)
  np.testing.assert_array_equal(value, impossible)
  assert jnp.all(jnp.isfinite(pull_back(jnp.array([[0.0, 1.0]]))[0]))
  half = margin_of(jnp.asarray(COSINES, jnp.bfloat16), LABELS, margin=0.3)
  assert half.dtype == jnp.bfloat16
  np.testing.assert_allclose(np.asarray(half, np.float64), hard, atol=1e-2)


@pytest.mark.parametrize(
  "margin_of, margin",
  [
    (additive_cosine_margin, -0.1),
    (additive_angular_margin, -0.1),
    (additive_angular_margin, np.nan),
    (additive_angular_margin, 1.6),
  ],
)
def test_bad_margins(margin_of, margin):
  with pytest.raises(ValueError, match="margin="):
    margin_of(COSINES, LABELS, margin=margin)


def test_bad_labels():
  with pytest.raises(ValueError, match="one class index"):
    additive_angular_margin(COSINES, [0], margin=0.5)
