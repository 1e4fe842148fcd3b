r"""Calibration after training: maps of log-probabilities, fitted to a validation split.

Each `fit` takes log-probabilities, or logits, `[N, K]` of a validation split and its labels `[N]`,
and returns a map of others, of the test split say, to calibrated ones.
"""

from collections.abc import Callable

import numpy as np

_BINS = 15
# The least probability that a histogram or a step function may give a class.
_FLOOR = 1e-6
# An impossible class is taken for a merely unlikely one.
_LEAST = -100.0

#: A fitted map of log-probabilities `[N, K]`.
Calibrator = Callable[[np.ndarray], np.ndarray]


def best_temperature(log_probs: np.ndarray, labels: np.ndarray) -> float:
  r"""Return the temperature of least negative log-likelihood, found in [1/100, 100].

  Args:
    log_probs: log-probabilities or logits `[N, K]`.
    labels: integers `[N]`.

  Example:
    >>> logits = np.log([[0.99, 0.01]] * 4)
    >>> print(f"{best_temperature(logits, np.array([0, 0, 0, 1])):.2f}")
    4.18

  Reference:
    Guo et al. 2017, "On Calibration of Modern Neural Networks" (arXiv 1706.04599), section 4.2.
  """
  from scipy import optimize  # noqa: PLC0415  # It takes long to import.

  logits, labels = _checked(log_probs, labels)

  def nll(log_temperature):
    return _nll(logits * np.exp(-log_temperature), labels)

  bounds = (-np.log(100), np.log(100))
  found = optimize.minimize_scalar(nll, bounds=bounds, method="bounded", options={"xatol": 1e-6})
  return float(np.exp(found.x))


def fit_temperature(log_probs: np.ndarray, labels: np.ndarray) -> Calibrator:
  r"""Fit temperature scaling: the softmax of :math:`z / T`, which changes no decision.

  Args:
    log_probs: log-probabilities or logits `[N, K]`.
    labels: integers `[N]`.

  Returns:
    The map.

  Example:
    >>> logits = np.log([[0.99, 0.01]] * 4)
    >>> print(np.exp(fit_temperature(logits, np.array([0, 0, 0, 1]))(logits[:1])).round(2))
    [[0.75 0.25]]

  Reference:
    Guo et al. 2017, "On Calibration of Modern Neural Networks" (arXiv 1706.04599), section 4.2.
  """
  temperature = best_temperature(log_probs, labels)
  return lambda new: _log_softmax(np.asarray(new, np.float64) / temperature)


def fit_vector_scaling(log_probs: np.ndarray, labels: np.ndarray) -> Calibrator:
  r"""Fit vector scaling: the softmax of :math:`w \odot z + b`, by maximum likelihood.

  Args:
    log_probs: log-probabilities or logits `[N, K]`.
    labels: integers `[N]`.

  Returns:
    The map.

  Example:
    >>> logits = np.log([[0.99, 0.01], [0.01, 0.99]] * 4)
    >>> labels = np.array([0, 1, 0, 1, 0, 1, 1, 0])
    >>> print(np.exp(fit_vector_scaling(logits, labels)(logits[:1])).round(2))
    [[0.75 0.25]]

  Reference:
    Guo et al. 2017, "On Calibration of Modern Neural Networks" (arXiv 1706.04599), section 4.2.
  """
  from scipy import optimize  # noqa: PLC0415  # It takes long to import.

  logits, labels = _checked(log_probs, labels)
  classes = logits.shape[1]

  def loss(values):
    weights, bias = np.split(values, 2)
    error = _error(logits * weights + bias, labels)
    slopes = np.concatenate([(error * logits).sum(0), error.sum(0)])
    return _nll(logits * weights + bias, labels), slopes

  start = np.concatenate([np.ones(classes), np.zeros(classes)])
  weights, bias = np.split(optimize.minimize(loss, start, jac=True, method="L-BFGS-B").x, 2)
  return lambda new: _log_softmax(_bounded(new) * weights + bias)


def fit_matrix_scaling(log_probs: np.ndarray, labels: np.ndarray) -> Calibrator:
  r"""Fit matrix scaling: the softmax of :math:`W z + b`, by maximum likelihood.

  Args:
    log_probs: log-probabilities or logits `[N, K]`.
    labels: integers `[N]`.

  Returns:
    The map.

  Example:
    >>> logits = np.log([[0.99, 0.01], [0.01, 0.99]] * 4)
    >>> labels = np.array([0, 1, 0, 1, 0, 1, 1, 0])
    >>> print(np.exp(fit_matrix_scaling(logits, labels)(logits[:1])).round(2))
    [[0.75 0.25]]

  Reference:
    Guo et al. 2017, "On Calibration of Modern Neural Networks" (arXiv 1706.04599), section 4.2.
  """
  from scipy import optimize  # noqa: PLC0415  # It takes long to import.

  logits, labels = _checked(log_probs, labels)
  classes = logits.shape[1]

  def unpack(values):
    return values[: classes**2].reshape(classes, classes), values[classes**2 :]

  def loss(values):
    weights, bias = unpack(values)
    error = _error(logits @ weights + bias, labels)
    slopes = np.concatenate([(logits.T @ error).ravel(), error.sum(0)])
    return _nll(logits @ weights + bias, labels), slopes

  start = np.concatenate([np.eye(classes).ravel(), np.zeros(classes)])
  weights, bias = unpack(optimize.minimize(loss, start, jac=True, method="L-BFGS-B").x)
  return lambda new: _log_softmax(_bounded(new) @ weights + bias)


