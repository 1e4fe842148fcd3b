"""The members of the family for the contract suite: a new variant joins by one line.

Each stands beside an oracle in float64 numpy, written from the formula and sharing no code with
what it checks.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from softmax_research import functional

# --- oracles: numpy, float64, one row at a time along the last axis ---


def _normalised(values):
  return values / values.sum(-1, keepdims=True)


def _softmax(logits):
  return _normalised(np.exp(logits - logits.max(-1, keepdims=True)))


def _series(logits, order):
  return sum(logits**k / math.factorial(k) for k in range(order + 1))


def _entmax(logits, alpha):
  """Bisect for the threshold: the probabilities' sum falls as it rises."""
  scaled = (alpha - 1) * logits
  low, high = scaled.max(-1, keepdims=True) - 1, scaled.max(-1, keepdims=True)
  for _ in range(200):
    middle = (low + high) / 2
    too_much = (np.maximum(scaled - middle, 0) ** (1 / (alpha - 1))).sum(-1, keepdims=True) >= 1
    low, high = np.where(too_much, middle, low), np.where(too_much, high, middle)
  return _normalised(np.maximum(scaled - low, 0) ** (1 / (alpha - 1)))


def _tempered(logits, t):
  """Bisect for lambda, at most where each of K classes has the probability 1/K."""
  top = logits.max(-1, keepdims=True)
  low, high = top, top + (logits.shape[-1] ** (t - 1) - 1) / (t - 1)
  for _ in range(200):
    middle = (low + high) / 2
    too_much = ((1 + (t - 1) * (middle - logits)) ** (1 / (1 - t))).sum(-1, keepdims=True) >= 1
    low, high = np.where(too_much, middle, low), np.where(too_much, high, middle)
  return _normalised((1 + (t - 1) * (low - logits)) ** (1 / (1 - t)))


def _weighted(logits, weights):
  return _normalised(weights * np.exp(logits - logits.max(-1, keepdims=True)))


def _mean(logits):
  return logits.mean(-1, keepdims=True)


def _excess(logits, rate):
  """By how much the logits exceed a quantile; where none does, 1 for the largest."""
  excess = np.maximum(logits - np.quantile(logits, rate, axis=-1, keepdims=True), 0)
  nothing = (excess == 0).all(-1, keepdims=True)
  return np.where(nothing, logits == logits.max(-1, keepdims=True), excess)


class Normaliser(NamedTuple):
  """A function from logits to probabilities, and what the mathematics says of it."""

  probs: Callable  # (logits, *, axis=-1, where=None) -> probabilities
  oracle: Callable  # float64 logits [..., K] -> probabilities
  shift_invariant: bool
  scale: float = 1.0  # of the logits in tests of the gradient


def _relu(logits, *, axis=-1, where=None):
  logits = jnp.asarray(logits)
  wide = logits.astype(jnp.float64 if logits.dtype == jnp.float64 else jnp.float32)
  scores = functional.relu_score(wide, epsilon=1e-3)
  probs = jnp.exp(functional.log_normalise(scores, axis=axis, where=where))
  return probs.astype(logits.dtype)


def _of(function, **options):
  return functools.partial(function, **options)


NORMALISERS = {
  "softmax": Normaliser(functional.softmax, _softmax, True),
  "softmax at T=2": Normaliser(
    _of(functional.softmax, temperature=2.0), lambda z: _softmax(z / 2), True
  ),
  "taylor of order 2": Normaliser(
    functional.taylor_softmax, lambda z: _normalised(_series(z, 2)), False
  ),
  "taylor of order 6": Normaliser(
    _of(functional.taylor_softmax, order=6), lambda z: _normalised(_series(z, 6)), False
  ),
  "spherical": Normaliser(
    _of(functional.spherical_softmax, epsilon=0.1), lambda z: _normalised(z**2 + 0.1), False
  ),
  "relu": Normaliser(_relu, lambda z: _normalised(np.maximum(z, 1e-3)), False),
  "sparsemax": Normaliser(functional.sparsemax, lambda z: _entmax(z, 2.0), True),
  "entmax": Normaliser(functional.entmax, lambda z: _entmax(z, 1.5), True),
  "ev-softmax": Normaliser(functional.ev_softmax, lambda z: _weighted(z, z >= _mean(z)), True),
  "r-softmax": Normaliser(
    _of(functional.r_softmax, rate=0.6), lambda z: _weighted(z, _excess(z, 0.6)), True
  ),
  "tempered softmax": Normaliser(
    _of(functional.tempered_softmax, t=1.7), lambda z: _tempered(z, 1.7), True
  ),
  "entmax at 1.2": Normaliser(_of(functional.entmax, alpha=1.2), lambda z: _entmax(z, 1.2), True),
}


