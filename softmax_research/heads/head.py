"""Head: an output layer as a few pure functions."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from softmax_research.functional.arrays import check_num_classes


class Tracker(NamedTuple):
  """Hold how a head's running numbers, which no gradient moves, follow the batches.

  They are among its parameters, and its loss reads them.

  Attributes:
    measure: `(params, features, labels) -> numbers`, a pytree of arrays `[...]`, one number for
      each example. The training step takes their means over the batch, that of all devices.
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
    loss: `(params, features, labels, *, step=0, key=None) -> [...]`, in nats, for features
      `[..., D]` and integer labels `[...]`; one loss for each example, never reduced. `step` is
      the number of updates made so far, for margins that are annealed; `key` a random key, for
      heads that sample.
    log_prob: `(params, features) -> [..., K]`, in nats. The prediction is its argmax, never the
      argmax of the logits: a score need not be monotone.
    top_k: `(params, features, k) -> functional.TopClasses`, where the most probable classes can be
      had without the log-probabilities of all. Call `heads.top_k`, which serves every head.
    sample: `(params, features, key) -> [...]`, likewise for a random class; call `heads.sample`.
    tracker: for a head with running numbers, how they follow the batches; see `Tracker`.

  A head that is made of another by a new `log_prob` has neither `top_k` nor `sample`:
  `head._replace(log_prob=..., top_k=None, sample=None)`.

  Example:
    >>> import jax
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


def check_key(head: str, key: Any) -> None:
  """Raise a ValueError unless there is a random key for a head that samples."""
  if key is None:
    raise ValueError(
      f"Got no key; the {head} head draws classes anew in each step. Pass a new key to its "
      "loss, as key=jax.random.fold_in(key, step)."
    )


def check_counts(head: str, num_classes: int, class_counts: Sequence[int] | None) -> None:
  """Raise a ValueError unless there is one count, finite and at least 0, for each class."""
  check_num_classes(num_classes)
  if class_counts is None:
    raise ValueError(
      f"Got no class_counts for the head {head!r}, which needs the number of training examples of "
      "each class. Pass class_counts=[...], as numpy.bincount(labels, minlength=num_classes)."
    )
  if np.shape(class_counts) != (num_classes,):
    raise ValueError(
      f"Got class_counts of shape {np.shape(class_counts)} for {num_classes} classes; "
      f"it must have shape ({num_classes},)."
    )
  counts = np.asarray(class_counts)
  if not np.all((counts >= 0) & np.isfinite(counts)):
    raise ValueError(
      f"Got class_counts={class_counts!r}; they must be finite and at least 0: the numbers of "
      "training examples of each class."
    )
