"""Estimators: what a network is trained by, and what is then made of its scores or its logits.

A classifier's outputs are logits `[B, K]`; a critic's are the scores `[B, B]` of each x of a batch
with each y. Where y is a class, a critic has an output for each class, as a classifier has, so that
both differ by their objectives alone.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from softmax_research import functional, information

#: How far I_alpha stands from NWJ (0) towards InfoNCE (1).
ALPHA = 0.01

_interpolated = functools.partial(information.interpolated, log_baseline=0.0, alpha=ALPHA)


class Estimator(NamedTuple):
  """Hold an estimator: its name, the name of the objective that trains its network, its terms.

  The mean of the terms over all batches is the estimate in nats. They are `scores -> [1]` of a
  critic, `(logits, labels [B], log_prior [K]) -> [M]` of a network with an output for each class.
  """

  name: str
  objective: str
  terms: Callable[..., jax.Array]


def _mine(scores, average):
  value, average = information.mine(scores, average)
  return -value, average


def _fixed(bound):
  return lambda scores, average: (-bound(scores), average)


#: Of critics, by name `(scores, average) -> (loss, average)`. The average is carried from batch to
#: batch, which matters to MINE alone; it begins at -inf.
OBJECTIVES = {
  "MINE": _mine,
  "NWJ": _fixed(information.nwj),
  "InfoNCE": _fixed(information.info_nce),
  "Jensen-Shannon": _fixed(information.jensen_shannon),
  "I-alpha": _fixed(_interpolated),
}


def _bound(name, objective, bound):
  return Estimator(name, objective, lambda scores: bound(scores)[None])


CRITICS = (
  _bound("MINE (DV)", "MINE", information.donsker_varadhan),
  _bound("NWJ", "NWJ", information.nwj),
  _bound("InfoNCE", "InfoNCE", information.info_nce),
  _bound("JS, then NWJ", "Jensen-Shannon", information.nwj),
  *(
    _bound(f"SMILE, tau {tau}", "Jensen-Shannon", functools.partial(information.smile, clip=clip))
    for tau, clip in (("1", 1), ("5", 5), ("∞", None))
  ),
  _bound(f"I-alpha {ALPHA}", "I-alpha", _interpolated),
)


def of_objective(objective: str) -> list[Estimator]:
  """Return the estimators whose critic is trained by an objective."""
  return [critic for critic in CRITICS if critic.objective == objective]


def pair_scores(logits: jax.Array, labels: jax.Array) -> jax.Array:
  """Return the scores of each x with each y of a batch."""
  return logits @ jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype).T


def _softmax(logits, labels, log_prior, average):
  return jnp.mean(functional.cross_entropy(logits, labels)), average


def _pc_softmax(logits, labels, log_prior, average):
  return -information.pc_softmax_information(logits, labels, log_prior=log_prior), average


def _of_pairs(loss):
  return lambda logits, labels, log_prior, average: loss(pair_scores(logits, labels), average)


#: The same where there is an output for each class: `(logits, labels, log_prior, average)`.
CLASS_OBJECTIVES = {
  "softmax": _softmax,
  "PC-softmax": _pc_softmax,
  **{name: _of_pairs(OBJECTIVES[name]) for name in ("MINE", "NWJ", "InfoNCE", "Jensen-Shannon")},
}


def _plain(logits, labels, log_prior):
  return jnp.log(len(log_prior)) - functional.cross_entropy(logits, labels)


def _plug_in(logits, labels, log_prior):
  entropy = -jnp.sum(jnp.exp(log_prior) * log_prior)
  return entropy - functional.cross_entropy(logits, labels)


def _log_ratio(logits, labels, log_prior):
  return -functional.pc_cross_entropy(logits, labels, log_prior)


def _of_classes(critic):
  def terms(logits, labels, log_prior):
    return critic.terms(pair_scores(logits, labels))

  return critic._replace(terms=terms)


CLASS_ESTIMATORS = (
  Estimator("softmax + log K", "softmax", _plain),
  Estimator("softmax, plug-in", "softmax", _plug_in),
  Estimator("PC-softmax", "PC-softmax", _log_ratio),
  *(
    _of_classes(critic)
    for critic in CRITICS
    if critic.name in ("MINE (DV)", "NWJ", "InfoNCE", "SMILE, tau 5")
  ),
)
