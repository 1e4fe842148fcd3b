r"""Calibration after training: maps of log-probabilities, fitted to a validation split.

Each takes log-probabilities, or logits, `[N, K]` of a validation split and its labels, integers
`[N]`; a `fit` returns a map of others, of the test split say, to calibrated ones.

Reference:
  Guo et al. 2017, "On Calibration of Modern Neural Networks" (arXiv 1706.04599), section 4.1 for
  bins and isotonic regression, 4.2 for the others.
"""

from collections.abc import Callable

import numpy as np
from scipy import special

from softmax_research.training.metrics import NUM_BINS, bins_of, check_labels

# The least probability that a histogram or a step function may give a class.
_FLOOR = 1e-6
# A class so far below the likeliest is impossible: it has less than e^-100 at any temperature.
_IMPOSSIBLE = 1e4
# It is taken for a merely unlikely one, so far below the likeliest at least.
_UNLIKELY = 100.0

#: A fitted map of log-probabilities `[N, K]`.
Calibrator = Callable[[np.ndarray], np.ndarray]


def best_temperature(log_probs: np.ndarray, labels: np.ndarray) -> float:
  r"""Return the temperature of least negative log-likelihood, found in [1/100, 100].

  Example:
    >>> logits = np.log([[0.99, 0.01]] * 4)
    >>> print(f"{best_temperature(logits, np.array([0, 0, 0, 1])):.2f}")
    4.18
  """
  from scipy import optimize  # noqa: PLC0415  # It takes long to import.

  logits, labels = _checked(log_probs, labels)

  def nll(log_temperature):
    scaled = special.log_softmax(logits * np.exp(-log_temperature), axis=1)
    return -scaled[np.arange(len(labels)), labels].mean()

  bounds = (-np.log(100), np.log(100))
  found = optimize.minimize_scalar(nll, bounds=bounds, method="bounded", options={"xatol": 1e-6})
  return float(np.exp(found.x))


def fit_temperature(log_probs: np.ndarray, labels: np.ndarray) -> Calibrator:
  r"""Fit temperature scaling: the softmax of :math:`z / T`, which changes no decision.

  Example:
    >>> logits = np.log([[0.99, 0.01]] * 4)
    >>> print(np.exp(fit_temperature(logits, np.array([0, 0, 0, 1]))(logits[:1])).round(2))
    [[0.75 0.25]]
  """
  temperature = best_temperature(log_probs, labels)
  return lambda new: special.log_softmax(np.asarray(new, np.float64) / temperature, axis=1)


def fit_vector_scaling(log_probs: np.ndarray, labels: np.ndarray) -> Calibrator:
  r"""Fit vector scaling: the softmax of :math:`w \odot z + b`, by maximum likelihood.

  Example:
    >>> logits = np.log([[0.99, 0.01], [0.01, 0.99]] * 4)
    >>> labels = np.array([0, 1, 0, 1, 0, 1, 1, 0])
    >>> print(np.exp(fit_vector_scaling(logits, labels)(logits[:1])).round(2))
    [[0.75 0.25]]
  """
  return _fit_scaling(
    log_probs,
    labels,
    start=np.ones,
    scale=lambda logits, weights: logits * weights,
    slope=lambda logits, error: (logits * error).sum(0),
  )


def fit_matrix_scaling(log_probs: np.ndarray, labels: np.ndarray) -> Calibrator:
  r"""Fit matrix scaling: the softmax of :math:`W z + b`, by maximum likelihood.

  Example:
    >>> logits = np.log([[0.99, 0.01], [0.01, 0.99]] * 4)
    >>> labels = np.array([0, 1, 0, 1, 0, 1, 1, 0])
    >>> print(np.exp(fit_matrix_scaling(logits, labels)(logits[:1])).round(2))
    [[0.75 0.25]]
  """
  return _fit_scaling(
    log_probs,
    labels,
    start=np.eye,
    scale=lambda logits, weights: logits @ weights,
    slope=lambda logits, error: logits.T @ error,
  )


def fit_histogram_binning(log_probs: np.ndarray, labels: np.ndarray) -> Calibrator:
  """Fit histogram binning: a class's share among the examples of a bin of its probability.

  Fifteen bins of one width; one that is empty keeps its middle. Then rows are normalised.

  Example:
    >>> logits = np.log([[0.99, 0.01]] * 4)
    >>> print(np.exp(fit_histogram_binning(logits, np.array([0, 0, 0, 1]))(logits[:1])).round(2))
    [[0.75 0.25]]
  """

  def fit_one(probs, is_class):
    count = np.bincount(bins_of(probs), minlength=NUM_BINS)
    hits = np.bincount(bins_of(probs), weights=is_class, minlength=NUM_BINS)
    centres = (np.arange(NUM_BINS) + 0.5) / NUM_BINS
    shares = np.where(count > 0, hits / np.maximum(count, 1), centres)
    return lambda new: shares[bins_of(new)]

  return _fit_classes(log_probs, labels, fit_one)


