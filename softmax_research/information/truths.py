"""Mutual information known exactly: by closed form, or by quadrature in float64."""

import numpy as np
import scipy.special

from softmax_research.functional.arrays import check_integer
from softmax_research.functional.priors import check_log_prior


def gaussian_mixture_information(
  means: np.typing.ArrayLike, log_prior: np.typing.ArrayLike, *, scale: float = 1.0
) -> float:
  r"""Compute the information between a label and a Gaussian around its class's mean on a line.

  .. math::
    I(X; Y) = h(X) - \tfrac{1}{2} \log (2 \pi e \sigma^2), \qquad
    X \mid Y = k \sim N(\mu_k, \sigma^2), \quad P(Y = k) = P_k

  Classes in d dimensions whose means lie on one line, with the same spherical covariance, have
  the information of their projections on that line: pass the means' positions along it.

  Args:
    means: positions of the classes' means on the line, `[K]`.
    log_prior: logarithms of the classes' probabilities, `[K]`.
    scale: the standard deviation sigma.

  Returns:
    The information in nats, to 1e-8.

  Raises:
    ValueError: the shapes differ, the probabilities do not sum to one, a mean is not finite or
      the scale is not positive.

  Example:
    >>> round(gaussian_mixture_information([-1.0, 1.0], np.log([0.5, 0.5])), 6)
    0.336831

  Reference:
    The experiment of Qin et al. 2019 (arXiv 1911.10688), whose means lie on one line.
  """
  check_log_prior("log_prior", log_prior, tolerance=1e-6)
  means, prior = np.asarray(means, np.float64), np.exp(np.asarray(log_prior, np.float64))
  if prior.ndim != 1 or means.shape != prior.shape or not np.all(np.isfinite(means)):
    raise ValueError(
      f"Got means={means.tolist()} for {prior.size} probabilities; pass a finite position for each."
    )
  if not (np.isfinite(scale) and scale > 0):
    raise ValueError(f"Got scale={scale}; a standard deviation is finite and positive.")
  means, prior = means / scale, prior / prior.sum()  # The information knows no units.
  # The trapezium rule, whose error falls exponentially where the integrand is as smooth as here;
  # beyond twelve standard deviations a class has less than 1e-31.
  noise = np.arange(-12, 12, 1 / 32)
  density = np.exp(-0.5 * noise**2) / np.sum(np.exp(-0.5 * noise**2))
  total = 0.0
  for mean, probability in zip(means, prior, strict=True):
    squares = (noise[:, None] + mean - means) ** 2
    log_mixture = scipy.special.logsumexp(-0.5 * squares, axis=1, b=prior)
    total += probability * np.sum(density * (-0.5 * noise**2 - log_mixture))
  return float(total)


def correlated_gaussian_information(correlation: float, dimension: int) -> float:
  r"""Compute the information between two Gaussian vectors correlated component by component.

  .. math:: I(X; Y) = -\frac{d}{2} \log (1 - \rho^2)

  It stays the same under an invertible map of either vector, as the cube, the hyperbolic sine or
  the exponential of each component.

  Args:
    correlation: rho, between each component of X and its partner in Y.
    dimension: d.

  Returns:
    The information in nats.

  Raises:
    ValueError: the correlation is not within (-1, 1), or the dimension below 1.

  Example:
    >>> round(correlated_gaussian_information(0.5, 20), 6)
    2.876821

  Reference:
    Belghazi et al. 2018 (arXiv 1801.04062), section 4.1.
  """
  check_integer("dimension", dimension)
  if not -1 < correlation < 1:
    raise ValueError(
      f"Got correlation={correlation}; it must lie strictly between -1 and 1, where the "
      "information is finite."
    )
  return float(-0.5 * dimension * np.log1p(-(correlation**2)))


def gaussian_correlation(information: float, dimension: int) -> float:
  r"""Compute the correlation at which two Gaussian vectors have this information.

  .. math:: \rho = \sqrt{1 - e^{-2 I / d}}

  Args:
    information: I in nats, finite and not negative.
    dimension: d.

  Returns:
    The correlation, in [0, 1).

  Raises:
    ValueError: the information is negative or infinite, or the dimension below 1.

  Example:
    >>> round(gaussian_correlation(2.0, 20), 6)
    0.425757

  Reference:
    Poole et al. 2019 (arXiv 1905.06922), section 3.
  """
  check_integer("dimension", dimension)
  if not 0 <= information < np.inf:
    raise ValueError(f"Got information={information}; pass finite nats, at least 0.")
  return float(np.sqrt(-np.expm1(-2 * information / dimension)))


def discrete_information(joint: np.typing.ArrayLike) -> float:
  r"""Compute the information between two discrete variables from their joint distribution.

  .. math:: I(X; Y) = \sum_{a, b} p_{ab} \log \frac{p_{ab}}{p_a p_b}

  Args:
    joint: probabilities of the pairs, `[A, B]`, with sum one.

  Returns:
    The information in nats.

  Raises:
    ValueError: it is not a matrix of non-negative numbers with sum one.

  Example:
    >>> round(discrete_information([[0.5, 0.0], [0.0, 0.5]]), 6)
    0.693147

  Reference:
    Cover & Thomas 2006, "Elements of Information Theory", eq. 2.28.
  """
  joint = np.asarray(joint, np.float64)
  if joint.ndim != 2 or not np.all(joint >= 0) or not abs(joint.sum() - 1) < 1e-6:
    raise ValueError(
      f"Got joint of shape {joint.shape} with sum {joint.sum():.6g}; it must be a matrix of "
      "non-negative probabilities with sum 1. Divide counts by their total."
    )
  product = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
  return float(np.sum(scipy.special.rel_entr(joint, product)))
