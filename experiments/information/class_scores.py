"""Estimators of information from a network that gives each input a score for each class.

All have the same network, so that they differ by their objectives alone. A classifier's scores are
its logits; a critic's score of the pair (x, y) is the logit of class y. A class whose log-prior is
-inf is none, so that one program serves any number of classes.
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
    terms: `(logits, labels, log_prior, pairs) -> [M]`, whose mean is the estimate; the terms are
      of examples, or of batches of so many pairs.
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


def _cross_entropy(logits, labels, log_prior):
  return functional.cross_entropy(jnp.where(log_prior > -jnp.inf, logits, -jnp.inf), labels)


def _softmax(logits, labels, log_prior, average):
  return jnp.mean(_cross_entropy(logits, labels, log_prior)), average


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


def _log_ratio(logits, labels, log_prior, pairs):
  return -functional.pc_cross_entropy(logits, labels, log_prior)


def _plain(logits, labels, log_prior, pairs):
  num_classes = jnp.sum(log_prior > -jnp.inf)
  return jnp.log(num_classes) - _cross_entropy(logits, labels, log_prior)


def _plug_in(logits, labels, log_prior, pairs):
  own = jnp.where(log_prior > -jnp.inf, log_prior, 0)
  return -jnp.sum(jnp.exp(log_prior) * own) - _cross_entropy(logits, labels, log_prior)


def _in_batches(bound):
  def terms(logits, labels, log_prior, pairs):
    whole = len(labels) // pairs * pairs
    logits, labels = (
      array[:whole].reshape(-1, pairs, *array.shape[1:]) for array in (logits, labels)
    )
    return jax.lax.map(lambda batch: bound.estimate(pair_scores(*batch)), (logits, labels))

  return Estimator(bound.name, bound.objective, terms)


ESTIMATORS = (
  Estimator("softmax + log K", "softmax", _plain),
  Estimator("softmax, plug-in", "softmax", _plug_in),
  Estimator("PC-softmax", "PC-softmax", _log_ratio),
  *map(_in_batches, (bounds.MINE, bounds.NWJ, bounds.INFO_NCE, bounds.SMILE[5])),
)
