"""Attacks: changes of images, within bounds, that are made to mislead a model."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

#: What an attacker raises: from log-probabilities `[N, K]`, labels `[N]` and the temperature of
#: training to `[N]`.
Objective = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def projected_gradient(
  loss: Callable[[jax.Array], jax.Array],
  images: jax.Array,
  key: jax.Array,
  *,
  epsilon: jax.typing.ArrayLike,
  step_size: jax.typing.ArrayLike,
  num_steps: int,
) -> jax.Array:
  r"""Raise a loss by projected gradient ascent in the L-infinity ball (PGD), untargeted.

  .. math::
    x_{t+1} = \Pi\left(x_t + \alpha\, \mathrm{sign}\, \nabla_x \ell(x_t)\right), \qquad
    x_0 = \Pi\left(x + u\right), \quad u \sim U(-\varepsilon, \varepsilon)

  :math:`\Pi` cuts off what lies outside of the ball around x or outside of [0, 1]. The last
  iterate is the attack's. A gradient that is not a number moves nothing.

  Args:
    loss: `[N, ...] -> [N]`; an example's loss depends on its own image alone.
    images: floats in [0, 1], `[N, ...]`.
    key: of the random start.
    epsilon: the ball's radius.
    step_size: alpha.
    num_steps: the number of steps.

  Returns:
    Images of the same shape.

  Example:
    >>> x = jnp.array([[0.5, 0.9]])
    >>> attacked = projected_gradient(
    ...   lambda x: x.sum(1), x, jax.random.key(0), epsilon=0.25, step_size=0.25, num_steps=3
    ... )
    >>> print(attacked)
    [[0.75 1.  ]]

  Reference:
    Madry et al. 2018, "Towards Deep Learning Models Resistant to Adversarial Attacks" (arXiv
    1706.06083), section 2.1.
  """
  low, high = jnp.maximum(images - epsilon, 0), jnp.minimum(images + epsilon, 1)
  slope = jax.grad(lambda points: loss(points).sum())

  def step(_, points):
    direction = jnp.nan_to_num(jnp.sign(slope(points)))
    return jnp.clip(points + step_size * direction, low, high)

  start = images + jax.random.uniform(key, images.shape, images.dtype, -1, 1) * epsilon
  return jax.lax.fori_loop(0, num_steps, step, jnp.clip(start, low, high))


def as_trained(log_probs: jax.Array, labels: jax.Array, temperature: jax.Array) -> jax.Array:
  """Return the cross-entropy of the model's own probabilities.

  Example:
    >>> as_trained(jnp.log(jnp.array([[0.25, 0.75]])), jnp.array([0]), 1.0).round(3)
    Array([1.386], dtype=float32)
  """
  del temperature
  return -_at(log_probs, labels)


def at_temperature_1(log_probs: jax.Array, labels: jax.Array, temperature: jax.Array) -> jax.Array:
  """Return the cross-entropy at temperature 1: log-probabilities times T are the logits, shifted.

  Example:
    >>> logits = jnp.array([[2.0, 6.0]])
    >>> trained = jax.nn.log_softmax(logits / 4)
    >>> at_temperature_1(trained, jnp.array([1]), 4.0).round(3)
    Array([0.018], dtype=float32)
  """
  return -_at(jax.nn.log_softmax(log_probs * temperature), labels)


def margin(log_probs: jax.Array, labels: jax.Array, temperature: jax.Array) -> jax.Array:
  """Return how far the best other class leads the label.

  Its gradient does not vanish where a model is sure of itself, so no temperature can hide it.

  Example:
    >>> margin(jnp.array([[-2.0, -1.5, -0.5]]), jnp.array([2]), 1.0)
    Array([-1.], dtype=float32)

  Reference:
    Carlini and Wagner 2017, "Towards Evaluating the Robustness of Neural Networks" (arXiv
    1608.04644), section V.
  """
  del temperature
  is_label = jax.nn.one_hot(labels, log_probs.shape[-1], dtype=bool)
  return jnp.where(is_label, -jnp.inf, log_probs).max(-1) - _at(log_probs, labels)


def _at(log_probs, labels):
  return jnp.take_along_axis(log_probs, labels[:, None], axis=-1)[:, 0]


#: What attackers raise, by name.
OBJECTIVES: dict[str, Objective] = {
  "as_trained": as_trained,
  "temperature_1": at_temperature_1,
  "margin": margin,
}
