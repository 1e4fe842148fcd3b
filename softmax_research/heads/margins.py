"""Heads with a margin at the label during training: SM, L-Softmax, AM-Softmax, ArcFace."""

from collections.abc import Callable
from typing import Any

import jax

from softmax_research import functional
from softmax_research.functional.arrays import check_at_least
from softmax_research.functional.margins import check_angle, check_multiplier
from softmax_research.heads.dense import Geometry, dense
from softmax_research.heads.head import Head
from softmax_research.heads.scores import taylor_score

Margin = Callable[[jax.Array, jax.Array, Geometry], jax.Array]


def _soft_margin(margin: float) -> Margin:
  check_at_least("margin", margin, 0, "Pass 0 for no margin.")
  return lambda logits, labels, geometry: functional.soft_margin(logits, labels, margin=margin)


def _large_margin(margin: int, **schedule: float) -> Margin:
  check_multiplier(margin)
  functional.large_margin_annealing(0, **schedule)  # Bad options fail here, not in a traced step.

  def apply(logits: jax.Array, labels: jax.Array, geometry: Geometry) -> jax.Array:
    return functional.large_margin(
      logits,
      labels,
      feature_norms=geometry.feature_norms,
      kernel_norms=geometry.kernel_norms,
      margin=margin,
      annealing=functional.large_margin_annealing(geometry.step, **schedule),
    )

  return apply


def _scaled_taylor_score(scale: float, order: int | None) -> Callable[[jax.Array], jax.Array]:
  check_at_least("scale", scale, 0, "Pass 30 or so.", strict=True)
  score = taylor_score(order) or (lambda logits: logits)
  return lambda cosines: score(scale * cosines)


def sm(num_classes: int, *, margin: float = 0.6, **layer: Any) -> Head:
  """Build soft-margin softmax's head.

  Example:
    >>> head = sm(10, margin=0.3)
  """
  return dense(num_classes, margin=_soft_margin(margin), **layer)


def sm_taylor(num_classes: int, *, order: int = 2, margin: float = 0.6, **layer: Any) -> Head:
  """Build soft-margin Taylor softmax's head.

  Example:
    >>> head = sm_taylor(10, order=4, margin=0.3)
  """
  return dense(num_classes, score=taylor_score(order), margin=_soft_margin(margin), **layer)


def l_softmax(
  num_classes: int,
  *,
  margin: int = 2,
  base: float = 1000.0,
  gamma: float = 3e-4,
  power: float = 35.0,
  minimum: float = 0.0,
  order: int | None = None,
  label_smoothing: float = 0.0,
  z_loss: float = 0.0,
) -> Head:
  """Build large-margin softmax's head, without bias.

  The margin is in force after some 1500 steps. Without annealing a network may shrink its
  features to nothing instead of turning them, and stay at chance.

  Args:
    num_classes: K.
    margin: the multiplier of the label's angle; see `functional.large_margin`.
    base: the annealing's start; see `functional.large_margin_annealing`.
    gamma: the annealing's rate.
    power: the annealing's exponent.
    minimum: the annealing's floor.
    order: Taylor's score of this order in place of softmax's.
    label_smoothing: see `functional.cross_entropy`.
    z_loss: see `functional.cross_entropy`.

  Returns:
    The head.

  Example:
    >>> head = l_softmax(10, margin=2, base=100.0)
  """
  return dense(
    num_classes,
    score=taylor_score(order),
    margin=_large_margin(margin, base=base, gamma=gamma, power=power, minimum=minimum),
    bias=False,
    label_smoothing=label_smoothing,
    z_loss=z_loss,
  )


def am_softmax(
  num_classes: int,
  *,
  margin: float = 0.35,
  scale: float = 30.0,
  order: int | None = None,
  label_smoothing: float = 0.0,
  z_loss: float = 0.0,
) -> Head:
  """Build the head of an additive margin on cosines (AM-Softmax, CosFace).

  Args:
    num_classes: K.
    margin: taken from the label's cosine; see `functional.additive_cosine_margin`.
    scale: multiplies the cosines.
    order: Taylor's score of this order in place of softmax's.
    label_smoothing: see `functional.cross_entropy`.
    z_loss: see `functional.cross_entropy`.

  Returns:
    The head.

  Example:
    >>> head = am_softmax(10, margin=0.2)
  """
  check_at_least("margin", margin, 0, "Pass 0 for no margin.")

  def apply(cosines: jax.Array, labels: jax.Array, geometry: Geometry) -> jax.Array:
    del geometry
    return functional.additive_cosine_margin(cosines, labels, margin=margin)

  return dense(
    num_classes,
    score=_scaled_taylor_score(scale, order),
    margin=apply,
    bias=False,
    normalise=True,
    label_smoothing=label_smoothing,
    z_loss=z_loss,
  )


def arcface(
  num_classes: int,
  *,
  margin: float = 0.5,
  scale: float = 64.0,
  order: int | None = None,
  label_smoothing: float = 0.0,
  z_loss: float = 0.0,
) -> Head:
  """Build the head of an additive margin on angles (ArcFace).

  Args:
    num_classes: K.
    margin: radians added to the label's angle; see `functional.additive_angular_margin`.
    scale: multiplies the cosines.
    order: Taylor's score of this order in place of softmax's.
    label_smoothing: see `functional.cross_entropy`.
    z_loss: see `functional.cross_entropy`.

  Returns:
    The head.

  Example:
    >>> head = arcface(10, margin=0.3)
  """
  check_angle(margin)

  def apply(cosines: jax.Array, labels: jax.Array, geometry: Geometry) -> jax.Array:
    del geometry
    return functional.additive_angular_margin(cosines, labels, margin=margin)

  return dense(
    num_classes,
    score=_scaled_taylor_score(scale, order),
    margin=apply,
    bias=False,
    normalise=True,
    label_smoothing=label_smoothing,
    z_loss=z_loss,
  )
