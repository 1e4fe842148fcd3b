"""Heads that differ in their score: softmax, Taylor, ReLU, spherical."""

import functools
from collections.abc import Callable
from typing import Any

import jax

from softmax_research import functional
from softmax_research.functional.arrays import check_at_least, check_epsilon
from softmax_research.heads.dense import dense
from softmax_research.heads.head import Head


def taylor_score(order: int | None) -> Callable[[jax.Array], jax.Array] | None:
  """Return Taylor's score of an order, or softmax's for None.

  Example:
    >>> taylor_score(None) is None
    True
  """
  if order is None:
    return None
  functional.taylor_score(0.0, order=order)  # A bad order fails here, not in a traced step.
  return functools.partial(functional.taylor_score, order=order)


def softmax(num_classes: int, *, temperature: float = 1.0, **layer: Any) -> Head:
  """Build softmax's head; the temperature acts in training and in prediction.

  Example:
    >>> head = softmax(10, temperature=2.0)
  """
  check_at_least("temperature", temperature, 0, "Pass 1.0 for plain softmax.", strict=True)
  return dense(num_classes, score=lambda logits: logits / temperature, **layer)


def taylor(num_classes: int, *, order: int = 2, **layer: Any) -> Head:
  """Build Taylor softmax's head.

  Example:
    >>> head = taylor(10, order=4)
  """
  return dense(num_classes, score=taylor_score(order), **layer)


def relu(num_classes: int, *, epsilon: float = 1e-2, bias_start: float = 1.0, **layer: Any) -> Head:
  """Build the ReLU classifier's head.

  The bias starts at a positive value, because a class whose logit is not positive has no
  gradient: from a bias of 0 half of the classes start dead, and small networks stay at chance.

  Example:
    >>> head = relu(10)
    >>> head.init(jax.random.key(0), 5)["bias"][0]
    Array(1., dtype=float32)
  """
  check_epsilon(epsilon, typical=1e-2)
  head = dense(
    num_classes, score=functools.partial(functional.relu_score, epsilon=epsilon), **layer
  )

  def init(key: jax.Array, num_features: int) -> dict[str, jax.Array]:
    params = head.init(key, num_features)
    return params | {name: params[name] + bias_start for name in params if name == "bias"}

  return head._replace(init=init)


def spherical(num_classes: int, *, epsilon: float = 1e-2, **layer: Any) -> Head:
  """Build spherical softmax's head.

  Example:
    >>> head = spherical(10, epsilon=0.1)
  """
  check_epsilon(epsilon, typical=1e-2)
  return dense(
    num_classes, score=functools.partial(functional.spherical_score, epsilon=epsilon), **layer
  )
