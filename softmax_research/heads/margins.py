"""Margin heads: dense heads whose label has to win by more than it needs, most on cosines."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from softmax_research import functional
from softmax_research.functional.arrays import (
  as_labels,
  check_at_least,
  check_fraction,
  check_integer,
  check_num_classes,
  look_up,
  norms,
  unit_length,
)
from softmax_research.functional.labels import is_known
from softmax_research.functional.margins import check_angle
from softmax_research.heads.dense import Geometry, dense, taylor_score, unit_vectors
from softmax_research.heads.head import Head, Tracker, check_counts, find_targets
from softmax_research.heads.sampled import at_least_one, trained_on_few


def sm(num_classes: int, *, margin: float = 0.6, **layer: Any) -> Head:
  """Build soft-margin softmax's head."""
  return sm_taylor(num_classes, order=None, margin=margin, **layer)


def sm_taylor(
  num_classes: int, *, order: int | None = 2, margin: float = 0.6, **layer: Any
) -> Head:
  """Build soft-margin Taylor softmax's head."""

  def lower(logits: jax.Array, labels: jax.Array, geometry: Geometry) -> jax.Array:
    return functional.soft_margin(logits, labels, margin=margin)

  return dense(num_classes, score=taylor_score(order), margin=lower, **layer)


def l_softmax(
  num_classes: int,
  *,
  margin: int = 2,
  base: float = 1000.0,
  gamma: float = 3e-4,
  power: float = 35.0,
  minimum: float = 0.0,
  order: int | None = None,
  **unbiased: Any,
) -> Head:
  """Build large-margin softmax's head, without bias.

  `margin` multiplies the label's angle; see `functional.large_margin`, and for its annealing by
  `base`, `gamma`, `power` and `minimum` `functional.large_margin_annealing`. It is in force after
  some 1500 steps. Without annealing a network may shrink its features to nothing instead of turning
  them, and stay at chance.
  """
  schedule = {"base": base, "gamma": gamma, "power": power, "minimum": minimum}

  def widen(logits: jax.Array, labels: jax.Array, geometry: Geometry) -> jax.Array:
    return functional.large_margin(
      logits,
      labels,
      feature_norms=geometry.feature_norms,
      kernel_norms=geometry.kernel_norms,
      margin=margin,
      annealing=functional.large_margin_annealing(geometry.step, **schedule),
    )

  return dense(num_classes, score=taylor_score(order), margin=widen, bias=False, **unbiased)


def cosine_layer(
  num_classes: int,
  change: Callable[[jax.Array, jax.Array], jax.Array] | None,
  scale: float,
  *,
  order: int | None = None,
  **unbiased: Any,
) -> Head:
  """Build a head whose logits are cosines, which `change` alters by the labels.

  The score is of `scale` times them.
  """
  check_at_least("scale", scale, 0, "Pass 30 or so.", strict=True)
  score = taylor_score(order) or (lambda logits: logits)
  if change is not None:
    unbiased["margin"] = lambda cosines, labels, geometry: change(cosines, labels)
  unbiased["score"] = lambda cosines: score(scale * cosines)
  return dense(num_classes, bias=False, normalise=True, **unbiased)


def _whole_cosine_layer(
  num_classes: int, change, scale: float, *, implementation: str = "auto", **of_cosines: Any
) -> Head:
  """Build a cosine layer whose margin is each example's or class's own: blocks know none such."""
  if implementation == "streaming":
    raise ValueError(
      "Got implementation='streaming' for a head whose margin differs by example or class, which "
      "needs all logits at once. Pass implementation='plain' or 'auto'."
    )
  return cosine_layer(num_classes, change, scale, implementation="plain", **of_cosines)


def cosine_softmax(num_classes: int, *, temperature: float = 0.05, **of_cosines: Any) -> Head:
  """Build the head of softmax on cosines over a temperature, without a margin."""
  check_at_least("temperature", temperature, 0, "Pass 0.05 or so.", strict=True)
  return cosine_layer(num_classes, None, 1 / temperature, **of_cosines)


def am_softmax(
  num_classes: int, *, margin: float = 0.35, scale: float = 30.0, **of_cosines: Any
) -> Head:
  """Build the head of a margin that is taken from the label's cosine (AM-Softmax, CosFace)."""
  lower = functools.partial(functional.additive_cosine_margin, margin=margin)
  return cosine_layer(num_classes, lower, scale, **of_cosines)


