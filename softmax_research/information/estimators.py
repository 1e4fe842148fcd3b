"""Estimators by name: what a network is trained by, and what is then made of its outputs."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from softmax_research import functional
from softmax_research.information import classifiers, critics
from softmax_research.registry import Registry


class Estimator(NamedTuple):
  """Hold what estimates mutual information with a network.

  The mean of the terms over all batches is the estimate in nats. A classifier's network gives
  logits `[B, K]` of x, a critic's the scores `[B, B]` of each x of a batch with each y.

  Attributes:
    loss: of a critic `(scores, average) -> (loss, average)`; of a classifier `(logits, labels [B],
      log_prior [K], average) -> (loss, average)`. What it returns as average it gets with the next
      batch; the first is -inf.
    terms: of a critic `scores -> [M]`; of a classifier `(logits, labels, log_prior) -> [M]`. They
      are of one example each, or one of the batch.
    classifies: whether it is a classifier's.

  Example:
    >>> smile = ESTIMATORS.make("smile:clip=1.0")
    >>> smile.terms(jax.numpy.array([[1.0, 9.0], [9.0, 2.0]]))
    Array([0.5], dtype=float32)
  """

  loss: Callable[..., tuple[jax.Array, jax.Array]]
  terms: Callable[..., jax.Array]
  classifies: bool = False


def of_bound(bound: Callable[[jax.Array], jax.Array], train_by: Any = None) -> Estimator:
  """Return the estimator of a bound on scores, whose critic is trained by it or by another one."""
  objective = train_by or bound
  _check_options(bound)
  return Estimator(
    lambda scores, average: (-objective(scores), average), lambda scores: bound(scores)[None]
  )


def _check_options(of_scores: Callable[[jax.Array], Any]) -> None:
  """Raise the ValueError of options that are out of range, which a bound finds where it is used."""
  jax.eval_shape(of_scores, jax.ShapeDtypeStruct((3, 3), jnp.float32))


def of_classes(critic: Estimator) -> Estimator:
  """Return the estimator whose critic has an output for each class of y, as a classifier has."""

  def scores(logits, labels):
    return logits @ jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype).T

  return Estimator(
    lambda logits, labels, log_prior, average: critic.loss(scores(logits, labels), average),
    lambda logits, labels, log_prior: critic.terms(scores(logits, labels)),
    classifies=True,
  )


def _classifier(terms: Callable[..., jax.Array]) -> Estimator:
  """Return the estimator of a classifier that maximises the mean of its terms."""

  def loss(logits, labels, log_prior, average):
    return -jnp.mean(terms(logits, labels, log_prior)), average

  return Estimator(loss, terms, classifies=True)


def softmax() -> Estimator:
  """Add log K to the log-likelihoods of a softmax classifier."""
  return _classifier(
    lambda logits, labels, log_prior: (
      jnp.log(len(log_prior)) - functional.cross_entropy(logits, labels)
    )
  )


def plug_in() -> Estimator:
  """Add the labels' entropy to the log-likelihoods of a softmax classifier."""
  return _classifier(
    lambda logits, labels, log_prior: (
      classifiers.entropy(log_prior).astype(logits.dtype) - functional.cross_entropy(logits, labels)
    )
  )


def pc_softmax() -> Estimator:
  """Take the log-ratios of densities that a PC-softmax classifier learns."""
  return _classifier(
    lambda logits, labels, log_prior: -functional.pc_cross_entropy(logits, labels, log_prior)
  )


def mine(*, rate: float = 0.01) -> Estimator:
  """Take the Donsker-Varadhan bound of a critic trained by MINE's objective."""

  def loss(scores, average):
    value, average = critics.mine(scores, average, rate=rate)
    return -value, average

  _check_options(lambda scores: loss(scores, 0.0))
  return of_bound(critics.donsker_varadhan)._replace(loss=loss)


def jensen_shannon() -> Estimator:
  """Take the NWJ bound of a critic trained by the Jensen-Shannon objective."""
  return of_bound(critics.nwj, critics.jensen_shannon)


def smile(*, clip: float | None = 5.0) -> Estimator:
  """Take SMILE of a critic trained by the Jensen-Shannon objective."""
  return of_bound(functools.partial(critics.smile, clip=clip), critics.jensen_shannon)


def interpolated(*, alpha: float = 0.01) -> Estimator:
  """Take I-alpha, between NWJ and InfoNCE, without a baseline."""
  return of_bound(functools.partial(critics.interpolated, log_baseline=0.0, alpha=alpha))


#: The estimators by name; each has its options.
ESTIMATORS = Registry(
  "estimator",
  {
    "softmax": softmax,
    "plug_in": plug_in,
    "pc_softmax": pc_softmax,
    "mine": mine,
    "nwj": lambda: of_bound(critics.nwj),
    "info_nce": lambda: of_bound(critics.info_nce),
    "jensen_shannon": jensen_shannon,
    "smile": smile,
    "interpolated": interpolated,
  },
  example="smile:clip=5.0",
  contract="returns an Estimator",
  accepts=lambda made: isinstance(made, Estimator),
)
