"""Estimators of information from a network that gives each input a score for each class.

All have the same network, so that they differ by their objectives alone. A classifier's scores are
its logits; a critic's score of the pair (x, y) is the logit of class y.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from softmax_research import functional, information

#: How many pairs make a batch of a critic, in training and in evaluation.
PAIRS = 250


class Objective(NamedTuple):
  """Hold what a network is trained by.

  Attributes:
    name: its name.
    loss: `(logits [B, K], labels [B], log_prior [K], average) -> (loss, average)`, where the
      average is carried from batch to batch and matters to MINE alone.
  """

  name: str
  loss: Callable[..., tuple[jax.Array, jax.Array]]


class Estimator(NamedTuple):
  """Hold what is made of a trained network.

  Attributes:
    name: its name.
    objective: the name of the objective that the network was trained by.
    terms: `(logits, labels, log_prior) -> [M]`, whose mean is the estimate; the terms are
      independent, of examples or of batches.
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


def _mine(logits, labels, log_prior, average):
  value, average = information.mine(pair_scores(logits, labels), average)
  return -value, average


def _of_pairs(bound):
  return lambda logits, labels, log_prior, average: (-bound(pair_scores(logits, labels)), average)


OBJECTIVES = {
  objective.name: objective
  for objective in (
    Objective("softmax", _softmax),
    Objective("PC-softmax", _pc_softmax),
    Objective("MINE", _mine),
    Objective("NWJ", _of_pairs(information.nwj)),
    Objective("InfoNCE", _of_pairs(information.info_nce)),
    Objective("Jensen-Shannon", _of_pairs(information.jensen_shannon)),
  )
}


def _log_ratio(logits, labels, log_prior):
  return -functional.pc_cross_entropy(logits, labels, log_prior)


def _plain(logits, labels, log_prior):
  return jnp.log(logits.shape[-1]) - functional.cross_entropy(logits, labels)


def _plug_in(logits, labels, log_prior):
  entropy = -jnp.sum(jnp.exp(log_prior) * log_prior)
  return entropy - functional.cross_entropy(logits, labels)


def _in_batches(bound):
  def terms(logits, labels, log_prior):
    whole = len(labels) // PAIRS * PAIRS
    logits, labels = (
      array[:whole].reshape(-1, PAIRS, *array.shape[1:]) for array in (logits, labels)
    )
    return jax.lax.map(lambda batch: bound(pair_scores(*batch)), (logits, labels))

  return terms


ESTIMATORS = (
  Estimator("softmax + log K", "softmax", _plain),
  Estimator("softmax, plug-in", "softmax", _plug_in),
  Estimator("PC-softmax", "PC-softmax", _log_ratio),
  Estimator("MINE", "MINE", _in_batches(information.donsker_varadhan)),
  Estimator("NWJ", "NWJ", _in_batches(information.nwj)),
  Estimator("InfoNCE", "InfoNCE", _in_batches(information.info_nce)),
  Estimator("SMILE", "Jensen-Shannon", _in_batches(information.smile)),
)