def fit_histogram_binning(log_probs: np.ndarray, labels: np.ndarray) -> Calibrator:
  """Fit histogram binning: a class's share among the examples of a bin of its probability.

  Fifteen bins of one width; one that is empty keeps its middle. Then rows are normalised.

  Args:
    log_probs: log-probabilities or logits `[N, K]`.
    labels: integers `[N]`.

  Returns:
    The map.

  Example:
    >>> logits = np.log([[0.99, 0.01]] * 4)
    >>> print(np.exp(fit_histogram_binning(logits, np.array([0, 0, 0, 1]))(logits[:1])).round(2))
    [[0.75 0.25]]

  Reference:
    Guo et al. 2017, "On Calibration of Modern Neural Networks" (arXiv 1706.04599), section 4.1.
  """
  logits, labels = _checked(log_probs, labels)
  probs = _softmax(logits)

  def bins(column):
    return np.clip(np.ceil(column * _BINS).astype(int) - 1, 0, _BINS - 1)

  shares = []
  for k in range(probs.shape[1]):
    count = np.bincount(bins(probs[:, k]), minlength=_BINS)
    hits = np.bincount(bins(probs[:, k]), weights=labels == k, minlength=_BINS)
    centres = (np.arange(_BINS) + 0.5) / _BINS
    shares.append(np.where(count > 0, hits / np.maximum(count, 1), centres))

  def calibrate(new):
    columns = _softmax(np.asarray(new, np.float64)).T
    return _normalised(np.stack([of[bins(c)] for of, c in zip(shares, columns, strict=True)], 1))

  return calibrate


def fit_isotonic_regression(log_probs: np.ndarray, labels: np.ndarray) -> Calibrator:
  """Fit isotonic regression: a rising step function of each class's probability, then normalised.

  Args:
    log_probs: log-probabilities or logits `[N, K]`.
    labels: integers `[N]`.

  Returns:
    The map.

  Example:
    >>> logits = np.log([[0.99, 0.01]] * 4)
    >>> print(np.exp(fit_isotonic_regression(logits, np.array([0, 0, 0, 1]))(logits[:1])).round(2))
    [[0.75 0.25]]

  Reference:
    Guo et al. 2017, "On Calibration of Modern Neural Networks" (arXiv 1706.04599), section 4.1.
  """
  from sklearn.isotonic import IsotonicRegression  # noqa: PLC0415  # It takes long to import.

  logits, labels = _checked(log_probs, labels)
  probs = _softmax(logits)
  maps = [
    IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(probs[:, k], labels == k)
    for k in range(probs.shape[1])
  ]

  def calibrate(new):
    columns = _softmax(np.asarray(new, np.float64)).T
    return _normalised(np.stack([m.predict(c) for m, c in zip(maps, columns, strict=True)], 1))

  return calibrate


def _checked(log_probs, labels) -> tuple[np.ndarray, np.ndarray]:
  logits, labels = np.asarray(log_probs, np.float64), np.asarray(labels)
  if logits.ndim != 2 or labels.shape != logits.shape[:1] or not len(labels):
    raise ValueError(
      f"Got log-probabilities of shape {logits.shape} and labels of shape {labels.shape}; they "
      "must be [N, K] and [N] with N >= 1."
    )
  if labels.min() < 0 or labels.max() >= logits.shape[1]:
    raise ValueError(
      f"Got labels from {labels.min()} to {labels.max()} for {logits.shape[1]} classes; they must "
      f"lie in 0 to {logits.shape[1] - 1}."
    )
  return _bounded(logits), labels


def _bounded(logits):
  return np.maximum(np.asarray(logits, np.float64), _LEAST)


def _log_softmax(logits):
  shifted = logits - logits.max(axis=1, keepdims=True)
  return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _softmax(logits):
  return np.exp(_log_softmax(logits))


def _nll(logits, labels) -> float:
  return -float(_log_softmax(logits)[np.arange(len(labels)), labels].mean())


def _error(logits, labels):
  """Return the slope of the mean NLL in the logits."""
  probs = _softmax(logits)
  probs[np.arange(len(labels)), labels] -= 1
  return probs / len(labels)


def _normalised(shares):
  shares = np.maximum(shares, _FLOOR)
  return np.log(shares / shares.sum(1, keepdims=True))
