"""Head: an output layer as a few pure functions."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from softmax_research.functional import negative_log_likelihood
from softmax_research.functional.arrays import (
  as_labels,
  check_num_classes,
  check_per_class,
  wide_type,
)
from softmax_research.functional.labels import (
  check_class_weights,
  check_ignore_label,
  check_targets,
)


class Tracker(NamedTuple):
  """Hold how a head's running numbers, which no gradient moves, follow the batches.

  They are among its parameters, and its loss reads them.

  Attributes:
    measure: `(params, features, labels) -> numbers`, a pytree of arrays `[...]`, one number for
      each example. The training step takes their means over the batch, that of all devices, and
      over the examples that have a label.
    update: `(params, means) -> entries`, those of the parameters, a dictionary, that are new after
      the step.
  """

  measure: Callable[..., Any]
  update: Callable[..., Any]


class Head(NamedTuple):
  r"""Hold the pure functions of an output layer.

  A head knows no framework: its parameters are a pytree, its functions take and return arrays,
  so a Flax NNX, Flax Linen, Equinox or bare JAX network can stand in front of it.

  Attributes:
    init: `(key, num_features) -> params`.
    loss: `(params, features, labels, *, step=0, key=None, class_weights=None, ignore_label=None)
      -> [...]`, in nats, for features `[..., D]` and labels that are integers `[...]` or
      distributions `[..., K]`; one loss for each example, never reduced. `step` is the number of
      updates made so far, for margins that are annealed; `key` a random key, for heads that
      sample; the last two are those of `functional.cross_entropy`.
    log_prob: `(params, features) -> [..., K]`, in nats. The prediction is its argmax, never the
      argmax of the logits: a score need not be monotone.
    top_k: `(params, features, k) -> functional.TopClasses`, where the most probable classes can be
      had without the log-probabilities of all. Call `heads.top_k`, which serves every head.
    sample: `(params, features, key) -> [...]`, likewise for a random class; call `heads.sample`.
    tracker: for a head with running numbers, how they follow the batches; see `Tracker`.

  A head that is made of another by a new `log_prob` has neither `top_k` nor `sample`:
  `head._replace(log_prob=..., top_k=None, sample=None)`.

  Example:
    >>> from softmax_research import heads
    >>> head = heads.dense(3)
    >>> params = head.init(jax.random.key(0), 5)
    >>> head.log_prob(params, jax.numpy.ones((2, 5))).shape
    (2, 3)
  """

  init: Callable[..., Any]
  loss: Callable[..., Any]
  log_prob: Callable[..., Any]
  top_k: Callable[..., Any] | None = None
  sample: Callable[..., Any] | None = None
  tracker: Tracker | None = None


def weighted(
  head: Head,
  num_classes: int,
  *,
  class_weights: jax.typing.ArrayLike | None = None,
  ignore_label: int | None = None,
) -> Head:
  """Build the head whose loss has the class weights and the ignored label without being told.

  A head of the user's own has them too: a loss that names `class_weights` is given both, and of any
  other the losses are weighed.
  """
  check_class_weights(class_weights, num_classes)
  check_ignore_label(ignore_label)
  given = {"class_weights": class_weights, "ignore_label": ignore_label}
  given = {name: value for name, value in given.items() if value is not None}
  if not given:
    return head
  parameters = inspect.signature(head.loss).parameters
  # Ours pass on what they take by **; those of others may leave it.
  ours = getattr(head.loss, "__module__", "").startswith("softmax_research.")
  passes_on = ours and any(p.kind is p.VAR_KEYWORD for p in parameters.values())
  if passes_on or "class_weights" in parameters:
    return head._replace(loss=functools.partial(head.loss, **given))

  def loss(params, features, labels, **options):
    targets = find_targets(params, features, labels, num_classes, **given)
    losses = head.loss(params, features, targets.labels, **options)
    return targets.finish(targets.weigh(losses))

  return head._replace(loss=loss)


def with_bias(head: Head, start: float) -> Head:
  """Build the head whose bias, if it has one, begins at a value."""

  def init(key: jax.Array, num_features: int) -> dict[str, jax.Array]:
    params = head.init(key, num_features)
    return params | {name: params[name] + start for name in params if name == "bias"}

  return head._replace(init=init)


def find_targets(params, features, labels, num_classes, **options):
  """Return the labels as `check_targets` does, before there are any values of the classes."""
  dtype = wide_type(features, *jax.tree.leaves(params))
  values = jax.ShapeDtypeStruct((*np.shape(features)[:-1], num_classes), dtype)
  return check_targets(labels, values, **options)


def likelihood_loss(
  num_classes: int, label_log_prob: Callable[..., jax.Array], log_prob: Callable[..., jax.Array]
) -> Callable[..., jax.Array]:
  """Build the loss of a head that finds a label's log-probability without those of all classes.

  That is `(params, features, labels) -> [...]`; labels that are distributions need those of all.
  """

  def loss(params, features, labels, *, step=0, key=None, **weights):
    labels = as_labels(labels)
    if jnp.issubdtype(labels.dtype, jnp.floating):
      return negative_log_likelihood(log_prob(params, features), labels, **weights)
    targets = find_targets(params, features, labels, num_classes, **weights)
    return targets.finish(targets.weigh(-label_log_prob(params, features, targets.labels)))

  return loss


def check_counts(head: str, num_classes: int, class_counts: Sequence[int] | None) -> None:
  """Raise a ValueError unless there is one count, finite and at least 0, for each class."""
  check_num_classes(num_classes)
  if class_counts is None:
    raise ValueError(
      f"Got no class_counts for the head {head!r}, which needs the number of training examples of "
      "each class. Pass class_counts=[...], as numpy.bincount(labels, minlength=num_classes)."
    )
  check_per_class("class_counts", class_counts, num_classes)
  counts = np.asarray(class_counts)
  if not np.all((counts >= 0) & np.isfinite(counts)):
    raise ValueError(
      f"Got class_counts={class_counts!r}; they must be finite and at least 0: the numbers of "
      "training examples of each class."
    )
