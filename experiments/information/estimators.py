"""Estimators by the names that reports give them, and the objectives that train their networks."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax

from softmax_research.information.estimators import ESTIMATORS, of_classes

#: How far I_alpha stands from NWJ (0) towards InfoNCE (1).
ALPHA = 0.01


class Named(NamedTuple):
  """Hold an estimator with its name and that of its objective; see `information.Estimator`."""

  name: str
  objective: str
  loss: Callable[..., tuple[jax.Array, jax.Array]]
  terms: Callable[..., jax.Array]


def _named(name: str, objective: str, text: str) -> Named:
  return Named(name, objective, *ESTIMATORS.make(text)[:2])


CRITICS = (
  _named("MINE (DV)", "MINE", "mine"),
  _named("NWJ", "NWJ", "nwj"),
  _named("InfoNCE", "InfoNCE", "info_nce"),
  _named("JS, then NWJ", "Jensen-Shannon", "jensen_shannon"),
  _named("SMILE, tau 1", "Jensen-Shannon", "smile:clip=1"),
  _named("SMILE, tau 5", "Jensen-Shannon", "smile:clip=5"),
  _named("SMILE, tau ∞", "Jensen-Shannon", "smile:clip=None"),
  _named(f"I-alpha {ALPHA}", "I-alpha", f"interpolated:alpha={ALPHA}"),
)
#: Those of networks with an output for each class, so that they differ by their objectives alone.
CLASSIFIERS = (
  _named("softmax + log K", "softmax", "softmax"),
  _named("softmax, plug-in", "softmax", "plug_in"),
  _named("PC-softmax", "PC-softmax", "pc_softmax"),
  *(
    Named(critic.name, critic.objective, *of_classes(critic)[:2])
    for critic in CRITICS
    if critic.name in ("MINE (DV)", "NWJ", "InfoNCE", "SMILE, tau 5")
  ),
)

#: The names of objectives, of critics and of classifiers.
OBJECTIVES = tuple(dict.fromkeys(critic.objective for critic in CRITICS))
CLASS_OBJECTIVES = tuple(dict.fromkeys(classifier.objective for classifier in CLASSIFIERS))


def of_objective(objective: str, among: Sequence[Named] = CRITICS) -> list[Named]:
  """Return the estimators whose network is trained by an objective; their losses are one."""
  return [estimator for estimator in among if estimator.objective == objective]


def task(init: Callable[..., Any], outputs: Callable[..., tuple], own: Sequence[Named]):
  """Return the first arguments of `fitting.fit` for estimators that share a network.

  The outputs are a function `(params, batch) -> arguments` of the estimators' terms.
  """

  def loss(params, batch, average):
    return own[0].loss(*outputs(params, batch), average)

  def terms(params, batch):
    return {estimator.name: estimator.terms(*outputs(params, batch)) for estimator in own}

  return init, loss, terms
