"""Prediction: the most probable classes of any head, and random ones."""

from typing import Any

import jax

from softmax_research.functional import TopClasses, gumbel_max
from softmax_research.functional.arrays import check_integer
from softmax_research.heads.head import Head


def top_k(head: Head, params: Any, features: jax.typing.ArrayLike, k: int) -> TopClasses:
  """Find the k most probable classes of each example.

  Dense heads visit a block of classes at a time and trees search, so that the log-probabilities of
  all classes are not in memory; other heads compute them.

  Args:
    head: a head.
    params: its parameters.
    features: `[..., D]`.
    k: how many classes, between 1 and K.

  Returns:
    Log-probabilities in nats and classes, `[..., k]`, the most probable first.

  Raises:
    ValueError: k is out of range.

  Example:
    >>> from softmax_research import heads
    >>> head = heads.make("huffman", 4, class_counts=[1, 2, 3, 4])
    >>> params, features = head.init(jax.random.key(0), 8), jax.numpy.ones((2, 8))
    >>> labels = jax.numpy.array([0, 3])
    >>> right = jax.numpy.any(top_k(head, params, features, 4).classes == labels[:, None], axis=1)
    >>> right.tolist()  # of which the mean is the top-4 accuracy
    [True, True]
  """
  if head.top_k is not None:
    return head.top_k(params, features, k)
  log_probs = head.log_prob(params, features)
  check_integer("k", k, 1, log_probs.shape[-1])
  return TopClasses(*jax.lax.top_k(log_probs, k))


def sample(head: Head, params: Any, features: jax.typing.ArrayLike, key: jax.Array) -> jax.Array:
  r"""Draw a class for each example, by the head's probabilities.

  .. math:: y \sim p(\cdot \mid x)

  Trees draw one choice after another along a path; other heads take the largest of their
  log-probabilities with Gumbel noise.

  Args:
    head, params, features: those of `top_k`.
    key: a random key.

  Returns:
    Classes, int32 `[...]`.

  Example:
    >>> from softmax_research import heads
    >>> head = heads.make("softmax", 4)
    >>> params = head.init(jax.random.key(0), 8)
    >>> sample(head, params, jax.numpy.ones((2, 8)), jax.random.key(1)).shape
    (2,)
  """
  if head.sample is not None:
    return head.sample(params, features, key)
  return gumbel_max(key, head.log_prob(params, features))
