"""Links, against their formulas in the probability and in mpmath."""

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from softmax_research.functional import cross_entropy, focal_link, generalised_link, poly_link
from tests.derivatives import check_derivatives
from tests.programs import values_and_gradient

_LINKS = {
  "focal": (
    functools.partial(focal_link, gamma=2.0),
    lambda p: -((1 - p) ** 2) * mpmath.log(p),
  ),
  "focal, a power below one": (
    functools.partial(focal_link, gamma=0.3),
    lambda p: -((1 - p) ** mpmath.mpf(0.3)) * mpmath.log(p),
  ),
  "poly": (functools.partial(poly_link, epsilon=1.5), lambda p: -mpmath.log(p) + 1.5 * (1 - p)),
  "generalised": (
    functools.partial(generalised_link, q=0.7),
    lambda p: (1 - p ** mpmath.mpf(0.7)) / mpmath.mpf(0.7),
  ),
}
_ALL = pytest.mark.parametrize("name", _LINKS)


@_ALL
def test_values_and_slopes_are_those_of_the_formula(name):
  link, formula = _LINKS[name]
  losses = np.array([1e-12, 1e-5, 0.1, 1.0, 5.0, 40.0])
  with jax.enable_x64(True), mpmath.workdps(60):
    values, slopes = jax.jit(jax.vmap(jax.value_and_grad(link)))(losses)
    of_loss = lambda loss: formula(mpmath.exp(-loss))  # noqa: E731
    exact = [mpmath.mpf(float(loss)) for loss in losses]
    np.testing.assert_allclose(values, [float(of_loss(loss)) for loss in exact], rtol=1e-13)
    h = mpmath.mpf(10) ** -20
    expected = [float((of_loss(loss + h) - of_loss(loss - h)) / (2 * h)) for loss in exact]
  np.testing.assert_allclose(slopes, expected, rtol=1e-12, atol=1e-15)
  check_derivatives(link, np.array([0.05, 0.6, 3.0]))


@_ALL
def test_the_ends_have_finite_slopes(name):
  losses = np.array([0.0, -1e-8, np.inf, 1e30, np.nan])
  link, _ = _LINKS[name]
  run = jax.jit(lambda x: (link(x), jax.jacrev(link)(x), jax.jacfwd(link)(x)))
  values, *jacobians = jax.device_get(run(losses))
  for jacobian in jacobians:
    assert np.isfinite(np.diag(jacobian)[:4]).all()
  assert values[0] == 0
  assert values[2] == (np.float32(1 / 0.7) if name == "generalised" else np.inf)
  assert np.isnan(values[4])


def test_neutral_parameters_leave_the_loss():
  @jax.jit
  def run(losses, zero):
    same = (
      focal_link(losses, gamma=0),
      poly_link(losses, epsilon=0),
      generalised_link(losses, q=0),
      generalised_link(losses, q=zero),
    )
    slope = jax.grad(lambda x: focal_link(x, gamma=0.0))(losses[0])
    return same, generalised_link(losses, q=1e-6), slope

  losses = np.float32([0.0, 0.5, 7.0, np.inf])
  same, nearly, slope = jax.device_get(run(losses, 0.0))
  for found in same:
    np.testing.assert_array_equal(found, losses)
  np.testing.assert_allclose(nearly[:3], losses[:3], rtol=1e-5)
  assert slope == 1


def test_options_may_be_traced():
  def total(losses, gamma, epsilon, q):
    return (
      focal_link(losses, gamma=gamma)
      + poly_link(losses, epsilon=epsilon)
      + generalised_link(losses, q=q)
    )

  check_derivatives(total, np.array([0.3, 2.0]), 1.5, 0.5, 0.4)


def test_a_learnt_bound_may_begin_at_none():
  losses = np.float32([0.0, 0.5, 7.0, 1e18, np.inf])
  slopes = jax.jit(jax.jacfwd(lambda q: generalised_link(losses, q=q)))(0.0)
  np.testing.assert_allclose(slopes, [0, -0.125, -24.5, -5e35, 0], rtol=1e-6)


@_ALL
def test_an_unknown_label_stays_nan_without_a_gradient(name):
  link, _ = _LINKS[name]
  losses, gradient = values_and_gradient(
    lambda z: cross_entropy(z, np.array([2, 0, 0]), link=link),
    np.array([[1.0, 2.0], [np.nan, 0.0], [30.0, -400.0]]),
  )
  np.testing.assert_array_equal(np.isnan(losses), [True, True, False])
  np.testing.assert_array_equal(gradient[0], 0)
  assert np.isfinite(gradient[2]).all()


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_types_stay(dtype):
  values = jax.jit(lambda x: [link(x) for link, _ in _LINKS.values()])(np.array(0.5, dtype))
  for value, (_, formula) in zip(values, _LINKS.values(), strict=True):
    assert value.dtype == dtype
    exact = float(formula(mpmath.exp(mpmath.mpf(-0.5))))
    np.testing.assert_allclose(np.float64(value), exact, rtol=1e-2)


@pytest.mark.parametrize(
  "link, options, message",
  [
    (focal_link, {"gamma": -1}, "gamma=-1; it must be finite and >= 0"),
    (poly_link, {"epsilon": -2}, "epsilon=-2; it must be finite and >= -1"),
    (generalised_link, {"q": 1.5}, r"q=1.5; it must lie in \[0, 1\]"),
    (focal_link, {"gamma": np.ones(3)}, r"gamma of shape \(3,\)"),
  ],
)
def test_bad_options(link, options, message):
  with pytest.raises(ValueError, match=message):
    link(np.ones(2), **options)


def test_a_bounded_loss_has_a_slope_in_q_where_the_label_is_impossible():
  value, slope = jax.jit(jax.value_and_grad(lambda q: generalised_link(jnp.inf, q=q)))(0.5)
  assert (value, slope) == (2, -4)
