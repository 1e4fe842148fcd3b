"""Measure where released code departs from its paper's formulas, and by how much.

    python -m experiments.departures

Each departure is worked out in plain float64 NumPy on random logits: the formula on one side, the
arithmetic of the released code, as `Departure` describes it, on the other. The table is the one in
the documentation. `configs/banerjee2020.py` has heads that train with the released arithmetic.
"""

import math
from typing import NamedTuple

import numpy as np
from absl import app, flags

from experiments.released.heads import (
  batch_margin,
  formula_probs,
  keras_probs,
  series,
  tiled_denominator,
)
from softmax_research.study import markdown
from softmax_research.study.blocks import table_of

_BATCH = flags.DEFINE_integer("batch", 100, "Examples in a batch.", lower_bound=2)
_CLASSES = flags.DEFINE_integer("classes", 10, "Number of classes.", lower_bound=2)
_SCALE = flags.DEFINE_float("scale", 2.0, "Standard deviation of the logits.", lower_bound=0)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the logits.", lower_bound=0)

_ORDER, _MARGIN = 6, 0.6  # The defaults of Banerjee et al.'s release.


class Departure(NamedTuple):
  """One place where code and formula differ."""

  paper: str
  formula: str
  released: str
  effect: str


def keras_loss(probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """Clip, renormalise each row and take the label's logarithm, as Keras does."""
  return -np.log(keras_probs(probs)[np.arange(len(labels)), labels])


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
  return float(np.sum(a * b) / np.sqrt(np.sum(a**2) * np.sum(b**2)))


def _range(values: np.ndarray) -> str:
  return f"{values.mean():.3g} on average, from {values.min():.3g} to {values.max():.3g}"


def banerjee(logits: np.ndarray, labels: np.ndarray) -> list[Departure]:
  """Work out the departures of Banerjee et al. 2020's release (commit 77fe462)."""
  hot = np.eye(logits.shape[1])[labels]
  f = series(logits, _ORDER)
  taylor = tiled_denominator(f)
  exponentials, lowered = np.exp(logits), np.exp(logits - _MARGIN)
  sm = batch_margin(exponentials, lowered)
  lowered_label = keras_loss(formula_probs(np.where(hot > 0, lowered, exponentials)), labels)
  plain = keras_loss(formula_probs(exponentials), labels)
  released = keras_loss(sm, labels)
  quotient = f / series(np.full_like(f, _MARGIN), _ORDER)
  shifted = series(logits - _MARGIN, _ORDER)
  # The chain rule of the released operator, for the loss of the formula's probabilities.
  upstream = -hot / formula_probs(f)
  slope = series(logits, _ORDER - 1)
  true_gradient = slope / f.sum(1, keepdims=True) - hot * slope / f
  finite, infinite = upstream * slope, upstream * formula_probs(f)
  rows = [
    (
      "Taylor softmax divides each row by its own sum",
      "the sums are tiled and reshaped: entry (i, j) is divided by sum (iK + j) mod B",
      f"the rows sum to {_range(taylor.sum(1))}; the most probable class differs in "
      f"{np.mean(taylor.argmax(1) != f.argmax(1)):.0%} of the rows",
    ),
    (
      "SM divides each row by its own sum",
      "the sum runs over the whole batch",
      f"the rows sum to {_range(sm.sum(1))}",
    ),
    (
      "SM lowers the label's logit, in training",
      "every class's own term is lowered, in tests too; Keras' loss then renormalises the rows",
      f"on average it changes the loss by {np.mean(released - plain):+.3f} nats from plain "
      f"softmax, where the formula changes it by {np.mean(lowered_label - plain):+.3f}",
    ),
    (
      "SM-Taylor's numerator is f(z - m)",
      "it is f(z) / f(m)",
      f"off by a factor of {np.exp(np.mean(np.abs(np.log(quotient / shifted)))):.2f} on average, "
      f"of up to {np.exp(np.max(np.abs(np.log(quotient / shifted)))):.3g}",
    ),
    (
      "the gradient is the softmax Jacobian with f' in place of exp",
      "'finite' multiplies the incoming gradient by f', 'infinite' by the output",
      f"the cosine with the true gradient is {_cosine(finite, true_gradient):.2f} and "
      f"{_cosine(infinite, true_gradient):.2f}; no class but the label gets any",
    ),
  ]
  return [Departure("Banerjee 2020", *row) for row in rows]


def qin(logits: np.ndarray, labels: np.ndarray) -> list[Departure]:
  """Work out the departures of Qin et al. 2019's release and of a reimplementation."""
  prior = np.arange(1, logits.shape[1] + 1, dtype=float)
  prior /= prior.sum()
  weighted = np.exp(logits) * prior
  hot = np.eye(logits.shape[1])[labels]
  gradient = formula_probs(weighted) - hot
  summed, scaled = gradient.sum(0), (gradient * prior[labels][:, None]).sum(0)
  confident = formula_probs(np.exp(10 * logits))
  exact = -np.log(confident[np.arange(len(labels)), labels])
  floored = -np.log(confident[np.arange(len(labels)), labels] + 1e-6)
  return [
    Departure(
      "Qin 2019",
      "the loss is -log sigma",
      "-log(sigma + 1e-6)",
      f"no loss exceeds {-math.log(1e-6):.1f} nats: on logits ten times as large the mean is "
      f"{floored.mean():.1f} in place of {exact.mean():.1f}",
    ),
    Departure(
      "PC-softmax by CoinCheung, V2",
      "the gradient is softmax(z + log P) - onehot",
      "the hand-written backward also multiplies by P of the label",
      f"with P rising linearly, gradients shrink by {1 / prior.max():.3g} to {1 / prior.min():.3g} "
      f"times, and the batch's points elsewhere: its cosine with the true one is "
      f"{_cosine(scaled, summed):.2f}",
    ),
  ]


def table(departures: list[Departure]) -> str:
  """Format the departures as a Markdown table."""
  titles = "the formula", "the released code", "measured effect"
  rows = [(paper, dict(zip(titles, texts, strict=True))) for paper, *texts in departures]
  return markdown.table(table_of(rows, "where", "departures"))


def measure(batch: int, classes: int, scale: float, seed: int) -> list[Departure]:
  """Measure all departures on random logits of such a standard deviation."""
  rng = np.random.default_rng(seed)
  logits = scale * rng.normal(size=(batch, classes))
  labels = rng.integers(0, classes, batch)
  return banerjee(logits, labels) + qin(logits, labels)


def main(_) -> None:
  """Print the table."""
  print(table(measure(_BATCH.value, _CLASSES.value, _SCALE.value, _SEED.value)))


if __name__ == "__main__":
  app.run(main)
