"""Calibration after training: maps fitted to validation predictions, judged on the test split."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import optimize, special

from experiments import assembly, runs
from softmax_research import training

_BINS = 15
# The least probability that a histogram or a step function may give a class.
_FLOOR = 1e-6

#: A fitted map of log-probabilities `[N, K]`.
Calibrator = Callable[[np.ndarray], np.ndarray]


def calibrations(predictions: runs.Predictions, splits: assembly.Splits) -> dict[str, Any]:
  """Fit each method of Guo et al. to the validation split and judge it on the test split.

  Args:
    predictions: log-probabilities of one model.
    splits: the data.

  Returns:
    By method `ece`, `mce`, `nll` and `error`; of temperature scaling also the `temperature`.

  Reference:
    Guo et al. 2017, "On Calibration of Modern Neural Networks" (arXiv 1706.04599), section 4.
  """
  fitted = {name: fit(*_finite(predictions, splits)) for name, fit in METHODS.items()}
  found = {}
  for name, calibrate in {"uncalibrated": lambda logits: logits, **fitted}.items():
    log_probs = calibrate(np.asarray(predictions.test, np.float64))
    scores = training.evaluate(log_probs.astype(np.float32), splits.test.labels)
    found[name] = {key: scores[key] for key in ("ece", "mce", "nll", "error")}
  found["temperature scaling"]["temperature"] = temperature(*_finite(predictions, splits))
  return found


def _finite(predictions, splits):
  """Return the validation split's log-probabilities, an impossible class being merely unlikely."""
  log_probs = np.asarray(predictions.validation, np.float64)
  return np.maximum(log_probs, -100.0), splits.validation.labels


def temperature(logits: np.ndarray, labels: np.ndarray) -> float:
  """Return the temperature of least NLL, found in [1/100, 100].

  Example:
    >>> logits = np.log([[0.99, 0.01]] * 4)
    >>> probs = special.softmax(logits / temperature(logits, np.array([0, 0, 0, 1])), axis=1)
    >>> print(f"{probs[0, 0]:.3f}")
    0.750
  """

  def nll(log_temperature):
    return _nll(logits * np.exp(-log_temperature), labels)

  bounds = (-np.log(100), np.log(100))
  found = optimize.minimize_scalar(nll, bounds=bounds, method="bounded", options={"xatol": 1e-6})
  return float(np.exp(found.x))


def _fit_temperature(logits, labels) -> Calibrator:
  best = temperature(logits, labels)
  return lambda new: _log_softmax(new / best)


def _fit_vector(logits, labels) -> Calibrator:
  classes = logits.shape[1]

  def loss(values):
    weights, bias = np.split(values, 2)
    error = _error(logits * weights + bias, labels)
    slopes = np.concatenate([(error * logits).sum(0), error.sum(0)])
    return _nll(logits * weights + bias, labels), slopes

  start = np.concatenate([np.ones(classes), np.zeros(classes)])
  weights, bias = np.split(optimize.minimize(loss, start, jac=True, method="L-BFGS-B").x, 2)
  return lambda new: _log_softmax(_bounded(new) * weights + bias)


def _fit_matrix(logits, labels) -> Calibrator:
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


def _fit_histogram(logits, labels) -> Calibrator:
  """Give each class the share of its label among the examples of a bin, then normalise."""
  probs = special.softmax(logits, axis=1)

  def bins(column):
    return np.clip(np.ceil(column * _BINS).astype(int) - 1, 0, _BINS - 1)

  shares = []
  for k in range(probs.shape[1]):
    count = np.bincount(bins(probs[:, k]), minlength=_BINS)
    hits = np.bincount(bins(probs[:, k]), weights=labels == k, minlength=_BINS)
    centres = (np.arange(_BINS) + 0.5) / _BINS
    shares.append(np.where(count > 0, hits / np.maximum(count, 1), centres))

  def calibrate(new):
    columns = special.softmax(new, axis=1).T
    return _normalised(np.stack([of[bins(c)] for of, c in zip(shares, columns, strict=True)], 1))

  return calibrate


def _fit_isotonic(logits, labels) -> Calibrator:
  """Map each class's probability by a rising step function, then normalise."""
  from sklearn.isotonic import IsotonicRegression  # noqa: PLC0415  # It takes long to import.

  probs = special.softmax(logits, axis=1)
  maps = [
    IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(probs[:, k], labels == k)
    for k in range(probs.shape[1])
  ]

  def calibrate(new):
    columns = special.softmax(new, axis=1).T
    return _normalised(np.stack([m.predict(c) for m, c in zip(maps, columns, strict=True)], 1))

  return calibrate


def _bounded(logits):
  return np.maximum(logits, -100.0)


def _log_softmax(logits):
  return special.log_softmax(logits, axis=1)


def _nll(logits, labels) -> float:
  return -float(_log_softmax(logits)[np.arange(len(labels)), labels].mean())


def _error(logits, labels):
  """Return the slope of the mean NLL in the logits."""
  probs = special.softmax(logits, axis=1)
  probs[np.arange(len(labels)), labels] -= 1
  return probs / len(labels)


def _normalised(shares):
  shares = np.maximum(shares, _FLOOR)
  return np.log(shares / shares.sum(1, keepdims=True))


#: Methods of Guo et al. by the names of their table.
METHODS: dict[str, Callable[[np.ndarray, np.ndarray], Calibrator]] = {
  "histogram binning": _fit_histogram,
  "isotonic regression": _fit_isotonic,
  "temperature scaling": _fit_temperature,
  "vector scaling": _fit_vector,
  "matrix scaling": _fit_matrix,
}