# --- losses of logits and labels ---


def _one_hot(labels, num_classes):
  return np.eye(num_classes)[labels]


def _at(values, labels):
  return np.take_along_axis(values, labels[..., None], -1)[..., 0]


def _with_label(logits, labels, change):
  """Apply a change to the label's logit alone."""
  hot = _one_hot(labels, logits.shape[-1]) > 0
  return np.where(hot, change(logits), logits)


def _fenchel_young(logits, labels, alpha):
  probs = _entmax(logits, alpha)
  entropy = (1 - (probs**alpha).sum(-1)) / (alpha * (alpha - 1))
  return ((probs - _one_hot(labels, logits.shape[-1])) * logits).sum(-1) + entropy


def _bi_tempered(logits, labels, t1, t2):
  probs, hot = _tempered(logits, t2), _one_hot(labels, logits.shape[-1])

  def log(values):
    return (values ** (1 - t1) - 1) / (1 - t1)

  gaps = hot * (log(hot) - log(probs)) - (hot ** (2 - t1) - probs ** (2 - t1)) / (2 - t1)
  return gaps.sum(-1)


_NORMS = {"feature_norms": 3.0, "kernel_norms": np.array([1.0, 2.0, 1.5, 4.0, 2.5])}


def _large_margin(logits, labels, margin, annealing):
  """psi(theta) = (-1)^k cos(m theta) - 2k by the angle itself."""
  sizes = 3.0 * _NORMS["kernel_norms"][: logits.shape[-1]]

  def change(values):
    theta = np.arccos(np.clip(values / sizes, -1, 1))
    k = np.minimum(np.floor(theta * margin / np.pi), margin - 1)
    psi = (-1) ** k * np.cos(margin * theta) - 2 * k
    return (annealing * values + sizes * psi) / (1 + annealing)

  return _with_label(logits, labels, change)


def _apply_large_margin(logits, labels, margin, annealing):
  logits = jnp.asarray(logits)
  return functional.large_margin(
    logits,
    labels,
    feature_norms=jnp.full(logits.shape[:-1], 3.0, logits.dtype),
    kernel_norms=jnp.asarray(_NORMS["kernel_norms"][: logits.shape[-1]], logits.dtype),
    margin=margin,
    annealing=annealing,
  )


_MARGINS = np.array([0.1, 0.5, 0.3, 0.7, 0.2])


def _fall(angle):
  """The cosine, which falls on beyond pi."""
  sector = np.floor(angle / np.pi)
  return (-1) ** sector * np.cos(angle) - 2 * sector


class Margin(NamedTuple):
  """A change of the label's logit."""

  apply: Callable  # (logits, labels) -> logits
  oracle: Callable  # the same in float64 numpy