def arcface(
  num_classes: int, *, margin: float = 0.5, scale: float = 64.0, **of_cosines: Any
) -> Head:
  """Build the head of a margin, in radians, that is added to the label's angle (ArcFace)."""
  widen = functools.partial(functional.additive_angular_margin, margin=margin)
  return cosine_layer(num_classes, widen, scale, **of_cosines)


def combined_margin(
  num_classes: int,
  *,
  multiplier: float = 1.0,
  angle: float = 0.3,
  cosine: float = 0.2,
  scale: float = 64.0,
  **of_cosines: Any,
) -> Head:
  """Build the head of all three margins of cosines; see `functional.combined_margin`."""
  options = {"multiplier": multiplier, "angle": angle, "cosine": cosine}
  change = functools.partial(functional.combined_margin, **options)
  return cosine_layer(num_classes, change, scale, **of_cosines)


def sphereface(
  num_classes: int,
  *,
  margin: float = 1.5,
  scale: float = 30.0,
  base: float = 1000.0,
  gamma: float = 3e-4,
  power: float = 35.0,
  minimum: float = 0.0,
  **of_cosines: Any,
) -> Head:
  """Build the head of a label's angle that counts `margin` times, on unit features (SphereFace).

  The margin need not be whole. It is annealed as that of `l_softmax` is.
  """
  schedule = {"base": base, "gamma": gamma, "power": power, "minimum": minimum}

  def widen(cosines: jax.Array, labels: jax.Array, geometry: Geometry) -> jax.Array:
    plain = functional.large_margin_annealing(geometry.step, **schedule)
    widened = functional.combined_margin(cosines, labels, multiplier=margin)
    return cosines + (widened - cosines) / (1 + plain.astype(cosines.dtype))

  return cosine_layer(num_classes, None, scale, margin=widen, **of_cosines)


def ldam(
  num_classes: int,
  *,
  class_counts: Sequence[int] | None = None,
  margin: float = 0.5,
  scale: float = 30.0,
  defer: int | None = None,
  beta: float = 0.9999,
  **of_cosines: Any,
) -> Head:
  r"""Build the head of label-distribution-aware margins, larger for rarer classes.

  A class of n_k examples has the cosine margin :math:`C / n_k^{1/4}`, with C such that the largest
  is `margin`. From the step `defer` on, where one is given, losses are weighted by
  `functional.class_balanced_weights`: the deferred re-weighting of the paper, which begins it with
  the last fifth of training.

  Cao et al. 2019, "Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss"
  (arXiv 1906.07413).
  """
  check_at_least("margin", margin, 0, "Pass 0 for no margin.")
  check_fraction("beta", beta)
  check_counts("ldam", num_classes, class_counts)
  if defer is not None:
    check_integer("defer", defer, 0, remedy="It is a step; pass None for never.")
  counts = at_least_one(class_counts)
  rarity = counts**-0.25
  lower = functools.partial(functional.soft_margin, margin=margin * rarity / rarity.max())
  weights = functional.class_balanced_weights(counts, beta=beta)
  head = _whole_cosine_layer(num_classes, lower, scale, **of_cosines)

  def loss(params, features, labels, *, step=0, key=None, **options):
    losses = head.loss(params, features, labels, step=step, key=key, **options)
    if defer is None:
      return losses
    labels, table = as_labels(labels), jnp.asarray(weights, losses.dtype)
    hard = jnp.issubdtype(labels.dtype, jnp.integer)
    found = look_up(table, labels) if hard else labels.astype(losses.dtype) @ table
    return losses * jnp.where(step >= defer, found, 1)

  return head._replace(loss=loss)


