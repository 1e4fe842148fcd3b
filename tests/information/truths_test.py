"""Exact information, against mpmath's quadrature, sampling and identities."""

import mpmath
import numpy as np
import pytest
from scipy.stats import entropy

from softmax_research.information import (
  correlated_gaussian_information,
  discrete_information,
  gaussian_correlation,
  gaussian_mixture_information,
)

PRIOR = np.array([1, 2, 3, 4, 5]) / 15


def _oracle(means, prior, scale=1.0):
  """Integrates p(x, k) log p(x | k) / p(x) class by class with mpmath."""
  means, prior = [mpmath.mpf(m) for m in means], [mpmath.mpf(p) for p in prior]

  def density(x, mean):
    return mpmath.npdf(x, mean, scale)

  def integrand(x, k):
    own = density(x, means[k])
    return own * mpmath.log(own / sum(p * density(x, m) for p, m in zip(prior, means, strict=True)))

  total = mpmath.mpf(0)
  for k, mean in enumerate(means):
    points = [mean + step * scale for step in range(-12, 13, 2)]
    total += prior[k] * mpmath.quad(lambda x, k=k: integrand(x, k), points)
  return float(total)


@pytest.mark.parametrize(
  ("means", "prior", "scale"),
  [
    ([0, 2, -2, 4, -4], PRIOR, 1.0),
    ([0.0, 0.1], [0.9, 0.1], 1.0),
    ([1.0, 1.5, 7.0], [0.2, 0.5, 0.3], 0.7),
  ],
)
def test_mixtures_against_mpmath(means, prior, scale):
  ours = gaussian_mixture_information(means, np.log(prior), scale=scale)
  assert ours == pytest.approx(_oracle(means, prior, scale), abs=1e-8)


def test_classes_far_apart_have_the_entropy_of_the_labels_and_equal_ones_none():
  far = gaussian_mixture_information(np.arange(5) * 1e3, np.log(PRIOR))
  assert far == pytest.approx(entropy(PRIOR), abs=1e-10)
  assert gaussian_mixture_information(np.full(5, 3.0), np.log(PRIOR)) == pytest.approx(0, abs=1e-10)


def test_the_unit_of_length_does_not_matter():
  means = np.array([0.0, 2.0, 5.0])
  prior = np.log([0.2, 0.3, 0.5])
  once = gaussian_mixture_information(means, prior, scale=2.0)
  assert gaussian_mixture_information(means * 10, prior, scale=20.0) == pytest.approx(once)


def test_a_class_without_probability_changes_nothing():
  with_it = gaussian_mixture_information([0.0, 3.0, 50.0], [np.log(0.5), np.log(0.5), -np.inf])
  assert with_it == pytest.approx(gaussian_mixture_information([0.0, 3.0], np.log([0.5, 0.5])))


def test_correlated_gaussians_against_the_determinant():
  correlation, dimension = 0.6, 4
  identity = np.eye(dimension)
  joint = np.block([[identity, correlation * identity], [correlation * identity, identity]])
  expected = -0.5 * np.log(np.linalg.det(joint))
  assert correlated_gaussian_information(correlation, dimension) == pytest.approx(expected)
  assert correlated_gaussian_information(-correlation, dimension) == pytest.approx(expected)


@pytest.mark.parametrize(
  ("transform", "slope"),
  [
    (lambda y: y, np.ones_like),
    (np.sinh, np.cosh),
    (np.exp, np.exp),
    (lambda y: y**3 + y, lambda y: 3 * y**2 + 1),
  ],
)
def test_invertible_maps_leave_the_information_of_correlated_gaussians(transform, slope):
  x, y = np.linspace(-7, 7, 401), np.linspace(-7, 7, 2001)
  residual = (y[None] - 0.6 * x[:, None]) / 0.8
  joint = np.exp(-0.5 * (x[:, None] ** 2 + residual**2)) / (2 * np.pi * 0.8) / slope(y)
  u = transform(y)
  of_x, of_u = np.trapezoid(joint, u, axis=1), np.trapezoid(joint, x, axis=0)
  terms = joint * np.log(joint / (of_x[:, None] * of_u))
  found = np.trapezoid(np.trapezoid(terms, u, axis=1), x)
  assert found == pytest.approx(correlated_gaussian_information(0.6, 1), abs=1e-4)


@pytest.mark.parametrize(
  ("information", "expected"),
  [(2, 0.425757), (4, 0.574178), (6, 0.671706), (8, 0.742072), (10, 0.795060)],
)
def test_the_correlation_for_an_information(information, expected):
  correlation = gaussian_correlation(information, 20)
  assert correlation == pytest.approx(expected, abs=5e-7)
  assert correlated_gaussian_information(correlation, 20) == pytest.approx(information)


def test_discrete_information_is_the_difference_of_entropies():
  joint = np.random.default_rng(0).dirichlet(np.ones(12)).reshape(3, 4)
  expected = entropy(joint.sum(0)) + entropy(joint.sum(1)) - entropy(joint.ravel())
  assert discrete_information(joint) == pytest.approx(expected)


def test_a_symmetric_channel_whose_input_is_uniform_has_its_capacity():
  channel = np.where(np.eye(4), 0.7, 0.1)
  expected = np.log(4) - entropy([0.7, 0.1, 0.1, 0.1])
  assert discrete_information(channel / 4) == pytest.approx(expected)
  assert discrete_information(np.full((4, 4), 0.0625)) == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize(
  ("call", "message"),
  [
    (lambda: gaussian_mixture_information([0, 1], np.log([0.5, 0.6])), "sum to 1.1"),
    (lambda: gaussian_mixture_information([0, 1], np.log([0.5, 0.4995])), "sum to 0.9995"),
    (lambda: gaussian_mixture_information([0, 1, 2], np.log([0.5, 0.5])), "position for each"),
    (lambda: gaussian_mixture_information([0, np.inf], np.log([0.5, 0.5])), "finite position"),
    (lambda: gaussian_mixture_information([0, 1], np.log([0.5, 0.5]), scale=0), "scale=0"),
    (lambda: correlated_gaussian_information(1.0, 3), "correlation=1.0"),
    (lambda: correlated_gaussian_information(0.5, 0), "dimension=0"),
    (lambda: correlated_gaussian_information(0.5, np.nan), "dimension=nan; it must be an integer"),
    (lambda: gaussian_correlation(-1.0, 3), "information=-1.0"),
    (lambda: discrete_information([[0.5, -0.1], [0.3, 0.3]]), "non-negative"),
    (lambda: discrete_information([[1, 2], [3, 4]]), "sum 10"),
  ],
)
def test_bad_input_is_named(call, message):
  with pytest.raises(ValueError, match=message):
    call()