MARGINS = {
  "none": Margin(lambda z, y: z, lambda z, y: z),
  "soft": Margin(
    lambda z, y: functional.soft_margin(z, y, margin=0.6),
    lambda z, y: _with_label(z, y, lambda v: v - 0.6),
  ),
  "large, m=2": Margin(
    lambda z, y: _apply_large_margin(z, y, 2, 0.0), lambda z, y: _large_margin(z, y, 2, 0.0)
  ),
  "large, m=3, annealed": Margin(
    lambda z, y: _apply_large_margin(z, y, 3, 1.5), lambda z, y: _large_margin(z, y, 3, 1.5)
  ),
  "soft, one a class": Margin(
    lambda z, y: functional.soft_margin(z, y, margin=_MARGINS[: z.shape[-1]]),
    lambda z, y: z - _one_hot(y, z.shape[-1]) * _MARGINS[: z.shape[-1]],
  ),
  "combined": Margin(
    lambda z, y: functional.combined_margin(z, y, multiplier=1.7, angle=0.3, cosine=0.1),
    lambda z, y: _with_label(z, y, lambda v: _fall(1.7 * np.arccos(v) + 0.3) - 0.1),
  ),
  "cosine": Margin(
    lambda z, y: functional.additive_cosine_margin(z, y, margin=0.35),
    lambda z, y: _with_label(z, y, lambda v: v - 0.35),
  ),
  "angular": Margin(
    lambda z, y: functional.additive_angular_margin(z, y, margin=0.5),
    lambda z, y: _with_label(
      z,
      y,
      lambda v: np.where(
        np.arccos(np.clip(v, -1, 1)) < np.pi - 0.5,
        np.cos(np.arccos(np.clip(v, -1, 1)) + 0.5),
        v - 0.5 * np.sin(0.5),
      ),
    ),
  ),
}

# It changes the logits of other classes too, and so stands apart from the margins of one label.
_CURRICULAR = Margin(
  lambda z, y: functional.curricular_margin(z, y, margin=0.5, emphasis=0.3),
  lambda z, y: _curricular(z, y, 0.3),
)


def _curricular(cosines, labels, emphasis):
  widened = MARGINS["angular"].oracle(cosines, labels)
  hard = cosines > _at(widened, labels)[..., None]
  own = _one_hot(labels, cosines.shape[-1]) > 0
  return np.where(hard & ~own, cosines * (emphasis + cosines), widened)


_BENDS = {
  "weights": np.array([0.4, -0.3, 0.2, 0.5]),
  "points": np.array([0.05, 0.2, -0.1, 0.3]),
}


def _multimax(logits):
  weights, points = _BENDS.values()
  ramps = (np.maximum(s * (logits - p), 0) for s, p in zip((-1, 1, -1, 1), points, strict=True))
  return logits + sum(w * r**n for w, r, n in zip(weights, ramps, (1, 1, 2, 2), strict=True))


SCORES = {
  "softmax": (lambda z: z, lambda z: z),
  "taylor": (_of(functional.taylor_score, order=4), lambda z: np.log(_series(z, 4))),
  "spherical": (_of(functional.spherical_score, epsilon=0.1), lambda z: np.log(z**2 + 0.1)),
  "relu": (_of(functional.relu_score, epsilon=1e-2), lambda z: np.log(np.maximum(z, 1e-2))),
  "stablemax": (
    functional.stablemax_score,
    lambda z: np.log(np.where(z >= 0, z + 1, 1 / (1 - np.minimum(z, 0)))),
  ),
  "sigsoftmax": (
    functional.sigsoftmax_score,
    lambda z: np.log(np.exp(z) / (1 + np.exp(-z))),
  ),
  "soft cap": (_of(functional.soft_cap_score, cap=1.5), lambda z: 1.5 * np.tanh(z / 1.5)),
  "multimax": (_of(functional.multimax_score, **_BENDS), _multimax),
}


class Loss(NamedTuple):
  """A loss of logits and labels, one for each example."""

  apply: Callable  # (logits, labels, *, class_weights, ignore_label, where) -> [...]
  oracle: Callable  # the same in float64 numpy
  # (logits, labels, class_weights) -> [...], where it is not the weight of the label times the loss
  weighted: Callable | None = None


def _cross_entropy(scores, labels):
  return -np.log(_at(_softmax(scores), labels))


def _composed(margin, score):
  ours, oracle = score
  return Loss(
    lambda z, y, **options: functional.cross_entropy(ours(margin.apply(z, y)), y, **options),
    lambda z, y: _cross_entropy(oracle(margin.oracle(z, y)), y),
  )


def _mapped(row_map, weights):
  """Cross-entropy of softmax whose classes have weights that depend on all logits of a row."""
  return Loss(
    lambda z, y, where=None, **options: functional.cross_entropy(
      row_map(z, epsilon=1e-3, where=where), y, **options
    ),
    lambda z, y: -np.log(_at(_weighted(z, weights(z) + 1e-3), y)),
  )


