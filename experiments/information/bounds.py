"""Bounds: what a critic is trained by, and what is then made of its scores of a batch of pairs."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from softmax_research import information

#: How far I_alpha stands from NWJ (0) towards InfoNCE (1).
ALPHA = 0.01

_interpolated = functools.partial(information.interpolated, log_baseline=0.0, alpha=ALPHA)


class Bound(NamedTuple):
  """Hold an estimator of information from scores.

  Attributes:
    name: its name.
    objective: what its critic is trained by, a key of `OBJECTIVES`.
    estimate: scores `[B, B]` to the estimate in nats.
  """

  name: str
  objective: str
  estimate: Callable[[jax.Array], jax.Array]


def _mine(scores, average):
  value, average = information.mine(scores, average)
  return -value, average


def _fixed(bound):
  return lambda scores, average: (-bound(scores), average)


#: By name `(scores [B, B], average) -> (loss, average)`, the average being carried from batch to
#: batch, which matters to MINE alone; it begins at -inf.
OBJECTIVES = {
  "MINE": _mine,
  "NWJ": _fixed(information.nwj),
  "InfoNCE": _fixed(information.info_nce),
  "Jensen-Shannon": _fixed(information.jensen_shannon),
  "I-alpha": _fixed(_interpolated),
}

MINE = Bound("MINE (DV)", "MINE", information.donsker_varadhan)
NWJ = Bound("NWJ", "NWJ", information.nwj)
INFO_NCE = Bound("InfoNCE", "InfoNCE", information.info_nce)
JENSEN_SHANNON = Bound("JS, then NWJ", "Jensen-Shannon", information.nwj)
#: SMILE by its clip.
SMILE = {
  clip: Bound(
    f"SMILE, tau {'∞' if clip is None else clip}",
    "Jensen-Shannon",
    functools.partial(information.smile, clip=clip),
  )
  for clip in (1, 5, None)
}
I_ALPHA = Bound(f"I-alpha {ALPHA}", "I-alpha", _interpolated)

BOUNDS = (MINE, NWJ, INFO_NCE, JENSEN_SHANNON, *SMILE.values(), I_ALPHA)


def of_objective(objective: str) -> list[Bound]:
  """Return the bounds whose critic is trained by an objective.

  Example:
    >>> [bound.name for bound in of_objective("InfoNCE")]
    ['InfoNCE']
  """
  return [bound for bound in BOUNDS if bound.objective == objective]


def estimate_all(objective: str, scores: jax.Array) -> jax.Array:
  """Return the estimates of an objective's bounds from scores `[B, B]`, one for each."""
  return jnp.stack([bound.estimate(scores) for bound in of_objective(objective)])