def adaface(
  num_classes: int,
  *,
  margin: float = 0.4,
  concentration: float = 0.333,
  scale: float = 64.0,
  momentum: float = 0.01,
  **of_cosines: Any,
) -> Head:
  r"""Build the head of margins that fall on hard examples only where their quality allows.

  .. math::
    c'_y = \cos(\theta_y - m \hat z) - m (1 + \hat z), \qquad
    \hat z = \mathrm{clip}\big(h (\|x\| - \mu) / \sigma, -1, 1\big)

  The norm of the features stands for the quality of an image. Its mean and standard deviation are
  running ones, of the steps before, kept among the parameters as `"running"`.

  Kim et al. 2022, "AdaFace: Quality Adaptive Margin for Face Recognition" (arXiv 2204.00964).
  """
  check_angle(margin)
  check_at_least("concentration", concentration, 0, "Pass 0.333 or so.", strict=True)
  check_fraction("momentum", momentum, or_one=True)
  plain = _whole_cosine_layer(num_classes, None, scale, **of_cosines)
  start = {"mean": 20.0, "deviation": 100.0}

  def lengths(features):
    return jax.lax.stop_gradient(jnp.clip(norms(features, axis=-1), 1e-3, 100))

  def loss(params, features, labels, **options):
    sizes = lengths(features)
    mean, deviation = (_read(params, name, sizes) for name in start)
    quality = jnp.clip(concentration * (sizes - mean) / (deviation + 1e-3), -1, 1)[..., None]
    change = {"angle": -margin * quality, "cosine": margin * (1 + quality)}
    change = functools.partial(functional.combined_margin, **change)
    head = _whole_cosine_layer(num_classes, change, scale, **of_cosines)
    return head.loss(params, features, labels, **options)

  def measure(params, features, labels):
    sizes = lengths(features)
    return {"size": sizes, "square": sizes**2}

  def update(params, means):
    variance = jnp.maximum(means["square"] - means["size"] ** 2, 0)
    return _move(params, {"mean": means["size"], "deviation": jnp.sqrt(variance)}, momentum)

  return _tracked(plain._replace(loss=loss), start, measure, update)


def magface(
  num_classes: int,
  *,
  norms_between: tuple[float, float] = (10.0, 110.0),
  margins_between: tuple[float, float] = (0.45, 0.8),
  weight: float = 35.0,
  scale: float = 64.0,
  **of_cosines: Any,
) -> Head:
  r"""Build the head of a margin that rises with the norm of the features, which it rewards.

  .. math::
    \ell = -\log p_y + \lambda \left(\frac{a}{u_a^2} + \frac{1}{a}\right), \qquad
    m(a) = l_m + (u_m - l_m) \frac{a - l_a}{u_a - l_a}, \qquad a = \mathrm{clip}(\|x\|, l_a, u_a)

  `norms_between` are l_a and u_a, `margins_between` l_m and u_m, in radians, and `weight` is
  lambda. A norm outside of the bounds has no gradient: choose them by the norms that the network
  starts with. A class weight multiplies the reward too.

  Meng et al. 2021, "MagFace: A Universal Representation for Face Recognition and Quality
  Assessment" (arXiv 2103.06627).
  """
  (low, high), (least, most) = norms_between, margins_between
  if not 0 < low < high < math.inf:
    raise ValueError(f"Got norms_between={norms_between}; they must be positive and rise.")
  check_angle(np.asarray(margins_between))
  check_at_least("weight", weight, 0, "Pass 0 for no reward of large norms.")

  def loss(params, features, labels, **options):
    sizes = jnp.clip(norms(features, axis=-1), low, high)
    angle = least + (most - least) * (sizes - low) / (high - low)
    change = functools.partial(functional.combined_margin, angle=angle[..., None])
    head = _whole_cosine_layer(num_classes, change, scale, **of_cosines)
    losses = head.loss(params, features, labels, **options)
    weights = {name: options.get(name) for name in ("class_weights", "ignore_label")}
    targets = find_targets(params, features, labels, num_classes, **weights).normalise(-1)
    return targets.finish(losses + targets.weigh(weight * (sizes / high**2 + 1 / sizes)))

  plain = _whole_cosine_layer(num_classes, None, scale, **of_cosines)
  return plain._replace(loss=loss)


