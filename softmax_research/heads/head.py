"""Head: an output layer as a triple of pure functions."""

from collections.abc import Callable
from typing import Any, NamedTuple


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
