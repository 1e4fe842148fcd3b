"""Estimators of information from a network that gives each input a score for each class.

All have the same network, so that they differ by their objectives alone. A classifier's scores are
its logits; a critic's score of the pair (x, y) is the logit of class y.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from experiments.information import bounds
from softmax_research import functional, information


class Estimator(NamedTuple):
  """Hold what is made of a trained network.

  Attributes:
    name: its name.
    objective: the name of the objective that the network was trained by.
    terms: `(logits [B, K], labels [B], log_prior [K]) -> [M]`, whose mean over all batches is the
      estimate: a term of each example, or one of the batch.
  """

  name: str
  objective: str
  terms: Callable[..., jax.Array]


def pair_scores(logits: jax.Array, labels: jax.Array) -> jax.Array:
  """Return the scores of each x with each y of a batch.

  Example:
    >>> pair_scores(jnp.array([[1.0, 2.0], [3.0, 4.0]]), jnp.array([1, 0]))
    Array([[2., 1.],
           [4., 3.]], dtype=float32)
  """
  return logits @ jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype).T


def _softmax(logits, labels, log_prior, average):
  return jnp.mean(functional.cross_entropy(logits, labels)), average


def _pc_softmax(logits, labels, log_prior, average):
  return -information.pc_softmax_information(logits, labels, log_prior=log_prior), average


def _of_pairs(loss):
  return lambda logits, labels, log_prior, average: loss(pair_scores(logits, labels), average)


#: By name `(logits [B, K], labels [B], log_prior [K], average) -> (loss, average)`; see `bounds`.
OBJECTIVES = {
  "softmax": _softmax,
  "PC-softmax": _pc_softmax,
  **{
    name: _of_pairs(bounds.OBJECTIVES[name])
    for name in ("MINE", "NWJ", "InfoNCE", "Jensen-Shannon")
  },
}


def _log_ratio(logits, labels, log_prior):
  return -functional.pc_cross_entropy(logits, labels, log_prior)


def _plain(logits, labels, log_prior):
  return jnp.log(len(log_prior)) - functional.cross_entropy(logits, labels)


def _plug_in(logits, labels, log_prior):
  entropy = -jnp.sum(jnp.exp(log_prior) * log_prior)
  return entropy - functional.cross_entropy(logits, labels)


def _of_batch(bound):
  def terms(logits, labels, log_prior):
    return bound.estimate(pair_scores(logits, labels))[None]

  return Estimator(bound.name, bound.objective, terms)


ESTIMATORS = (
  Estimator("softmax + log K", "softmax", _plain),
  Estimator("softmax, plug-in", "softmax", _plug_in),
  Estimator("PC-softmax", "PC-softmax", _log_ratio),
  *map(_of_batch, (bounds.MINE, bounds.NWJ, bounds.INFO_NCE, bounds.SMILE[5])),
)