def curricularface(
  num_classes: int,
  *,
  margin: float = 0.5,
  scale: float = 64.0,
  momentum: float = 0.01,
  **of_cosines: Any,
) -> Head:
  """Build the head of an angular margin that turns to hard classes as training goes on.

  See `functional.curricular_margin`. Its emphasis, the running mean of the labels' cosines in the
  steps before, is kept among the parameters as `"running"`.
  """
  check_fraction("momentum", momentum, or_one=True)
  plain = _whole_cosine_layer(num_classes, None, scale, **of_cosines)

  def loss(params, features, labels, **options):
    def change(cosines, labels):
      emphasis = _read(params, "emphasis", cosines)
      return functional.curricular_margin(cosines, labels, margin=margin, emphasis=emphasis)

    head = _whole_cosine_layer(num_classes, change, scale, **of_cosines)
    return head.loss(params, features, labels, **options)

  def measure(params, features, labels):
    labels = as_labels(labels)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
      labels = jnp.argmax(labels, axis=-1)
    columns = jnp.moveaxis(look_up(params["kernel"], labels), 0, -1).astype(jnp.float32)
    cosine = jnp.sum(unit_length(features) * unit_length(columns), axis=-1)
    known = is_known(labels, num_classes)
    return {"cosine": jnp.where(known, cosine, 0), "known": known.astype(cosine.dtype)}

  def update(params, means):
    seen = means["known"] > 0
    cosine = means["cosine"] / jnp.where(seen, means["known"], 1)
    return _move(params, {"emphasis": cosine}, jnp.where(seen, momentum, 0))

  return _tracked(plain._replace(loss=loss), {"emphasis": 0.0}, measure, update)


def partial_fc(
  num_classes: int,
  *,
  num_samples: int | None = None,
  multiplier: float = 1.0,
  angle: float = 0.5,
  cosine: float = 0.0,
  scale: float = 64.0,
) -> Head:
  """Build the head of `combined_margin` that is trained on the label and a sample of the classes.

  The sample is uniform and without correction, a tenth of the classes by default, and shared by
  the batch. `log_prob`, and the loss of labels that are distributions, visit all classes.

  An et al. 2021, "Partial FC: Training 10 Million Identities on a Single Machine"
  (arXiv 2010.05222).
  """
  margins = {"multiplier": multiplier, "angle": angle, "cosine": cosine}
  whole = combined_margin(num_classes, **margins, scale=scale)

  def change(logits: jax.Array) -> jax.Array:
    only = jnp.zeros(logits.shape, jnp.int32)
    return functional.combined_margin(logits[..., None], only, **margins)[..., 0]

  if num_samples is None:
    num_samples = max(num_classes // 10, 1)
  # All classes are equally likely, so that the correction of label and sample cancels.
  return trained_on_few(
    whole,
    functools.partial(functional.sampled_softmax_loss, margin=change),
    name="partial_fc",
    num_samples=num_samples,
    sampler=functional.uniform_sampler(num_classes),
    score=lambda cosines: scale * cosines,
    operands=unit_vectors,
  )


def _tracked(head: Head, start: dict[str, float], measure, update) -> Head:
  """Return the head with running numbers among its parameters, which a tracker moves."""

  def init(key: jax.Array, num_features: int) -> dict[str, Any]:
    running = {name: jnp.full((), value, jnp.float32) for name, value in start.items()}
    return head.init(key, num_features) | {"running": running}

  return head._replace(init=init, tracker=Tracker(measure, update))


def _read(params, name: str, like: jax.Array) -> jax.Array:
  """Return a running number, which no gradient moves."""
  return jax.lax.stop_gradient(params["running"][name]).astype(like.dtype)


def _move(params, values: dict[str, jax.Array], momentum) -> dict[str, Any]:
  """Return the running numbers after a step whose own are given."""
  old = params["running"]
  steps = {name: (momentum * (values[name] - old[name])).astype(old[name].dtype) for name in values}
  return {"running": {name: old[name] + steps[name] for name in values}}


def subcentre_arcface(
  num_classes: int, *, centres: int = 3, margin: float = 0.5, scale: float = 64.0, **of_cosines: Any
) -> Head:
  """Build ArcFace's head with several centres a class, of which the nearest counts.

  Images with a wrong label gather at a centre of their own and leave the others clean. The kernel
  has `centres` columns a class, one class after the other.

  Deng et al. 2020, "Sub-center ArcFace: Boosting Face Recognition by Large-Scale Noisy Web Faces"
  (doi 10.1007/978-3-030-58621-8_43).
  """
  check_num_classes(num_classes)
  check_integer("centres", centres)

  def nearest(cosines: jax.Array) -> jax.Array:
    return jnp.max(cosines.reshape(*cosines.shape[:-1], num_classes, centres), axis=-1)

  widen = functools.partial(functional.additive_angular_margin, margin=margin)
  return cosine_layer(num_classes * centres, widen, scale, row_map=nearest, **of_cosines)
