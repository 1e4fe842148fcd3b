"""Estimation: from samples of a user's own to an estimate of their mutual information."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from softmax_research.information import fitting
from softmax_research.information.estimators import ESTIMATORS, Estimator

_EMBEDDING = 32
_LOOK_EVERY = 50


class Estimate(NamedTuple):
  """Hold an estimate of mutual information, in nats.

  Attributes:
    information: the estimate.
    low: the lower end of its 95% interval.
    high: the upper end.

  Example:
    >>> Estimate(0.5, 0.4, 0.6).information
    0.5
  """

  information: float
  low: float
  high: float


def estimate(
  x: np.typing.ArrayLike,
  y: np.typing.ArrayLike,
  *,
  estimator: str | Estimator,
  seed: int = 0,
  steps: int = 1000,
  batch_size: int = 128,
  learning_rate: float = 1e-3,
  widths: Sequence[int] = (256, 256),
) -> Estimate:
  r"""Estimate the mutual information of pairs by a network that is trained on some of them.

  .. math:: \hat I = \frac{1}{M} \sum_m t_m \pm t_{M-1,\,0.975} \frac{s}{\sqrt M}

  The pairs are shuffled and divided: three fifths train an MLP, a fifth says at which step it is
  best, and the terms t are of the last fifth, which nothing was chosen on: one of each pair for a
  classifier, one of each batch for a critic. The interval says how far another fifth could have
  fallen. It does not contain what the network missed: all estimators but `smile` and `mine` are
  lower bounds in expectation (`softmax` where classes are equally frequent), and `info_nce` cannot
  exceed log(batch_size). The pairs must be independent of one another.

  Args:
    x: `[N, ...]`; whole numbers `[N]` are categories, anything else is numbers, which are
      standardised.
    y: `[N, ...]`, likewise. Classifiers take categories alone.
    estimator: a classifier's, `plug_in`, `pc_softmax` or `softmax`, or a critic's, `mine`, `nwj`,
      `info_nce`, `jensen_shannon`, `smile` or `interpolated`; with options as in `smile:clip=1.0`,
      or one of your own as an `Estimator`, or as the path of a function that returns one.
    seed: of the division, the parameters and the batches.
    steps: of Adam.
    batch_size: pairs of a step, and of a critic's term.
    learning_rate: at first; it falls to zero along a cosine.
    widths: of the MLP's hidden layers; a critic has one for x and one for y, and scores a pair by
      the inner product of their outputs.

  Returns:
    The estimate with its interval; NaN where terms are not finite, as those of `nwj` can be.

  Raises:
    ValueError: there is no such estimator, it does not fit the kind of y, x and y are not of one
      length, a number is not finite, or there are too few pairs for the batches.

  Example:
    >>> rng = np.random.default_rng(0)
    >>> labels = rng.integers(2, size=2000)
    >>> points = rng.normal(4.0 * labels - 2.0)  # They say 0.633 nats of the labels.
    >>> found = estimate(points, labels, estimator="plug_in", steps=100)
    >>> 0.55 < found.low < found.information < found.high < 0.7
    True

  Reference:
    Qin et al. 2019 (arXiv 1911.10688) for classifiers; Poole et al. 2019 (arXiv 1905.06922) and
    Song & Ermon 2020 (arXiv 1910.06222) for critics.
  """
  x, y = np.asarray(x), np.asarray(y)
  estimator, sizes = check(x, y, estimator, batch_size=batch_size, steps=steps)
  order = np.random.default_rng([seed, 0]).permutation(len(x))
  x = _as_inputs("x", x[order], sizes["train"])
  if estimator.classifies:
    y = _categories("y", y[order])
    log_prior = np.log(np.bincount(y) / len(y)).astype(np.float32)
    init, outputs = _classifier(x.shape[1], log_prior, widths)
  else:
    y = _as_inputs("y", y[order], sizes["train"])
    init, outputs = _critic(x.shape[1], y.shape[1], widths)
  rows = fitting.batches(seed, sizes, steps, batch_size)

  @jax.jit
  def run(key, rows, x, y):
    return fitting.fit(
      init,
      lambda params, batch, average: estimator.loss(*outputs(params, *batch), average),
      lambda params, batch: estimator.terms(*outputs(params, *batch)),
      key=key,
      places=rows,
      take=lambda rows: (x[rows], y[rows]),
      rate=learning_rate,
      look_every=_LOOK_EVERY,
    )

  return _interval(np.asarray(run(jax.random.key(seed), rows, x, y), np.float64))


def check(
  x: np.ndarray, y: np.ndarray, estimator: str | Estimator, *, batch_size: int, steps: int
) -> tuple[Estimator, dict[str, int]]:
  """Return the estimator and the sizes of the splits; see `estimate` for the errors."""
  if not isinstance(estimator, Estimator):
    estimator = ESTIMATORS.make(estimator)
  for name, values in (("x", x), ("y", y)):
    if not values.ndim or values.dtype.kind not in "iubf" or not _is_finite(values):
      raise ValueError(
        f"Got {name} of shape {values.shape} and type {values.dtype}; it must be an array of N "
        "rows of finite numbers, or N categories as whole numbers."
      )
  if len(x) != len(y):
    raise ValueError(f"Got {len(x)} x and {len(y)} y; they are pairs, so pass as many of both.")
  if steps < 1 or batch_size < 3:
    raise ValueError(
      f"Got steps={steps} and batch_size={batch_size}; there is one step and there are three pairs "
      "in a batch at least."
    )
  fifth = len(x) // 5
  if fifth < 2 * batch_size:
    raise ValueError(
      f"Got {len(x)} pairs with batch_size={batch_size}; a fifth is for the test, which takes two "
      f"batches. Pass {10 * batch_size} pairs, or batches of {max(3, fifth // 2)} at most."
    )
  for name, values in (("x", x), ("y", y)):
    if kind_of(values) == "categories":
      _categories(name, values)
    elif estimator.classifies and name == "y":
      raise ValueError(
        f"Got y of shape {y.shape} and type {y.dtype}; a classifier estimates what x says of "
        "categories, whole numbers [N]. Pass a critic's estimator, as info_nce."
      )
  return estimator, {"train": len(x) - 2 * fifth, "validation": fifth, "test": fifth}


def _is_finite(values: np.ndarray) -> bool:
  """Say whether all values are finite in float32, which networks compute in."""
  with np.errstate(over="ignore"):
    return bool(np.isfinite(values.astype(np.float32)).all())


def kind_of(values: np.ndarray) -> str:
  """Return what an array holds for `estimate`: `categories`, or `numbers`."""
  return "categories" if values.ndim == 1 and values.dtype.kind in "iub" else "numbers"


def _categories(name: str, values: np.ndarray) -> np.ndarray:
  """Return the categories, numbered from 0."""
  distinct, labels = np.unique(values, return_inverse=True)
  if not 2 <= len(distinct) <= len(values) // 10:
    raise ValueError(
      f"Got {name} with {len(distinct)} categories among {len(values)}; there are two at least, "
      "each ten times on average. Pass quantities as floating-point numbers."
    )
  return labels.astype(np.int32)


def _as_inputs(name: str, values: np.ndarray, num_train: int) -> np.ndarray:
  """Return float32 inputs `[N, D]`: categories one-hot, numbers by their training statistics."""
  if kind_of(values) == "categories":
    labels = _categories(name, values)
    return np.eye(labels.max() + 1, dtype=np.float32)[labels]
  # In float64: of times in seconds since 1970 float32 holds steps of two minutes.
  values = values.reshape(len(values), -1).astype(np.float64)
  train = values[:num_train]
  std = train.std(0)
  return ((values - train.mean(0)) / np.where(std > 0, std, 1)).astype(np.float32)


def _classifier(size: int, log_prior: np.ndarray, widths: Sequence[int]):
  """Return `key -> params` and `(params, x, labels) -> (logits, labels, log_prior)`."""
  # Logits start at zero: from large exponentials at the start some bounds do not recover.
  init, logits = _mlp((size, *widths, len(log_prior)), last_scale=0.0)
  return init, lambda params, x, labels: (logits(params, x), labels, log_prior)


def _critic(x_size: int, y_size: int, widths: Sequence[int]):
  """Return `key -> params` and `(params, x, y) -> (scores,)`."""
  # Scores start near zero, for the same reason.
  scale = 1 / (10 * _EMBEDDING**0.5)
  init_x, of_x = _mlp((x_size, *widths, _EMBEDDING), last_scale=scale)
  init_y, of_y = _mlp((y_size, *widths, _EMBEDDING), last_scale=scale)

  def init(key):
    x_key, y_key = jax.random.split(key)
    return init_x(x_key), init_y(y_key)

  return init, lambda params, x, y: (of_x(params[0], x) @ of_y(params[1], y).T,)


def _mlp(
  sizes: Sequence[int], *, last_scale: float
) -> tuple[Callable[..., Any], Callable[..., Any]]:
  """Return an MLP as `key -> params` and `(params, inputs [B, D]) -> outputs`."""
  initialise = jax.nn.initializers.he_normal()

  def init(key):
    keys = jax.random.split(key, len(sizes) - 1)
    shapes = itertools.pairwise(sizes)
    layers = [
      (initialise(key, shape, jnp.float32), jnp.zeros((1, shape[1]), jnp.float32))
      for key, shape in zip(keys, shapes, strict=True)
    ]
    kernel, bias = layers[-1]
    return [*layers[:-1], (last_scale * kernel, bias)]

  def apply(params, inputs):
    for kernel, bias in params[:-1]:
      inputs = jax.nn.relu(inputs @ kernel + bias)
    kernel, bias = params[-1]
    return inputs @ kernel + bias

  return init, apply


def _interval(terms: np.ndarray) -> Estimate:
  if not np.isfinite(terms).all():
    return Estimate(np.nan, np.nan, np.nan)
  mean, half = np.mean(terms), np.std(terms, ddof=1) / np.sqrt(len(terms))
  half *= -special.stdtrit(len(terms) - 1, 0.025)
  return Estimate(float(mean), float(mean - half), float(mean + half))