def fit_isotonic_regression(log_probs: np.ndarray, labels: np.ndarray) -> Calibrator:
  """Fit isotonic regression: a rising step function of each class's probability, then normalised.

  Example:
    >>> logits = np.log([[0.99, 0.01]] * 4)
    >>> print(np.exp(fit_isotonic_regression(logits, np.array([0, 0, 0, 1]))(logits[:1])).round(2))
    [[0.75 0.25]]
  """
  from sklearn.isotonic import IsotonicRegression  # noqa: PLC0415  # It takes long to import.

  def fit_one(probs, is_class):
    steps = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
    return steps.fit(probs, is_class).predict

  return _fit_classes(log_probs, labels, fit_one)


def _fit_scaling(log_probs, labels, *, start, scale, slope) -> Calibrator:
  """Fit weights, which begin at `start(K)`, and a bias to the scaled logits by L-BFGS.

  `slope` is that of the loss in the weights, by its slope in the scaled logits.
  """
  from scipy import optimize  # noqa: PLC0415  # It takes long to import.

  logits, labels = _checked(log_probs, labels)
  first, one_hot = start(logits.shape[1]), np.eye(logits.shape[1])[labels]

  def unpack(values):
    return values[: first.size].reshape(first.shape), values[first.size :]

  def loss(values):
    weights, bias = unpack(values)
    scaled = special.log_softmax(scale(logits, weights) + bias, axis=1)
    error = (np.exp(scaled) - one_hot) / len(labels)
    slopes = np.concatenate([slope(logits, error).ravel(), error.sum(0)])
    return -scaled[np.arange(len(labels)), labels].mean(), slopes

  begin = np.concatenate([first.ravel(), np.zeros(logits.shape[1])])
  weights, bias = unpack(optimize.minimize(loss, begin, jac=True, method="L-BFGS-B").x)
  return lambda new: special.log_softmax(scale(_bounded(new), weights) + bias, axis=1)


def _fit_classes(log_probs, labels, fit_one: Callable[..., Callable]) -> Calibrator:
  """Fit a map of each class's probability alone, and normalise what the maps give."""
  logits, labels = _checked(log_probs, labels)
  columns = special.softmax(logits, axis=1).T
  maps = [fit_one(column, labels == k) for k, column in enumerate(columns)]

  def calibrate(new):
    columns = special.softmax(np.asarray(new, np.float64), axis=1).T
    shares = np.stack([of(column) for of, column in zip(maps, columns, strict=True)], axis=1)
    shares = np.maximum(shares, _FLOOR)
    return np.log(shares / shares.sum(1, keepdims=True))

  return calibrate


def _checked(log_probs, labels) -> tuple[np.ndarray, np.ndarray]:
  logits, labels = np.asarray(log_probs, np.float64), np.asarray(labels)
  check_labels(logits, labels)
  if np.any(missing := np.isnan(logits).any(1)):
    raise ValueError(
      f"Got NaN among the log-probabilities of {missing.sum()} examples, the first of them "
      f"{int(np.argmax(missing))}; leave them out, or train the model anew."
    )
  return _bounded(logits), labels


def _bounded(logits):
  """Return logits in which impossible classes are as unlikely as the least of the others."""
  logits = np.asarray(logits, np.float64)
  # Logits are defined up to a constant, and all of a row may be low.
  largest = np.max(logits, axis=1, keepdims=True, initial=-np.inf)
  largest = np.where(np.isfinite(largest), largest, 0)
  possible = logits > largest - _IMPOSSIBLE
  least = np.min(logits, axis=1, keepdims=True, initial=np.inf, where=possible)
  return np.where(possible, logits, np.minimum(least, largest - _UNLIKELY))


#: What fits each method, by its name in Guo et al.'s table.
FITS = {
  "histogram binning": fit_histogram_binning,
  "isotonic regression": fit_isotonic_regression,
  "temperature scaling": fit_temperature,
  "vector scaling": fit_vector_scaling,
  "matrix scaling": fit_matrix_scaling,
}