def _one_vs_all(logits, labels):
  signs = 1 - 2 * _one_hot(labels, logits.shape[-1])
  return np.log1p(np.exp(signs * logits)).sum(-1)


def _squared_error(logits, labels):
  hot = _one_hot(labels, logits.shape[-1])
  return (hot * 3 * (logits - 2) ** 2 + (1 - hot) * logits**2).mean(-1)


def _hinge(logits, labels):
  others = np.where(_one_hot(labels, logits.shape[-1]) > 0, -np.inf, logits)
  return np.maximum(0, 1 + others.max(-1) - _at(logits, labels))


#: The prior of PC-softmax among five classes.
PRIOR = np.array([0.5, 0.2, 0.15, 0.1, 0.05])


def _prior(logits):
  return _normalised(PRIOR[: logits.shape[-1]])


def _pc_cross_entropy(logits, labels, **options):
  log_prior = np.log(_prior(logits))
  return functional.pc_cross_entropy(logits, labels, log_prior, **options)


def _likelihood(logits, labels, where=None, **options):
  log_probs = functional.log_softmax(logits, where=where)
  options |= {"label_smoothing": 0.2, "where": where}
  return functional.negative_log_likelihood(log_probs, labels, **options)


def _smoothed(smoothing):
  """Returns the losses of a smoothed label, each class's times its weight."""

  def oracle(logits, labels, weights=1):
    losses = -weights * np.log(_softmax(logits))
    return (1 - smoothing) * _at(losses, labels) + smoothing * losses.mean(-1)

  return oracle


def _with_z_loss(logits, labels):
  return _cross_entropy(logits, labels) + 0.01 * np.log(np.exp(logits).sum(-1)) ** 2


LOSSES = (
  {
    "smoothed likelihood": Loss(
      _likelihood,
      _smoothed(0.2),
      _smoothed(0.2),
    ),
    "smoothed cross-entropy": Loss(
      _of(functional.cross_entropy, label_smoothing=0.1),
      _smoothed(0.1),
      _smoothed(0.1),
    ),
    "cross-entropy with z-loss": Loss(
      _of(functional.cross_entropy, z_loss=0.01),
      _with_z_loss,
    ),
    "PC-softmax": Loss(
      _pc_cross_entropy,
      lambda z, y: -_at(z, y) + np.log((_prior(z) * np.exp(z)).sum(-1)),
    ),
    "one against all": Loss(functional.one_vs_all_cross_entropy, _one_vs_all),
    "hinge": Loss(functional.multiclass_hinge, _hinge),
    "sparsemax": Loss(functional.sparsemax_loss, lambda z, y: _fenchel_young(z, y, 2.0)),
    "entmax": Loss(functional.entmax_loss, lambda z, y: _fenchel_young(z, y, 1.5)),
    "logit norm": Loss(
      lambda z, y, where=None, **options: functional.cross_entropy(
        functional.logit_norm(z, temperature=0.3, where=where), y, **options
      ),
      lambda z, y: _cross_entropy(z / (0.3 * np.linalg.norm(z, axis=-1, keepdims=True)), y),
    ),
    "above the mean": _mapped(functional.keep_above_mean, lambda z: z >= _mean(z)),
    "above a quantile": _mapped(
      _of(functional.keep_above_quantile, rate=0.6),
      lambda z: _excess(z, 0.6),
    ),
    "squared error": Loss(
      _of(functional.squared_error_loss, target=2.0, label_weight=3.0), _squared_error
    ),
    "bi-tempered": Loss(
      _of(functional.bi_tempered_loss, t1=0.7, t2=1.3), lambda z, y: _bi_tempered(z, y, 0.7, 1.3)
    ),
  }
  | {
    f"curricular margin, {score} score": _composed(_CURRICULAR, SCORES[score])
    for score in ("softmax", "taylor")
  }
  | {
    f"{margin} margin, {score} score": _composed(MARGINS[margin], SCORES[score])
    for margin in MARGINS
    for score in SCORES
    # They meet in nothing but a composition, of which two scores are enough.
    if margin == "none" or score in ("softmax", "taylor")
  }
)
